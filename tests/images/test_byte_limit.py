"""Files of no more than so many bytes, and qualities: what is lost, and what never is."""

import io
import re

import numpy as np
import pytest
from conftest import picture
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageFilter, features

from birefcli.errors import PhotoError
from birefcli.images.byte_limit import (
    FULL_CHROMA,
    FULL_CHROMA_FLAT,
    encode_within,
    has_flat_colour,
)
from birefcli.images.codecs import can_write_avif, takes_aom
from birefcli.images.decode import decode_photo
from birefcli.images.encode import QUALITY, encode
from birefcli.images.metadata import Metadata
from birefcli.options import Compress, Format

AVIF = pytest.param(
    Format.AVIF, marks=pytest.mark.skipif(not features.check("avif"), reason="no AVIF")
)
LOSSY = [Format.JPG, Format.WEBP, AVIF]
PHOTO = np.asarray(picture(160, 120))
FAST, PLAIN = Compress.FAST, Metadata()


def opened(data):
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image


def over_red(height=200, width=200):
    """A subject over a flat red."""
    pixels = np.full((height, width, 3), (255, 0, 0), np.uint8)
    pixels[50:150, 50:150] = np.asarray(picture(100, 100))
    return pixels


def quality_of(found):
    return int(re.match(r"quality (\d+)", found.quality)[1])


@pytest.mark.parametrize("format_", LOSSY)
@pytest.mark.parametrize("most", [2_500, 5_000, 9_000])
def test_file_is_within_its_bytes_and_the_next_better_one_is_not(format_, most):
    found = encode_within(PHOTO, format_, FAST, most, PLAIN)
    assert len(found.data) <= most
    assert opened(found.data).size == (160, 120)
    quality = quality_of(found)
    top = QUALITY[format_][FAST] if format_ in QUALITY else 100
    assert 1 <= quality <= top
    if quality < top:
        full = "4:2:0" not in found.quality
        effort = Compress.BALANCED if format_ is Format.JPG else FAST
        better = encode(PHOTO, format_, effort, quality=quality + 1, full_chroma=full)
        assert len(better) > most


@pytest.mark.parametrize("format_", LOSSY)
def test_what_fits_without_a_limit_is_the_file_unchanged(format_):
    for quality in (None, 70, 100):
        plain = encode(PHOTO, format_, FAST, quality=quality)
        found = encode_within(PHOTO, format_, FAST, len(plain), PLAIN, quality)
        assert found.data == plain
        lossless = format_ is Format.WEBP and quality is None
        told = "lossless" if lossless else f"quality {quality or QUALITY[format_][FAST]}"
        assert (found.quality, found.notes) == (told, ())


def test_a_quality_beside_a_limit_is_the_best_that_is_tried():
    found = encode_within(PHOTO, Format.JPG, FAST, 4_000, PLAIN, 30)
    assert quality_of(found) <= 30
    assert quality_of(encode_within(PHOTO, Format.JPG, FAST, 4_000, PLAIN)) >= quality_of(found)


@pytest.mark.parametrize("format_", LOSSY)
def test_what_cannot_be_so_small_says_how_small_it_can_be(format_):
    effort = Compress.BALANCED if format_ is Format.JPG else FAST
    smallest = len(encode(PHOTO, format_, effort, quality=1, full_chroma=format_ is not Format.JPG))
    with pytest.raises(PhotoError) as caught:
        encode_within(PHOTO, format_, FAST, 100, PLAIN)
    avif = "" if format_ is Format.AVIF or not can_write_avif() else "use format=avif, "
    assert str(caught.value) == (
        f"{smallest:,} bytes at the lowest quality, of 160×120 pixels; allowed are 100;"
        f" allow more, {avif}or make it smaller with resize or a smaller canvas"
    )


def test_effort_makes_a_jpeg_smaller_and_changes_no_pixel():
    grainy = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    for pixels in (PHOTO, PHOTO[:, :, 0].copy(), grainy):  # no table of a buffer's size fits grain
        for full in (True, False):
            made = [
                encode(pixels, Format.JPG, effort, quality=96, full_chroma=full)
                for effort in (FAST, Compress.BALANCED, Compress.SMALL)
            ]
            assert len(made[0]) > len(made[1]) >= len(made[2])
            shown = [np.asarray(opened(data)) for data in made]
            assert np.array_equal(shown[0], shown[1])
            assert np.array_equal(shown[0], shown[2])


def hairy(side=200):
    """A cutout whose alpha is soft nearly everywhere, and whose colour is easy."""
    noise = np.random.default_rng(0).integers(0, 256, (side, side), np.uint8)
    alpha = np.asarray(Image.fromarray(noise).filter(ImageFilter.GaussianBlur(1)))
    return np.dstack([np.asarray(picture(side, side)), alpha])


def test_alpha_of_a_webp_gives_way_where_colour_would_suffer():
    pixels = hairy()
    exact = encode(pixels, Format.WEBP, quality=60)
    for most, way in ((len(exact), ""), (len(exact) - 1, ", alpha 50")):
        found = encode_within(pixels, Format.WEBP, FAST, most, PLAIN)
        assert found.quality == f"quality {quality_of(found)}{way}"
        away = np.abs(np.asarray(opened(found.data))[:, :, 3].astype(int) - pixels[:, :, 3])
        assert away.max() <= (16 if way else 0)


@pytest.mark.skipif(not takes_aom(), reason="AVIF not by libaom")
def test_alpha_of_an_avif_is_kept_where_its_colour_is_not():
    pixels = hairy()
    pixels[:, :100, 3] = 0

    def away(quality):
        alpha = np.asarray(opened(encode(pixels, Format.AVIF, quality=quality)))[:, :, 3]
        return np.abs(alpha.astype(int) - pixels[:, :, 3]).mean()

    assert away(1) == pytest.approx(away(40), rel=0.3)


def test_what_a_photo_says_counts_among_the_bytes():
    said = Metadata(exif=b"II*\0\x08\0\0\0\0\0\0\0\0\0")
    found = encode_within(
        PHOTO, Format.JPG, FAST, 4_000, said, stamp=lambda notes: f"made {notes};"
    )
    assert len(found.data) <= 4_000
    assert found.data.startswith(b"\xff\xd8\xff\xe0")
    assert found.notes == (f"lowered to {found.quality}",)
    assert f"made {found.notes};".encode() in found.data[:100], "the stamp tells it too"


def test_chroma_stays_where_its_quality_is_good_enough():
    assert has_flat_colour(over_red())
    assert not has_flat_colour(PHOTO)
    white = over_red()
    white[(white == (255, 0, 0)).all(2)] = 255
    assert not has_flat_colour(white)

    def took(pixels, least):
        """What is taken where 4:4:4 of this quality just fits, and where it just does not."""
        most = len(encode(pixels, Format.JPG, Compress.BALANCED, quality=least))
        found = [encode_within(pixels, Format.JPG, FAST, most - less, PLAIN) for less in (0, 1)]
        assert [opened(each.data).layer[0][1:3] for each in found] == [(1, 1), (2, 2)]
        assert found[0].quality == f"quality {least}"
        assert found[1].quality.endswith(", 4:2:0")

    took(PHOTO, FULL_CHROMA)
    took(over_red(), FULL_CHROMA_FLAT)


def test_without_a_limit_a_jpeg_keeps_its_chroma():
    assert opened(encode(PHOTO, Format.JPG)).layer[0][1:3] == (1, 1)
    assert opened(encode(PHOTO, Format.JPG, quality=50)).layer[0][1:3] == (1, 1)


def test_edge_at_a_flat_red_is_the_reason():
    half = np.full((64, 64, 3), (255, 0, 0), np.uint8)
    half[:, 33:] = (0, 0, 255)
    fringes = []
    for full in (True, False):
        data = encode(half, Format.JPG, quality=95, full_chroma=full)
        fringes.append(int(np.abs(np.asarray(opened(data)).astype(int) - half).max()))
    assert fringes[0] < 30 < 100 < fringes[1]


@pytest.mark.parametrize("format_", LOSSY)
@pytest.mark.parametrize("channels", [3, 4, None])
def test_lossy_pictures_come_back_nearly_as_they_were(format_, channels):
    if format_ is Format.JPG and channels == 4:
        pytest.skip("holds no transparency")
    pixels = np.asarray(picture(80, 60))
    if channels is None:
        pixels = pixels[:, :, 0].copy()
    if channels == 4:
        alpha = np.zeros((60, 80, 1), np.uint8)
        alpha[10:50, 10:70] = 255
        alpha[30:40] = 128
        pixels = np.concatenate([pixels, alpha], 2)
    data = encode(pixels, format_, quality=90)
    photo = decode_photo(data, 10_000)
    shown = pixels if channels else np.repeat(pixels[:, :, None], 3, 2)
    if channels == 4:
        seen = pixels[:, :, 3] > 0
        assert photo.alpha is not None
        away = np.abs(photo.alpha.astype(int) - pixels[:, :, 3])
        assert away.mean() < 2
        assert np.abs(photo.pixels[seen].astype(int) - pixels[seen][:, :3]).mean() < 8
    else:
        assert np.abs(photo.pixels.astype(int) - shown).mean() < 8


@pytest.mark.parametrize("format_", LOSSY)
def test_bytes_grow_with_quality(format_):
    sizes = [len(encode(PHOTO, format_, quality=quality)) for quality in (5, 50, 95)]
    assert sizes == sorted(set(sizes))


def test_webp_without_a_quality_loses_nothing():
    assert np.array_equal(np.asarray(opened(encode(PHOTO, Format.WEBP))), PHOTO)
    assert not np.array_equal(np.asarray(opened(encode(PHOTO, Format.WEBP, quality=90))), PHOTO)


@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_masks_of_one_bit_are_read_by_all(pixels):
    data = encode(pixels, Format.PNG)
    image = opened(data)
    assert image.mode == "1"
    assert np.array_equal(np.asarray(image), pixels)
    assert np.array_equal(decode_photo(data, 10_000).pixels[:, :, 0] > 0, pixels)


@pytest.mark.parametrize("format_", [f for f in Format if f is not Format.PNG])
def test_one_bit_is_for_png_alone(format_):
    with pytest.raises(ValueError, match="png alone holds 1 bit"):
        encode(np.zeros((4, 4), np.bool_), format_)
