"""Sizes, canvases, presets, qualities and thresholds on the command line."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import picture
from PIL import Image, features
from support import levels_apart

from birefcli import load
from birefcli.errors import UsageError
from birefcli.products.presets import presets
from birefcli.products.words import read_rendering

SAMPLES = Path(__file__).parents[2] / "samples"
HOPPER = SAMPLES / "grace_hopper.jpg"


@pytest.fixture
def matted(inside, tmp_path):
    """Matte one photo by ``mini``, and open what was written."""

    def run(*words, photo=HOPPER, name="out.png"):
        out = tmp_path / name
        result = inside("matte", photo, "-o", out, "--model", "mini", "--json", *words)
        assert result.returncode == 0, result.stderr.decode()
        with Image.open(out) as image:
            image.load()
        return image, json.loads(result.stdout.splitlines()[0])

    return run


@pytest.mark.parametrize(
    ("words", "size"),
    [
        pytest.param("--resize 300", (256, 300), marks=pytest.mark.slow),
        pytest.param("--resize 300x300 --write mask", (256, 300), marks=pytest.mark.slow),
        pytest.param("--resize 50%", (256, 300), marks=pytest.mark.slow),
        ("--resize 150% --write trimap", (768, 900)),
        pytest.param("--canvas 200x100 --write foreground", (200, 100), marks=pytest.mark.slow),
        pytest.param("--aspect 1:1", (600, 600), marks=pytest.mark.slow),
        pytest.param("--aspect 1:1 --resize 120", (120, 120), marks=pytest.mark.slow),
        ("--aspect 4:5 --fill 85% --resize 500", (400, 500)),
    ],
)
def test_products_have_the_size_that_is_asked_for(matted, words, size):
    image, _ = matted(*words.split())
    assert image.size == size


def test_resolution_of_a_canvas_is_written(matted):
    for name in ("a.png", "a.jpg", "a.tif"):
        words = ["--write", "composite", "--canvas", "35x45mm@300dpi", "--fill", "80%"]
        image, _ = matted(*words, name=name)
        assert image.size == (413, 531)
        assert [round(float(dots)) for dots in image.info["dpi"]] == [300, 300]


def test_pixels_equal_those_of_the_python_face(matted):
    result = load("mini", device="cpu")(HOPPER)
    for words, given in (
        ("--canvas 300x400 --fill 70% --align bottom --shadow soft", {
            "canvas": (300, 400), "fill": 0.7, "align": "bottom", "shadow": "soft",
        }),
        ("--crop --margin 5% --resize 200", {"crop": True, "margin": "5%", "resize": 200}),
    ):  # fmt: skip
        image, _ = matted(*words.split())
        assert levels_apart(np.asarray(image), result.pixels(**given)) <= 1


def test_preset_fills_in_what_is_not_typed(matted):
    image, record = matted("--preset", "square")
    wanted = "cut off by the photo's right and lower edges, which lie on the canvas"
    assert record["notes"] == [wanted]
    _, later = matted("--preset", "square")
    assert (later["status"], record["status"]) == ("current", "written")
    told = ("flags", "doubt", "coverage", "notes")
    assert [later[word] for word in told] == [record[word] for word in told]
    assert image.mode == "RGB"
    assert image.width == image.height
    pixels = np.asarray(image)
    assert (pixels[0] == 255).all()
    seen = np.flatnonzero((pixels < 200).any(2).any(1))
    assert abs((seen[-1] - seen[0] + 1) / image.height - 0.85) < 0.02
    words = ["--preset", "square", "--write", "cutout", "--canvas", "100x50"]
    cutout, _ = matted(*words, name="cutout.png")
    assert (cutout.mode, cutout.size) == ("RGBA", (100, 50))


def test_typed_options_win_over_a_preset_and_a_preset_over_variables(inside, tmp_path):
    def corner(*words, **variables):
        out = tmp_path / "o.png"
        shared = ("matte", HOPPER, "-o", out, "--model", "mini", "--existing", "overwrite")
        result = inside(*shared, *words, **variables)
        assert result.returncode == 0, result.stderr.decode()
        with Image.open(out) as image:
            return image.getpixel((0, 0))

    variable = {"BIREFCLI_BACKGROUND": "red"}
    assert corner("--preset", "square", **variable) == (255, 255, 255)
    assert corner("--preset", "square", "--background", "blue", **variable) == (0, 0, 255)
    assert corner(BIREFCLI_PRESET="square", **variable) == (255, 0, 0)


def test_typed_options_win_over_variables_that_exclude_them(inside, tmp_path):
    words = ("matte", HOPPER, "-o", tmp_path / "o.webp", "--model", "mini")
    variables = {
        "BIREFCLI_CANVAS": "50x50",
        "BIREFCLI_FILL": "50%",
        "BIREFCLI_CROP": "1",
        "BIREFCLI_QUALITY": "50",
    }
    assert inside(*words, **variables).returncode == 2, "both by variables"
    typed = ("--resize", "40", "--crop", "--max-bytes", "9k")
    result = inside(*words, *typed, **variables)
    assert result.returncode == 0, result.stderr
    with Image.open(tmp_path / "o.webp") as image:
        assert max(image.size) == 40


def test_avif_that_this_pillow_cannot_write_is_told_before_any_work(monkeypatch):
    monkeypatch.setattr(features, "check", lambda _: False)
    with pytest.raises(UsageError, match="format=avif: this Pillow writes no AVIF: pip install"):
        read_rendering({"format": "avif"})


def test_masks_for_training_have_two_levels(matted):
    image, _ = matted(*["--write", "mask", "--threshold", "0.5", "--resize", "50%"])
    assert set(np.unique(np.asarray(image))) == {0, 255}
    deep, _ = matted(
        *["--write", "mask", "--threshold", "0.5", "--resize", "50%", "--bits", "1"], name="b.png"
    )
    assert deep.mode == "1"
    assert np.array_equal(np.asarray(deep), np.asarray(image) > 0)


@pytest.mark.slow
def test_trimap_widths_are_pixels_or_a_share(matted):
    unsure = []
    for width in ("0", "4", "3%"):
        image, _ = matted("--write", "trimap", "--trimap-width", width, name=f"{width}.png")
        unsure.append(int((np.asarray(image) == 128).sum()))
    assert unsure == sorted(set(unsure))


def test_bytes_are_limited_and_the_quality_is_told(matted, tmp_path):
    words = ["--write", "composite", "--max-bytes", "20k"]
    image, record = matted(*words, name="a.jpg")
    size = (tmp_path / "a.jpg").stat().st_size
    assert 15_000 < size <= 20_000
    assert re.fullmatch(r"lowered to quality \d+(, 4:2:0)?", record["notes"][-1])
    assert image.size == (512, 600)


def test_avif_and_lossy_webp_keep_transparency_and_are_up_to_date(inside, tmp_path):
    pytest.importorskip("PIL._avif")
    for format_ in ("avif", "webp"):
        out = tmp_path / format_
        words = ("--model", "mini", "--format", format_, "--quality", "70", "--json")
        runs = [inside("matte", HOPPER, "-o", out, *words) for _ in range(2)]
        statuses = [json.loads(run.stdout.splitlines()[0])["status"] for run in runs]
        assert statuses == ["written", "current"]
        with Image.open(out / f"grace_hopper.{format_}") as image:
            assert image.mode == "RGBA"
            alpha = np.asarray(image)[:, :, 3]
        assert (alpha[0, -1], alpha[500, 250]) == (0, 255)
        assert (out / f"grace_hopper.{format_}").stat().st_size < 60_000


def test_photo_that_cannot_be_laid_out_fails_in_a_line_and_others_go_on(inside, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (64, 64)).save(photos / "black.png")
    (photos / "b.jpg").write_bytes(HOPPER.read_bytes())
    words = ("--model", "mini", "--canvas", "64x64", "--fill", "80%")
    result = inside("matte", photos, "-o", tmp_path / "out", *words)
    said = result.stderr.decode().splitlines()
    assert result.returncode == 1
    assert said[0].endswith("black.png: no subject found (empty matte): nothing for --fill")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.png"]


def test_bytes_that_cannot_be_reached_fail_the_photo(inside, tmp_path):
    words = ("--model", "mini", "--write", "composite", "--max-bytes", "1k")
    result = inside("matte", HOPPER, "-o", tmp_path / "a.jpg", *words)
    assert result.returncode == 1
    line = result.stderr.decode().splitlines()[0]
    assert re.search(
        r"grace_hopper.jpg: [\d,]+ bytes at the lowest quality, of 512×600 pixels; allowed are"
        r" 1,000; allow more, (use --format avif, )?or make it smaller with --resize or a smaller"
        r" --canvas$",
        line,
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            "--fill 110% --canvas 9x9",
            "--fill 110%: give a share up to 1, or a percentage, like",
        ),
        ("--fill 85%", "--fill does nothing without --canvas or --aspect"),
        ("--align top", "--align does nothing without --canvas or --aspect"),
        ("--canvas 5x5 --fill 10%", "--canvas 5x5: leaves less than a pixel to a subject that"),
        ("--canvas 0x9", "--canvas 0x9: give sides from 1 to 65500 pixels, not 0x9"),
        ("--canvas 35x45mm", "--canvas 35x45mm: give dots per inch too, like 35x45mm@300dpi"),
        ("--canvas 1.5x9", "--canvas 1.5x9: give WxH in pixels, or WxHmm@DPI"),
        ("--canvas 20000x20000", "--canvas 20000x20000: more than 100 megapixels"),
        ("--canvas 9x9 --aspect 1:1", "--canvas 9x9: says its proportions; leave --aspect out"),
        ("--canvas 9x9 --resize 5", "--canvas says the size; leave --resize out"),
        ("--canvas 99x99 --fill 5% --head 50%", "--fill and --head: choose one"),
        ("--canvas 99x99 --fill 50% --crop", "--crop and --fill: choose one"),
        (
            "--canvas 99x99 --head 33",
            "--head 33: give a share up to 1, a percentage or a length",
        ),
        (
            "--canvas 99x99 --head 1%",
            "--head 1%: a head takes 20% of the height or more; for a whole person use --fill",
        ),
        ("--canvas 35x45mm@300dpi --head 3mm", "--head 3mm: a head takes 20% of the height or"),
        ("--canvas 99x99 --head 33mm", "--head 33mm: a length takes a canvas in mm, cm or inch"),
        (
            "--canvas 9x9mm@300dpi --head 1cm",
            "--head 1cm: give a length within the canvas's height",
        ),
        ("--head 33mm", "--head does nothing without --canvas or --aspect"),
        ("--aspect 4", "--aspect 4: give W:H, like 4:5"),
        ("--align middle-left --canvas 9x9", "--align middle-left: choose from centre, top"),
        ("--preset round", "--preset round: choose from square, amazon"),
        ("--resize big", "--resize big: give N, WxH or N%"),
        ("--resize 2000%", "--resize 2000%: give N, WxH or N%"),
        ("--quality 0 --format webp", "--quality 0: give a whole number from 1 to 100"),
        ("--quality 80", "--quality 80: png loses nothing: use jpg, webp or avif"),
        ("--max-bytes 200k", "--max-bytes 200000: png loses nothing: use jpg, webp or avif"),
        ("--max-bytes x --format webp", "--max-bytes x: give bytes, like 200k or 1.5M"),
        ("--max-bytes 200 --format webp", "--max-bytes 200: 200 bytes are too few for a picture"),
        ("--max-bytes 0 --format webp", "--max-bytes 0: give bytes, like 200k or 1.5M, from 1k"),
        ("--max-bytes 0.5k --format webp", "--max-bytes 0.5k: give bytes, like 200k or 1.5M"),
        ("--write mask --threshold 0.5 --format jpg", "--format jpg: a mask with a threshold has"),
        ("--write trimap --format avif", "--format avif: a trimap has three levels, and avif"),
        ("--write trimap --format webp --quality 9", "--quality 9: a trimap has three levels"),
        ("--write trimap --format webp --max-bytes 9k", "--max-bytes 9000: a trimap has three"),
        ("--write trimap --trimap-width 101%", "--trimap-width 101%: give pixels or a perc"),
        ("--canvas 20000x100 --format webp", "--canvas 20000x100: webp holds no more than 16383"),
        ("--preset square --preset google", "--preset square and google: choose one"),
        ("--write composite --background no.jpg", "--background no.jpg: no such file or folder"),
        ("--threshold 0.5", "--threshold does nothing without --write mask"),
        ("--threshold 50% --write mask", "--threshold 50%: give a number above 0 and up to 1"),
        ("--bits 1 --write mask", "--bits 1: 1 bit holds a mask without grey, alone: --write"),
        ("--bits 1 --format tiff", "--bits 1: tiff holds 8 or 16 bits; use png"),
        ("--trimap-width 5", "--trimap-width does nothing without --write trimap"),
        ("--shadow hard", "--shadow hard: choose from none, soft"),
        ("--shadow soft --write mask", "--shadow does nothing without --write cutout or compos"),
    ],
)
def test_what_no_photo_can_have_is_a_line_before_any_work(ended, tmp_path, words, text):
    picture().save(tmp_path / "a.png")
    code, said = ended("matte", tmp_path / "a.png", "-o", tmp_path / "out", *words.split())
    assert code == 2
    assert said.startswith(f"birefcli: {text}"), said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_head_may_be_a_length_on_a_canvas_of_one():
    for text in ("33mm", "3.3cm", "1.2992126 in", "73.33333%"):
        for canvas in ("35x45mm@300dpi", "3.5x4.5cm@600dpi"):
            share = read_rendering({"canvas": canvas, "head": text}).canvas.head
            assert share == pytest.approx(33 / 45, abs=0.002)


def test_presets_are_listed_with_their_sources(inside):
    result = inside("presets")
    rows = [line.split("\t") for line in result.stdout.decode().splitlines()]
    assert rows[0] == ["name", "purpose", "options", "source", "read"]
    assert [row[0] for row in rows[1:]] == list(presets())
    for row in rows[2:]:
        assert row[3].startswith("https://")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", row[4])
    records = [json.loads(line) for line in inside("presets", "--json").stdout.splitlines()]
    assert records[0]["options"]["fill"] == "85%"
    one = inside("presets", "id-us", "--json").stdout.splitlines()
    assert [json.loads(line)["name"] for line in one] == ["id-us"]
    wrong = inside("presets", "round")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith(b"birefcli: --preset round: choose from square, amazon")


def test_a_preset_that_makes_no_id_picture_any_more_says_so(command, tmp_path):
    words = ("matte", HOPPER, "-o", tmp_path / "a.png", "--model", "mini", "--dry-run")
    told = (
        "--preset id-us: its --head 60% is not applied, as --fill 85% is given: no head is looked"
    )
    for typed, times in ((("--fill", "85%"), 1), (("--head", "50%"), 0), (("--fill=1", "-q"), 0)):
        result = command(*words, "--preset", "id-us", *typed)
        assert result.returncode == 0, result.stderr.decode()
        assert result.stderr.decode().count(told) == times, typed


@pytest.mark.slow
@pytest.mark.parametrize("name", list(presets()))
def test_every_preset_is_a_command_line(matted, name):
    options = presets()[name].words
    words = [word for option, value in options.items() for word in (f"--{option}", value)]
    typed, _ = matted(*words, name="typed.png")
    named, _ = matted("--preset", name, name="named.png")
    assert np.array_equal(np.asarray(typed), np.asarray(named))
    contract = json.loads((Path(__file__).parents[2] / "birefcli/serve/openapi.json").read_text())
    assert name in contract["components"]["schemas"]["Preset"]["enum"]
