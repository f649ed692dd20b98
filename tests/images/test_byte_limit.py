"""Files of no more than so many bytes, and qualities: what is lost, and what never is."""

import io

import numpy as np
import pytest
from conftest import picture
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, features

from birefcli.errors import PhotoError
from birefcli.images.byte_limit import BEST_WEBP, encode_within, needs_full_chroma
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


@pytest.mark.parametrize("format_", LOSSY)
@pytest.mark.parametrize("most", [3_000, 5_000, 9_000])
def test_file_is_within_its_bytes_and_the_next_better_one_is_not(format_, most):
    found = encode_within(PHOTO, format_, FAST, most, PLAIN)
    assert len(found.data) <= most
    assert opened(found.data).size == (160, 120)
    top = QUALITY[format_][FAST] if format_ in QUALITY else BEST_WEBP
    assert 1 <= found.quality <= top
    if found.quality < top:
        better = encode(
            PHOTO, format_, FAST, quality=found.quality + 1, full_chroma=False, metadata=PLAIN
        )
        assert len(better) > most


@pytest.mark.parametrize("format_", LOSSY)
def test_file_that_fits_at_once_has_the_best_quality(format_):
    found = encode_within(PHOTO, format_, FAST, 10**6, PLAIN)
    assert found.quality == (QUALITY[format_][FAST] if format_ in QUALITY else BEST_WEBP)


@pytest.mark.parametrize("format_", LOSSY)
def test_what_cannot_be_so_small_says_how_small_it_can_be(format_):
    smallest = len(encode(PHOTO, format_, FAST, quality=1, full_chroma=False))
    with pytest.raises(PhotoError) as caught:
        encode_within(PHOTO, format_, FAST, 100, PLAIN)
    said = str(caught.value)
    assert said == (
        f"{smallest:,} bytes at the lowest quality, of 160×120 pixels; allowed are 100;"
        " make it smaller with resize, or allow more"
    )


def test_what_a_photo_says_counts_among_the_bytes():
    notes = Metadata(exif=b"II*\0\x08\0\0\0\0\0\0\0\0\0", stamp="made;")
    found = encode_within(PHOTO, Format.JPG, FAST, 4_000, notes)
    assert len(found.data) <= 4_000
    assert found.data.startswith(b"\xff\xd8\xff\xe0")
    assert b"made;" in found.data[:100]


def test_flat_colours_keep_their_chroma_and_photos_do_not():
    assert needs_full_chroma(over_red())
    assert not needs_full_chroma(PHOTO)
    white = over_red()
    white[(white == (255, 0, 0)).all(2)] = 255
    assert not needs_full_chroma(white)
    assert not needs_full_chroma(np.zeros((20, 20), np.uint8))
    sampled = {
        name: opened(encode_within(pixels, Format.JPG, FAST, 30_000, PLAIN).data).layer[0][1:3]
        for name, pixels in (("red", over_red()), ("photo", np.asarray(picture(400, 400))))
    }
    assert sampled == {"red": (1, 1), "photo": (2, 2)}


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
