"""``birefcli sheet`` through the real command, and what it finds in an alpha."""

import contextlib
import html
import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import TIMEOUT, picture
from cutouts import cutout, disc
from PIL import Image, features
from support import stamped_png

from birefcli.batch.inputs import Unread, find_photos
from birefcli.images.encode import encode
from birefcli.images.findings import Findings
from birefcli.images.metadata import Metadata
from birefcli.images.stamp import Stamp
from birefcli.options import Format
from birefcli.review import tile_page
from birefcli.review.tile_page import Layout
from birefcli.system import atomic

NAMES = ("good.png", "empty.png", "parts.png")


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


def test_sheet_shows_every_cutout_and_lists_the_flagged_first(inside, cutouts, tmp_path):
    result = inside("sheet", cutouts, "-o", tmp_path / "sheet.png")
    assert result.returncode == 0, result.stderr
    assert result.stdout.decode().splitlines() == [
        f"{cutouts / 'sub' / 'empty.png'}\tempty",
        f"{cutouts / 'parts.webp'}\tparts",
    ]
    assert result.stderr.decode().strip() == f"3 read, 2 flagged: {tmp_path / 'sheet.png'}"
    with Image.open(tmp_path / "sheet.png") as page:
        width, height = Layout(8, 200).cell
        assert page.size == (3 * width + tile_page.GAP, height + tile_page.GAP)
        pixels = np.asarray(page.convert("RGB"))
    # The good one comes last: its blue disc, and the two before it in red frames.
    blue = (pixels == (30, 90, 200)).all(2).any(0)
    assert not blue[: 2 * width - 60].all()
    assert blue[2 * width + 80 : 2 * width + 120].all()
    red = np.flatnonzero((pixels == tile_page.ALARM).all(2).any(0))
    assert red.max() < 2 * width + tile_page.GAP


def test_own_cutouts_are_taken_and_own_composites_left_out(inside, photos, tmp_path):
    out, page = tmp_path / "out", tmp_path / "sheet.png"
    inside("matte", photos, "-o", out, "--write", "cutout,composite,trimap")
    found = lines(inside("sheet", out, "-o", page, "--json"))
    assert sorted(item["input"] for item in found[:-1]) == sorted(
        str(path) for path in (out / "cutout").rglob("*.png")
    )
    # The folder of photos: three without transparency, and nobody asked for them by name.
    result = inside("sheet", photos, out / "cutout" / "a.png", "-o", page)
    assert (result.returncode, result.stderr.decode().splitlines()[0]) == (
        0, "3 skipped: neither cutouts, masks nor composites of birefcli",
    )  # fmt: skip
    assert inside("sheet", photos / "b.png", "-o", page).returncode == 1


def test_sheet_is_no_photo_and_no_cutout_afterwards(inside, cutouts):
    for _ in range(2):
        result = inside("sheet", cutouts, "-o", cutouts / "sheet.png")
        assert result.returncode == 0, result.stderr
        assert b"3 read" in result.stderr
    shown = inside("matte", cutouts, "-o", cutouts / "out", "--dry-run", "-v")
    assert b"sheet.png: skipped (made by birefcli)" in shown.stderr


def test_file_that_is_no_sheet_is_never_replaced_unless_it_is_empty(inside, cutouts, tmp_path):
    (tmp_path / "mine.png").touch()  # as mktemp makes it
    words = ("sheet", cutouts, "-o", tmp_path / "mine.png")
    assert inside(*words).returncode == 0
    (tmp_path / "mine.png").unlink()
    for name in ("mine.png", "mine-2.png"):
        picture().save(tmp_path / name)
        before = (tmp_path / name).read_bytes()
        result = inside("sheet", cutouts, "-o", tmp_path / "mine.png", "--per-page", "1")
        assert result.returncode == 5
        assert b": exists and was not made by sheet; choose another --output" in result.stderr
        assert (tmp_path / name).read_bytes() == before
        (tmp_path / name).unlink()


def test_pages_are_numbered_and_those_of_a_longer_sheet_go(inside, cutouts, tmp_path):
    page = tmp_path / "pages" / "sheet.png"
    picture().save(tmp_path / "sheet-3.png")
    inside("sheet", cutouts, "-o", page)
    inside("sheet", cutouts, "-o", page, "--per-page", "1")
    assert {p.name for p in page.parent.iterdir()} == {f"sheet-{n}.png" for n in (1, 2, 3)}
    inside("sheet", cutouts, "-o", page, "--per-page", "2")
    assert {p.name for p in page.parent.iterdir()} == {"sheet-1.png", "sheet-2.png"}
    picture().save(page.parent / "sheet-9.png")
    inside("sheet", cutouts, "-o", page)
    assert {p.name for p in page.parent.iterdir()} == {"sheet.png", "sheet-9.png"}


@pytest.mark.parametrize("format_", ["png", "jpg"])
def test_grey_composite_of_ours_is_no_mask(inside, tmp_path, format_):
    grey = np.asarray(picture().convert("L"))
    for kind in ("composite", "mask"):
        said = Metadata(stamp=Stamp("0" * 16, "fp32", kind, 1, 2).text())  # as earlier versions did
        (tmp_path / "out" / kind).mkdir(parents=True)
        file = tmp_path / "out" / kind / f"grey.{format_}"
        file.write_bytes(encode(grey, Format(format_), metadata=said))
    alone = inside("sheet", tmp_path / "out" / "composite", "-o", tmp_path / "a.png", "--json")
    found = lines(alone)[0]
    assert found["coverage"] is not None, "the mask beside judges it"
    both = tmp_path / "both"
    both.mkdir()
    for kind in ("composite", "mask"):
        (tmp_path / "out" / kind / f"grey.{format_}").rename(both / f"{kind}.{format_}")
    shown = lines(inside("sheet", both, "-o", tmp_path / "a.png", "--json"))
    judged = {item["input"]: item["coverage"] is not None for item in shown[:-1]}
    assert judged == {
        str(both / f"mask.{format_}"): True,
        str(both / f"composite.{format_}"): False,
    }


def test_own_composites_are_judged_by_their_run_unless_they_were_edited(
    inside, photos, cutouts, tmp_path
):
    words = ("--write", "composite", "--format", "jpg", "-o", tmp_path / "shop")
    made = lines(inside("matte", photos, "--json", "--shadow", "soft", *words))[:-1]
    Image.new("RGB", (9, 9), "red").save(tmp_path / "shop" / "other.jpg")
    page, last = tmp_path / "a.html", tmp_path / "shop" / "sub" / "a.jpg"
    with last.open("ab") as file:
        file.write(b"title")
    result = inside("sheet", tmp_path / "shop", cutouts, "-o", page, "--json")
    assert result.returncode == 0, result.stderr
    assert "1 not judged (no alpha), 2 judged by their run: " in result.stderr.decode()
    assert "1 skipped" in result.stderr.decode()
    by_run = {item["input"]: item for item in lines(result)[:-1] if item["by_run"]}
    of_run = {item["outputs"]["composite"]: item for item in made}
    assert by_run.keys() == of_run.keys() - {str(last)}
    for name, item in by_run.items():
        for word in ("flags", "doubt", "coverage", "notes"):
            assert item[word] == of_run[name][word], (name, word)
    shown = page.read_text()
    assert re.findall("<h3>(.*?)</h3>", shown)[-1] == "shop/sub/a.jpg"
    assert (shown.count("judged by its run"), shown.count("not judged")) == (2, 1)
    assert all(note in html.unescape(shown) for item in by_run.values() for note in item["notes"])


def test_every_format_that_holds_a_cutout_is_found_in_a_folder(inside, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    formats = ("png", "webp", "tiff", *(["avif"] if features.check("avif") else []))
    for format_ in formats:
        picture = encode(np.asarray(cutout(disc())), Format(format_))
        (folder / f"{format_}.{format_}").write_bytes(picture)
    shown = lines(inside("sheet", folder, "-o", folder / f"a.{formats[-1]}", "--json"))
    assert [item["input"] for item in shown[:-1]] == [
        str(folder / f"{format_}.{format_}") for format_ in sorted(formats)
    ]


def test_folder_of_photos_has_no_sheet_and_says_what_to_do(inside, tmp_path):
    for suffix in ("jpg", "png", "bmp"):
        folder = tmp_path / suffix
        folder.mkdir()
        picture().save(folder / f"a.{suffix}")
        result = inside("sheet", folder, "-o", tmp_path / "a.html")
        said = result.stderr.decode()
        assert (result.returncode, said.count("\n")) == (3, 1)
        assert "left out: 1 without transparency" in said
        assert "birefcli matte" in said
        assert not (tmp_path / "a.html").exists()


def test_cutouts_of_another_version_are_shown(inside, tmp_path):
    made = tmp_path / "made"
    made.mkdir()
    pixels = np.asarray(cutout(disc()))
    notes = Metadata(stamp="birefcli:1 0123456789abcdef 12 5")
    (made / "a.png").write_bytes(encode(pixels, Format.PNG, metadata=notes))
    shown = lines(inside("sheet", made, "-o", tmp_path / "a.png", "--json"))
    assert [item["input"] for item in shown[:-1]] == [str(made / "a.png")]


def test_page_number_in_the_name_of_another_sheet_is_no_page_of_this_one(inside, cutouts, tmp_path):
    inside("sheet", cutouts, "-o", tmp_path / "sheet-2.png")
    inside("sheet", cutouts, "-o", tmp_path / "sheet.png")
    assert {p.name for p in tmp_path.glob("sheet*.png")} == {"sheet.png", "sheet-2.png"}
    result = inside("sheet", cutouts, "-o", tmp_path / "sheet.png", "--per-page", "2")
    assert result.returncode == 5
    assert (
        f"{tmp_path / 'sheet-2.png'}: exists and was edited since sheet made it, or belongs"
        in result.stderr.decode()
    )


def test_flagged_alone_are_listed_where_those_alone_are_shown(inside, cutouts, tmp_path):
    every = inside("sheet", cutouts, "-o", tmp_path / "a.png", "--json").stdout.splitlines()
    some = inside("sheet", cutouts, "-o", tmp_path / "b.png", "--json", "--flagged")
    flagged = [line for line in every[:-1] if json.loads(line)["flags"]]
    assert some.stdout.splitlines()[:-1] == flagged
    assert 0 < len(flagged) < len(every) - 1


def test_names_that_the_font_lacks_are_reported_with_the_option(inside, cutouts, tmp_path):
    assert b"--font" not in inside("sheet", cutouts, "-o", tmp_path / "a.png").stderr
    next(cutouts.glob("*.png")).rename(cutouts / "\U00013080.png")  # a hieroglyph
    assert b"--font FILE" in inside("sheet", cutouts, "-o", tmp_path / "a.png").stderr


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


def test_leftovers_of_a_killed_sheet_go(inside, cutouts, tmp_path):
    part = tmp_path / f"{atomic.PART}{2**22 + 1}-01234567{atomic.PART_END}"  # of no process
    part.touch()
    assert inside("sheet", cutouts, "-o", tmp_path / "a.png").returncode == 0
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


def test_unreadable_file_is_one_line_and_the_sheet_is_written(inside, cutouts, tmp_path):
    (cutouts / "bad.png").write_bytes(b"\0nothing")
    result = inside("sheet", cutouts, "-o", tmp_path / "sheet.jpg", "--json")
    assert result.returncode == 1
    assert result.stderr.decode().splitlines()[0] == (
        f"{cutouts / 'bad.png'}: not an image that birefcli can read"
    )
    summary = lines(result)[-1]["summary"]
    assert summary == {
        "shown": 3, "flagged": 2, "failed": 1, "skipped": 0, "beside": 0,
        "by_alpha_alone": 0, "by_run": 0, "pages": [str(tmp_path / "sheet.jpg")],
    }  # fmt: skip
    with Image.open(tmp_path / "sheet.jpg") as page:
        assert page.format == "JPEG"


def test_folder_of_photos_that_may_not_be_read_is_told(inside, cutouts, tmp_path, monkeypatch):
    def find_but_locked(selection):
        search = find_photos(selection)
        search.failed.append(Unread(tmp_path / "photos" / "locked", "Permission denied", "locked/"))
        return search

    monkeypatch.setattr("birefcli.review.photos.find_photos", find_but_locked)
    first = next(cutouts.glob("*.webp"))
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "photos" / f"{first.stem}.jpg")
    pairs = ("--pairs", tmp_path / "photos")
    result = inside("sheet", cutouts, "-o", tmp_path / "sheet.html", *pairs)
    assert result.returncode == 1
    assert f"{tmp_path / 'photos' / 'locked'}: Permission denied" in result.stderr.decode()
    assert (tmp_path / "sheet.html").exists()


def test_flagged_alone_and_the_order_of_coverage(inside, cutouts, tmp_path):
    page = tmp_path / "sheet.png"
    inside("sheet", cutouts, "-o", page, "--flagged", "--tile", "64", "--columns", "1")
    with Image.open(page) as image:
        assert image.height == 2 * Layout(1, 64).cell[1] + tile_page.GAP
    (cutouts / "parts.webp").unlink()
    (cutouts / "sub" / "empty.png").unlink()
    result = inside("sheet", cutouts, "-o", page, "--flagged")
    assert result.returncode == 0
    assert b"no sheet written" in result.stderr
    assert not page.exists(), "an earlier one would show what is mended"


def test_names_in_any_script_and_of_any_length_are_drawn(inside, cutouts, tmp_path):
    for name in ("日本語", "фото", "a\nb", "x" * 200, "🙂", b"\xff\xfe".decode("utf-8", "replace")):
        cutout(disc(40, 30)).save(cutouts / f"{name}.png")
    result = inside("sheet", cutouts, "-o", tmp_path / "sheet.png")
    assert result.returncode == 0, result.stderr
    assert b"9 read" in result.stderr


def test_nothing_to_show_and_names_of_no_picture_are_errors(inside, cutouts, tmp_path):
    (tmp_path / "none").mkdir()
    assert inside("sheet", tmp_path / "none", "-o", tmp_path / "a.png").returncode == 3
    assert inside("sheet", cutouts, "-o", tmp_path / "a.txt").returncode == 2
    assert inside("sheet", cutouts, "-o", tmp_path).returncode == 2
    many = inside("sheet", cutouts, "-o", tmp_path / "a.png", "--per-page", "9000")
    assert (many.returncode, many.stderr.count(b"\n")) == (2, 1)
    assert inside("sheet", "-", "-o", tmp_path / "a.png").returncode == 2


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


# Photos beside cutouts


@pytest.fixture
def pairs(tmp_path, cutouts):
    """Photos of two of three cutouts; good.png has two that may be its own."""
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    for name in ("sub/empty.jpg", "parts.png", "good.jpg"):
        picture(40, 30).save(photos / name)
    return photos


def test_a_folder_of_pairs_without_photos_is_named_by_its_option(cutouts, ended, tmp_path):
    (tmp_path / "none").mkdir()
    code, said = ended("sheet", cutouts, "-o", tmp_path / "a.html", "--pairs", tmp_path / "none")
    assert code == 3
    assert said.startswith(f"birefcli: --pairs: no photo found in {tmp_path / 'none'}")


def test_each_cutout_has_its_photo_beside_it_and_one_without_is_named_once(
    inside, cutouts, pairs, tmp_path
):
    (pairs / "good.jpg").unlink()
    for suffix in ("png", "html"):
        result = inside(
            "sheet", cutouts, "-o", tmp_path / f"a.{suffix}", "--pairs", pairs, "--json"
        )
        assert result.returncode == 0, result.stderr
        said = result.stderr.decode().splitlines()
        assert said[0] == f"{cutouts / 'good.png'}: no photo of this name, shown without one"
        assert len(said) == 2
        photos = {item["input"]: item["photo"] for item in lines(result)[:-1]}
        assert photos == {
            str(cutouts / "good.png"): None,
            str(cutouts / "parts.webp"): f"{pairs.as_posix()}/./parts.png",
            str(cutouts / "sub" / "empty.png"): f"{pairs.as_posix()}/./sub/empty.jpg",
        }
    with Image.open(tmp_path / "a.png") as page:
        assert page.width == 3 * Layout(4, 200, pairs=True).cell[0] + tile_page.GAP
    assert (tmp_path / "a.html").read_text().count("<a class=photo") == 2


def test_two_photos_of_a_name_and_photos_that_cannot_be_read_are_told(
    inside, cutouts, pairs, tmp_path
):
    picture(40, 30).save(pairs / "good.png")
    (pairs / "parts.png").write_bytes(b"\0nothing")
    result = inside("sheet", cutouts, "-o", tmp_path / "a.html", "--pairs", pairs)
    assert result.returncode == 0
    said = result.stderr.decode()
    assert f"{cutouts / 'good.png'}: several photos of this name, shown without one" in said
    assert f"{pairs / 'parts.png'}: not an image that birefcli can read; its cutout" in said


def test_on_a_canvas_what_its_run_judged_is_told_from_what_alpha_alone_judges(
    inside, photos, tmp_path
):
    out, page = tmp_path / "out", tmp_path / "a.html"
    words = ("--write", "composite,mask", "--canvas", "90x200")
    made = inside("matte", photos, "-o", out, *words)
    assert made.returncode == 0, made.stderr
    found = lines(inside("sheet", out, "-o", page, "--pairs", photos, "--json"))
    assert [item["by_run"] for item in found[:-1]] == [True] * 3
    assert found[-1]["summary"] | {"pages": []} == {
        "shown": 3, "flagged": found[-1]["summary"]["flagged"], "failed": 0, "skipped": 0,
        "beside": 3, "by_alpha_alone": 0, "by_run": 3, "pages": [],
    }  # fmt: skip
    for path in (out / "mask").rglob("*.png"):
        with Image.open(path) as mask:
            mask.save(path)  # by another program
    result = inside("sheet", out / "mask", "-o", page, "--pairs", photos)
    assert (
        "3 judged by alpha alone (cropped, on a canvas or with a shadow)" in result.stderr.decode()
    )
    alone = inside("sheet", out, "-o", page)
    assert b"by alpha alone" not in alone.stderr, "nobody asked for the photos"


def test_plain_cutouts_have_the_flags_of_their_run(inside, tmp_path):
    """On the edge of a limit a look at the file would find others: 8 bits are not all it saw."""
    path, page = tmp_path / "a.png", tmp_path / "a.html"
    path.write_bytes(stamped_png(found=Findings(0.5, ("gaps",), 0.01718)))
    (shown, _) = lines(inside("sheet", path, "-o", page, "--json"))
    assert (shown["flags"], shown["doubt"], shown["by_run"]) == (["gaps"], 0.01718, False)


def test_what_shows_no_matte_of_its_own_is_told_from_one_in_another_size(inside, tmp_path):
    photos, out, page = tmp_path / "photos", tmp_path / "out", tmp_path / "a.html"
    photos.mkdir()
    picture(60, 60).save(photos / "a.png")
    shown = ("sheet", out, "-o", page, "--pairs", photos, "--json")
    for words, by_run in (
        (("--canvas", "90x90"), 1),
        (("--resize", "30"), 0),
        (("--shadow", "soft"), 1),
    ):
        made = inside("matte", photos, "-o", out, "--existing", "overwrite", *words)
        assert made.returncode == 0, made.stderr
        assert lines(inside(*shown))[-1]["summary"]["by_run"] == by_run, words


def test_folder_of_other_photos_or_of_none_is_one_line(inside, cutouts, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for told in (
        "no photo found",
        "no photo of any cutout: good.png would be of a photo named good.*",
    ):
        result = inside("sheet", cutouts, "-o", tmp_path / "a.html", "--pairs", other)
        assert (result.returncode, result.stderr.count(b"\n")) == (3, 1)
        assert told in result.stderr.decode()
        assert not (tmp_path / "a.html").exists()
        picture().save(other / "z.png")
    gone = inside("sheet", cutouts, "-o", tmp_path / "a.html", "--pairs", tmp_path / "gone")
    assert (gone.returncode, gone.stderr.count(b"\n")) == (3, 1)


def test_names_on_the_page_make_the_same_products_again(inside, photos, tiny_weights, tmp_path):
    out, page = tmp_path / "out", tmp_path / "sheet.html"
    assert inside("matte", photos, "-o", out, "-m", tiny_weights).returncode == 0
    assert inside("sheet", out, "-o", page, "--pairs", photos).returncode == 0
    names = re.findall(r"data-list='([^']*)'", page.read_text())
    assert len(names) == 3
    (tmp_path / "bad.txt").write_text("\n".join(names))
    words = ("--files-from", tmp_path / "bad.txt", "-o", out, "-m", tiny_weights, "--json")
    again = inside("matte", *words, "--existing", "overwrite")
    made = {item["outputs"]["cutout"] for item in lines(again)[:-1]}
    assert made == {str(path) for path in out.rglob("*.png")}


def test_page_is_replaced_by_its_own_sheet_alone(inside, cutouts, tmp_path):
    page = tmp_path / "sheet.html"
    page.write_text("<p>mine")
    assert inside("sheet", cutouts, "-o", page).returncode == 5
    assert page.read_text() == "<p>mine"
    page.unlink()
    assert inside("sheet", cutouts, "-o", page, "--per-page", "1").returncode == 0
    assert {p.name for p in tmp_path.glob("*.html")} == {f"sheet-{n}.html" for n in (1, 2, 3)}
    assert inside("sheet", cutouts, "-o", page).returncode == 0
    assert {p.name for p in tmp_path.glob("*.html")} == {"sheet.html"}
    assert inside("sheet", cutouts, "-o", page).returncode == 0
    page.write_text(page.read_text().replace("good.png", "the best.png"))
    edited = inside("sheet", cutouts, "-o", page)
    assert (edited.returncode, edited.stderr.count(b"\n")) == (5, 1)
    assert b"was edited since sheet made it" in edited.stderr
