"""``birefcli sheet`` through the real command, and what it finds in an alpha."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import TIMEOUT, picture
from PIL import Image, ImageFont

from birefcli import contact_sheet
from birefcli.contact_sheet import Layout
from birefcli.images import stamp
from birefcli.images.decode import decode_photo
from birefcli.images.encode import encode
from birefcli.images.metadata import Metadata
from birefcli.images.text import fit_text, missing_glyphs
from birefcli.options import Format
from birefcli.products import quality
from birefcli.products.quality import Defect
from birefcli.system import atomic

NAMES = ("good.png", "empty.png", "parts.png")


def disc(width=120, height=90, soft=0.1):
    """Alpha of a disc in the middle, H×W of 0..255."""
    y, x = np.mgrid[0:height, 0:width]
    radius = np.hypot((x / width - 0.5) * 2, (y / height - 0.5) * 2)
    return np.rint(np.clip((0.7 - radius) / soft + 0.5, 0, 1) * 255).astype(np.uint8)


def cutout(alpha, colour=(30, 90, 200)):
    rgba = np.empty((*alpha.shape, 4), np.uint8)
    rgba[..., :3], rgba[..., 3] = colour, alpha
    return Image.fromarray(rgba)


@pytest.fixture
def cutouts(tmp_path):
    folder = tmp_path / "cutouts"
    (folder / "sub").mkdir(parents=True)
    cutout(disc()).save(folder / "good.png")
    cutout(np.zeros((60, 80), np.uint8)).save(folder / "sub" / "empty.png")
    halves = np.zeros((80, 80), np.uint8)
    halves[10:30, 10:30] = halves[50:70, 50:70] = 255
    cutout(halves).save(folder / "parts.webp", lossless=True)
    return folder


def lines(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


# The command


def test_sheet_shows_every_cutout_and_lists_the_flagged_first(command, cutouts, tmp_path):
    result = command("sheet", cutouts, "-o", tmp_path / "sheet.png")
    assert result.returncode == 0, result.stderr
    assert result.stdout.decode().splitlines() == [
        f"{cutouts / 'sub' / 'empty.png'}\tempty",
        f"{cutouts / 'parts.webp'}\tparts",
    ]
    assert result.stderr.decode().strip() == f"3 read, 2 flagged: {tmp_path / 'sheet.png'}"
    with Image.open(tmp_path / "sheet.png") as page:
        width, height = Layout(8, 200).cell
        assert page.size == (3 * width + contact_sheet.GAP, height + contact_sheet.GAP)
        pixels = np.asarray(page.convert("RGB"))
    # The good one comes last: its blue disc, and the two before it in red frames.
    blue = (pixels == (30, 90, 200)).all(2).any(0)
    assert not blue[: 2 * width - 60].all()
    assert blue[2 * width + 80 : 2 * width + 120].all()
    red = np.flatnonzero((pixels == contact_sheet.ALARM).all(2).any(0))
    assert red.max() < 2 * width + contact_sheet.GAP


def test_own_cutouts_are_taken_and_own_composites_left_out(command, photos, tmp_path):
    out, page = tmp_path / "out", tmp_path / "sheet.png"
    command("matte", photos, "-o", out, "--write", "cutout,composite,trimap")
    found = lines(command("sheet", out, "-o", page, "--json"))
    assert sorted(item["input"] for item in found[:-1]) == sorted(
        str(path) for path in (out / "cutout").rglob("*.png")
    )
    # The folder of photos: three without transparency, and nobody asked for them by name.
    result = command("sheet", photos, out / "cutout" / "a.png", "-o", page)
    assert (result.returncode, result.stderr.decode().splitlines()[0]) == (
        0, "3 skipped: neither cutouts nor masks",
    )  # fmt: skip
    assert command("sheet", photos / "b.png", "-o", page).returncode == 1


def test_sheet_is_no_photo_and_no_cutout_afterwards(command, cutouts):
    for _ in range(2):
        result = command("sheet", cutouts, "-o", cutouts / "sheet.png")
        assert result.returncode == 0, result.stderr
        assert b"3 read" in result.stderr
    shown = command("matte", cutouts, "-o", cutouts / "out", "--dry-run", "-v")
    assert b"sheet.png: skipped (made by birefcli)" in shown.stderr


def test_file_that_is_no_sheet_is_never_replaced(command, cutouts, tmp_path):
    for name in ("mine.png", "mine-2.png"):
        picture().save(tmp_path / name)
        before = (tmp_path / name).read_bytes()
        result = command("sheet", cutouts, "-o", tmp_path / "mine.png", "--per-page", "1")
        assert result.returncode == 5
        assert b"exists and is no page of an earlier mine.png" in result.stderr
        assert (tmp_path / name).read_bytes() == before
        (tmp_path / name).unlink()


def test_pages_are_numbered_and_those_of_a_longer_sheet_go(command, cutouts, tmp_path):
    page = tmp_path / "pages" / "sheet.png"
    picture().save(tmp_path / "sheet-3.png")
    command("sheet", cutouts, "-o", page)
    command("sheet", cutouts, "-o", page, "--per-page", "1")
    assert {p.name for p in page.parent.iterdir()} == {f"sheet-{n}.png" for n in (1, 2, 3)}
    command("sheet", cutouts, "-o", page, "--per-page", "2")
    assert {p.name for p in page.parent.iterdir()} == {"sheet-1.png", "sheet-2.png"}
    picture().save(page.parent / "sheet-9.png")
    command("sheet", cutouts, "-o", page)
    assert {p.name for p in page.parent.iterdir()} == {"sheet.png", "sheet-9.png"}


@pytest.mark.parametrize("format_", ["png", "jpg"])
def test_grey_composite_of_ours_is_no_mask(command, tmp_path, format_):
    (tmp_path / "in").mkdir()
    picture().convert("L").save(tmp_path / "in" / "grey.png")
    words = ("--write", "composite,mask", "--format", format_)
    assert command("matte", tmp_path / "in", "-o", tmp_path / "out", *words).returncode == 0
    alone = command("sheet", tmp_path / "out" / "composite", "-o", tmp_path / "a.png")
    assert alone.returncode == 3
    both = tmp_path / "both"
    both.mkdir()
    for kind in ("composite", "mask"):
        (tmp_path / "out" / kind / f"grey.{format_}").rename(both / f"{kind}.{format_}")
    shown = lines(command("sheet", both, "-o", tmp_path / "a.png", "--json"))
    assert [item["input"] for item in shown[:-1]] == [str(both / f"mask.{format_}")]


def test_cutouts_of_another_version_are_shown(command, tmp_path):
    made = tmp_path / "made"
    made.mkdir()
    pixels = np.asarray(cutout(disc()))
    notes = Metadata(stamp="birefcli:1 0123456789abcdef 12 5")
    (made / "a.png").write_bytes(encode(pixels, Format.PNG, metadata=notes))
    shown = lines(command("sheet", made, "-o", tmp_path / "a.png", "--json"))
    assert [item["input"] for item in shown[:-1]] == [str(made / "a.png")]


def test_page_number_in_the_name_of_another_sheet_is_no_page_of_this_one(
    command, cutouts, tmp_path
):
    command("sheet", cutouts, "-o", tmp_path / "sheet-2.png")
    command("sheet", cutouts, "-o", tmp_path / "sheet.png")
    assert {p.name for p in tmp_path.glob("sheet*.png")} == {"sheet.png", "sheet-2.png"}
    result = command("sheet", cutouts, "-o", tmp_path / "sheet.png", "--per-page", "2")
    assert result.returncode == 5
    assert f"{tmp_path / 'sheet-2.png'}: exists and is no page" in result.stderr.decode()


def test_flagged_alone_are_listed_where_those_alone_are_shown(command, cutouts, tmp_path):
    every = command("sheet", cutouts, "-o", tmp_path / "a.png", "--json").stdout.splitlines()
    some = command("sheet", cutouts, "-o", tmp_path / "b.png", "--json", "--flagged")
    flagged = [line for line in every[:-1] if json.loads(line)["flags"]]
    assert some.stdout.splitlines()[:-1] == flagged
    assert 0 < len(flagged) < len(every) - 1


def test_names_that_the_font_lacks_are_reported_with_the_option(command, cutouts, tmp_path):
    assert b"--font" not in command("sheet", cutouts, "-o", tmp_path / "a.png").stderr
    next(cutouts.glob("*.png")).rename(cutouts / "\U00013080.png")  # a hieroglyph
    assert b"--font FILE" in command("sheet", cutouts, "-o", tmp_path / "a.png").stderr


def test_json_goes_to_stdout_where_only_stderr_is_a_terminal(environment, cutouts, tmp_path):
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    words = ["sheet", str(cutouts), "-o", str(tmp_path / "a.png"), "--json"]
    with (tmp_path / "stdout").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "birefcli", *words],
            env={**environment, "TERM": "xterm"},
            stdout=out,
            stderr=theirs,
        )
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # how a terminal ends on Linux
        while part := os.read(ours, 65536):
            said += part
    os.close(ours)
    assert process.wait(TIMEOUT) == 0
    lines = (tmp_path / "stdout").read_bytes().splitlines()
    assert len(lines) == 4, "three cutouts and the summary"
    assert b"3/3" in said


def test_leftovers_of_a_killed_sheet_go(command, cutouts, tmp_path):
    part = tmp_path / f"{atomic.PART}{2**22 + 1}-01234567{atomic.PART_END}"  # of no process
    part.touch()
    assert command("sheet", cutouts, "-o", tmp_path / "a.png").returncode == 0
    assert not part.exists()


def test_interrupted_sheet_says_so(start, tmp_path):
    many = tmp_path / "many"
    many.mkdir()
    cutout(disc(2000, 2000)).save(many / "0.png")
    for number in range(1, 300):
        (many / f"{number}.png").hardlink_to(many / "0.png")
    sheet = start("sheet", many, "-o", tmp_path / "a.png", "--json")
    assert sheet.stdout.readline()
    sheet.send_signal(signal.SIGINT)
    _, said = sheet.communicate(timeout=TIMEOUT)
    assert (sheet.returncode, said) == (130, b"birefcli: interrupted\n")


def test_unreadable_file_is_one_line_and_the_sheet_is_written(command, cutouts, tmp_path):
    (cutouts / "bad.png").write_bytes(b"\0nothing")
    result = command("sheet", cutouts, "-o", tmp_path / "sheet.jpg", "--json")
    assert result.returncode == 1
    assert result.stderr.decode().splitlines()[0] == (
        f"{cutouts / 'bad.png'}: not an image that birefcli can read"
    )
    summary = lines(result)[-1]["summary"]
    assert summary == {
        "shown": 3, "flagged": 2, "failed": 1, "pages": [str(tmp_path / "sheet.jpg")],
    }  # fmt: skip
    with Image.open(tmp_path / "sheet.jpg") as page:
        assert page.format == "JPEG"


def test_flagged_alone_and_the_order_of_coverage(command, cutouts, tmp_path):
    page = tmp_path / "sheet.png"
    command("sheet", cutouts, "-o", page, "--flagged", "--tile", "64", "--columns", "1")
    with Image.open(page) as image:
        assert image.height == 2 * Layout(1, 64).cell[1] + contact_sheet.GAP
    (cutouts / "parts.webp").unlink()
    (cutouts / "sub" / "empty.png").unlink()
    result = command("sheet", cutouts, "-o", page, "--flagged")
    assert result.returncode == 0
    assert b"no sheet written" in result.stderr
    assert not page.exists(), "an earlier one would show what is mended"


def test_names_in_any_script_and_of_any_length_are_drawn(command, cutouts, tmp_path):
    for name in ("日本語", "фото", "a\nb", "x" * 200, "🙂", b"\xff\xfe".decode("utf-8", "replace")):
        cutout(disc(40, 30)).save(cutouts / f"{name}.png")
    result = command("sheet", cutouts, "-o", tmp_path / "sheet.png")
    assert result.returncode == 0, result.stderr
    assert b"9 read" in result.stderr


def test_nothing_to_show_and_names_of_no_picture_are_errors(command, cutouts, tmp_path):
    (tmp_path / "none").mkdir()
    assert command("sheet", tmp_path / "none", "-o", tmp_path / "a.png").returncode == 3
    assert command("sheet", cutouts, "-o", tmp_path / "a.txt").returncode == 2
    assert command("sheet", cutouts, "-o", tmp_path).returncode == 2
    many = command("sheet", cutouts, "-o", tmp_path / "a.png", "--per-page", "9000")
    assert (many.returncode, many.stderr.count(b"\n")) == (2, 1)
    assert command("sheet", "-", "-o", tmp_path / "a.png").returncode == 2


def test_photo_on_white_is_no_mask(tmp_path):
    from birefcli.scoring import masks

    photo = np.full((200, 200, 3), 255, np.uint8)
    photo[60:100, 60:100] = (200, 140, 110)  # a face: 4% of the picture, 3.6 levels on average
    Image.fromarray(photo).save(tmp_path / "a.png")
    with pytest.raises(masks.NotAMaskError):
        masks.read(tmp_path / "a.png", 10**6)
    tinted = np.repeat(disc(200, 200)[..., None], 3, 2)
    Image.fromarray(tinted).save(tmp_path / "mask.jpg", quality=60)
    assert masks.read(tmp_path / "mask.jpg", 10**6).colours is None


# Pictures


def test_pixels_under_transparency_leave_no_colour_at_edges():
    alpha = disc()
    rgb = np.zeros((*alpha.shape, 3), np.uint8)
    rgb[alpha == 0] = (255, 0, 0)
    small = contact_sheet.picture(alpha, rgb, 30).astype(int)
    assert (small[..., 0] - small[..., 1]).max() <= 1


def test_mask_is_shown_as_it_is_and_nothing_is_enlarged():
    assert np.array_equal(contact_sheet.picture(disc(), None, 500)[..., 0], disc())
    assert contact_sheet.picture(disc(300, 100), None, 60).shape == (20, 60, 3)
    assert contact_sheet.picture(disc(1, 5000), None, 60).shape == (60, 1, 3)


def test_text_never_stands_out_of_its_tile():
    layout = Layout(3, 80)
    font = layout.font
    for name in ("a.png", "x" * 300, "日本語" * 40, "i" * 30, "\udcff\n.png"):
        assert font.getlength(fit_text(name, font, layout.side)) <= layout.side
    assert fit_text("folder/" * 9 + "IMG_7.png", font, layout.side).endswith("IMG_7.png")


def test_names_that_are_not_ascii_are_drawn_where_the_machine_has_a_font():
    layout = Layout(3, 200)
    assert contact_sheet.with_font_for(layout, "IMG_1.png") is layout
    if not missing_glyphs(layout.font, "Größe, Жанна"):
        pytest.skip("Pillow's own font knows them")
    found = contact_sheet.with_font_for(layout, "Größe, Жанна")
    if found is layout:
        pytest.skip("none of the fonts is here")
    assert missing_glyphs(found.font, "Größe, Жанна") == 0
    assert contact_sheet.with_font_for(layout, "Größe \U00013080") == found, (
        "most is better than little"
    )
    if missing_glyphs(found.font, "\U00013080"):
        assert contact_sheet.with_font_for(layout, "\U00013080") is layout
    assert contact_sheet.with_font_for(found, "IMG_1.png") is found


def test_font_that_knows_only_latin_draws_any_name(monkeypatch):
    monkeypatch.setattr(
        contact_sheet, "load_font", lambda face, size: ImageFont.load_default_imagefont()
    )
    layout = Layout(2, 100)
    found = quality.Quality(0.5, (Defect.SOFT,))
    tile = contact_sheet.Tile(contact_sheet.Entry(None, "日本語.png"), found, (0, 0))
    small = contact_sheet.encode(contact_sheet.picture(disc(), None, 100), Format.PNG)
    assert (
        contact_sheet.page([tile], layout, lambda _: small).shape[1] == 2 * contact_sheet.GAP + 100
    )


def test_page_says_that_it_is_one(tmp_path):
    pixels = np.zeros((20, 30, 3), np.uint8)
    for format_ in Format:
        (tmp_path / "a").write_bytes(contact_sheet.encode_page(pixels, format_, "sheet.png"))
        assert stamp.is_sheet(tmp_path / "a")
        assert contact_sheet.is_page_of(tmp_path / "a", "sheet.png")
        assert not contact_sheet.is_page_of(tmp_path / "a", "sheet-1.png")
        assert decode_photo((tmp_path / "a").read_bytes(), 10**6).shape == (20, 30)
    file = io.BytesIO()
    picture().save(file, "PNG")
    (tmp_path / "a").write_bytes(file.getvalue())
    assert not stamp.is_sheet(tmp_path / "a")


# Flags


def test_good_matte_has_no_flag_in_either_depth():
    for alpha in (disc(), disc().astype(np.uint16) * 257, disc(1200, 900, soft=0.02)):
        assert quality.check(alpha).flags == ()
    assert quality.check(disc()).coverage == pytest.approx(disc().mean() / 255)


def test_portrait_cut_at_three_edges_is_none_and_at_all_four_is_cut():
    alpha = np.zeros((100, 100), np.uint8)
    alpha[30:, :] = 255
    assert quality.check(alpha).flags == ()
    alpha[:, 20:80] = 255
    assert quality.check(alpha).flags == (Defect.CUT,)


@pytest.mark.parametrize(
    ("share", "flag"),
    [(0.0, Defect.EMPTY), (0.0004, Defect.EMPTY), (0.005, Defect.SMALL), (0.97, Defect.FULL)],
)
def test_too_little_and_too_much_are_flagged(share, flag):
    alpha = np.zeros((100, 100), np.uint16)
    alpha.reshape(-1)[: round(share * 10_000)] = 65535
    assert quality.check(alpha).flags == (flag,)


def test_matte_that_is_unsure_is_soft_and_one_in_pieces_has_parts():
    assert quality.check(np.where(disc() > 0, 120, 0).astype(np.uint8)).flags == (Defect.SOFT,)
    assert quality.check(np.full((9, 9), 20, np.uint8)).flags == (Defect.SOFT,)
    two = np.zeros((100, 100), np.uint8)
    two[10:40, 10:40], two[60:90, 60:90] = 255, 255
    assert quality.check(two).flags == (Defect.PARTS,)
    two[60:90, 60:90] = 0
    two[60:65, 60:65] = 255
    assert quality.check(two).flags == (), "a speck is none"


def test_flags_are_those_of_the_whole_picture_and_not_of_its_tile():
    alpha = np.zeros((2000, 2000), np.uint8)
    alpha[500:1500:2] = 255
    alpha[500:1500, 990:1010] = 255
    assert quality.check(alpha).flags == ()
