import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import saved

from birefcli.errors import PhotoError, UsageError
from birefcli.products.background import (
    Colour,
    Folder,
    Picture,
    files_of,
    note_of,
    parse_background,
)
from birefcli.products.background_files import meant_colour
from birefcli.system import object_store

LIMIT = 10**6


def flat(red, green, blue):
    return saved(Image.new("RGB", (4, 4), (red, green, blue)), "PNG")


@pytest.fixture
def grounds(bucket):
    """A bucket of backgrounds: bg/a.png green, bg/sub/a.png blue, and what is none."""
    bucket.put("bg/a.png", flat(0, 200, 0))
    bucket.put("bg/sub/a.png", flat(0, 0, 200))
    bucket.put("bg/c.txt", b"no picture")
    bucket.put("bg/.hidden/b.png", flat(9, 9, 9))
    bucket.put("bg/broken.png", b"no picture")
    bucket.put("bgx.png", flat(200, 0, 0))
    return bucket


def colour(picture):
    assert isinstance(picture, Picture)
    return picture.image[0, 0].tolist()


def test_an_object_is_one_background_for_all(grounds):
    found = parse_background(f"{grounds.url}/bgx.png", LIMIT)
    assert colour(found) == [200, 0, 0]
    assert [str(origin) for origin in files_of(found)] == [f"{grounds.url}/bgx.png"]


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(
    ("relative", "expected"), [("a.jpg", 200), ("sub/a.jpg", 0), ("other/a.tif", 200)]
)
def test_a_prefix_is_a_folder_of_backgrounds_paired_by_name(grounds, slash, relative, expected):
    found = parse_background(f"{grounds.url}/bg{slash}", LIMIT)
    assert isinstance(found, Folder)
    assert found._load(Path(relative))[0, 0, 1] == expected
    assert len(files_of(found)) == 3


def test_what_is_missing_or_broken_in_a_prefix_costs_its_photo_alone(grounds):
    found = parse_background(f"{grounds.url}/bg", LIMIT)
    for name in ("b.jpg", "c.jpg"):
        with pytest.raises(PhotoError, match=f"no background called . in {grounds.url}/bg/"):
            found._load(Path(name))
    with pytest.raises(PhotoError, match=f"background {grounds.url}/bg/broken.png: not an image"):
        found._load(Path("broken.jpg"))
    grounds.put("bg/a.png", flat(1, 2, 3))
    with pytest.raises(PhotoError, match=r"bg/a\.png: PreconditionFailed"):  # no longer as listed
        found._load(Path("a.jpg"))


def test_what_a_composite_depends_on_is_the_content_and_not_when_it_was_uploaded(grounds):
    def identities():
        picture = parse_background(f"{grounds.url}/bgx.png", LIMIT)
        folder = parse_background(f"{grounds.url}/bg", LIMIT)
        return picture.identity(Path("a.jpg")), folder.identity(Path("a.jpg"))

    before = identities()
    assert before[0].startswith(f"{grounds.url}/bgx.png ")
    assert before[1].startswith(f"{grounds.url}/bg/a.png ")
    for key in ("bgx.png", "bg/a.png"):
        grounds.put(key, grounds.get(key))
    assert identities() == before
    for key in ("bgx.png", "bg/a.png"):
        grounds.put(key, flat(1, 2, 3))
    after = identities()
    assert after[0] != before[0]
    assert after[1] != before[1]


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("none.png", "no such image, and none below it"),
        ("none/", "no such image, and none below it"),
        ("a//b.png", "empty part"),
        ("bg/c.txt", "not an image"),
    ],
)
def test_what_is_no_background_is_refused_before_the_run(grounds, key, why):
    with pytest.raises(UsageError, match=why) as refused:
        parse_background(f"{grounds.url}/{key}", LIMIT)
    assert str(refused.value).startswith(f"background={grounds.url}/{key}: ")


def test_a_store_that_refuses_is_told_in_its_own_word(grounds):
    grounds.proxy.fail(status=403, code="AccessDenied", message="not you", times=99)
    with pytest.raises(UsageError, match="AccessDenied: not you"):
        parse_background(f"{grounds.url}/bg/", LIMIT)
    grounds.proxy.reset()
    with pytest.raises(UsageError, match="NoSuchBucket: The specified bucket does not exist"):
        parse_background("s3://no-such-bucket/bg/", LIMIT)


def test_a_background_over_the_limit_is_refused_by_its_header(grounds, monkeypatch):
    monkeypatch.setattr("birefcli.images.reading.LARGE", 1 << 10)
    monkeypatch.setattr(object_store, "BLOCK", 1 << 12)
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "PNG")
    grounds.put("large.png", out.getvalue())
    grounds.proxy.reset()
    with pytest.raises(UsageError, match="max_megapixels"):
        parse_background(f"{grounds.url}/large.png", 10_000)
    assert grounds.proxy.count("GET", ranged=True) >= 1
    assert grounds.proxy.count("GET", ranged=False) == 0  # not all of it
    whole = parse_background(f"{grounds.url}/large.png", LIMIT)
    assert np.array_equal(whole.image, noise)


def test_white_shows_through_a_transparent_picture_and_its_owner_is_told(tmp_path):
    half = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    half.putpixel((1, 0), (200, 0, 0, 128))
    half.save(tmp_path / "a.png")
    found = parse_background(str(tmp_path / "a.png"), LIMIT)
    assert isinstance(found, Picture)
    assert found.image[0, 0].tolist() == [255, 255, 255]
    assert np.abs(found.image[0, 1].astype(int) - [227, 127, 127]).max() <= 1
    assert note_of(found) == (
        f"background {tmp_path}/a.png is transparent in places: white shows there"
    )
    Image.new("RGB", (2, 1)).save(tmp_path / "b.png")
    assert note_of(parse_background(str(tmp_path / "b.png"), LIMIT)) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("transparent", "a composite is opaque; use write=cutout"),
        ("rgba(255, 0, 0, 0.5)", "a composite is opaque; use write=cutout"),
        ("hsl(0 100% 50% / 50%)", "a composite is opaque; use write=cutout"),
        ("#ff000080", "a composite is opaque; use write=cutout"),
        ("nofile.jpg", "no such file or folder"),
        ("reddish", "no CSS colour, image, folder of images, or blur[:RADIUS]: no such file"),
        (".", "no picture in this folder"),
    ],
)
def test_what_is_no_background_here_is_told_by_its_kind(tmp_path, monkeypatch, text, why):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as refused:
        parse_background(text, LIMIT)
    assert str(refused.value).startswith(f"background={text}: {why}")


def test_a_misspelt_colour_is_asked_about():
    with pytest.raises(UsageError, match=r"no such file or folder; did you mean gr[ae]y\?"):
        parse_background("gry", LIMIT)
    assert (meant_colour("Blurr"), meant_colour("studio")) == ("did you mean blur?", None)


@pytest.mark.parametrize(
    "text", ["rgba(255, 0, 0, 1)", "rgb(255 0 0 / 100%)", "rgba(255, 0, 0, 255)", "RGB(255,0,0)"]
)
def test_colours_that_say_they_are_opaque_are_colours(text):
    assert parse_background(text, LIMIT) == Colour((255, 0, 0))
