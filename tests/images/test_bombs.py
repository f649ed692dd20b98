"""Small files whose reading would take minutes: refused by what no picture has, at once."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support import saved

from birefcli.errors import PhotoError, PhotoTooLargeError
from birefcli.images import decode, opening
from birefcli.images.decode import decode_photo
from birefcli.images.formats import jpeg, png
from birefcli.images.opening import read_header
from birefcli.options import Size

LIMIT = 1 << 24


@pytest.fixture(params=["fast", "plain"])
def library(request, monkeypatch):
    if request.param == "plain":
        monkeypatch.setattr(decode, "simplejpeg", None)


def picture(mode="RGB", size=(40, 30), seed=0):
    channels = {"L": 1, "RGB": 3, "CMYK": 4}[mode]
    noise = np.random.RandomState(seed).randint(0, 256, (size[1], size[0], channels), np.uint8)
    return Image.frombytes(mode, size, noise.tobytes())


def with_scans(count, mode="L"):
    """A progressive JPEG and its last scan as often as makes ``count``."""
    data = saved(picture(mode), "JPEG", progressive=True)
    last = data[data.rindex(jpeg.SCAN) : -2]
    return data[:-2] + last * (count - data.count(jpeg.SCAN)) + data[-2:]


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("min_size", [None, Size(10, 10)])
def test_jpeg_of_more_scans_than_any_encoder_writes_is_refused(library, mode, min_size):
    data = with_scans(jpeg.MOST_SCANS + 500, mode)
    with pytest.raises(PhotoError, match=r"damaged image: 600 scans, more than 100$"):
        decode_photo(data, LIMIT, min_size=min_size)


def test_jpeg_of_as_many_scans_as_may_be_is_read(library):
    with Image.open(io.BytesIO(with_scans(jpeg.MOST_SCANS))) as image:
        wanted = np.asarray(image.convert("RGB"))
    assert np.array_equal(decode_photo(with_scans(jpeg.MOST_SCANS), LIMIT).pixels, wanted)


@pytest.mark.parametrize(
    "hiding",
    [b"\xff\x01", b"\xff\xd0", b"\xff\xff", b"\xff\xfe\0\2", b"\xff\xe5\0\4\xff\xd9"],
    ids=["TEM", "restart", "fill", "comment", "end in a segment"],
)
def test_scans_cannot_be_hidden_behind_other_markers(hiding):
    data = saved(picture("L"), "JPEG", progressive=True)
    last = data[data.rindex(jpeg.SCAN) : -2]
    with pytest.raises(PhotoError, match="scans, more than 100"):
        decode_photo(data[:-2] + (hiding + last) * 300 + data[-2:], LIMIT)


def test_scans_of_thumbnails_and_of_what_follows_a_picture_are_not_its_own():
    data = saved(picture(), "JPEG")
    app = b"\xff\xe5" + struct.pack(">H", 60_002) + jpeg.SCAN * 30_000
    photo = decode_photo(data[:2] + app + data[2:] + jpeg.SCAN * 30_000 + jpeg.END, LIMIT)
    assert np.array_equal(photo.pixels, decode_photo(data, LIMIT).pixels)


@given(
    mode=st.sampled_from(["L", "RGB", "CMYK"]),
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    seed=st.integers(0, 9),
    quality=st.integers(1, 100),
    subsampling=st.integers(0, 2),
    restarts=st.integers(0, 3),
)
def test_progressive_jpeg_is_read_as_pillow_reads_it(
    mode, width, height, seed, quality, subsampling, restarts
):
    data = saved(
        picture(mode, (width, height), seed),
        "JPEG",
        progressive=True,
        quality=quality,
        subsampling=subsampling,
        restart_marker_blocks=restarts,
    )
    photo = decode_photo(data, LIMIT)
    assert photo.shape == (height, width)
    if mode != "CMYK":
        with Image.open(io.BytesIO(data)) as image:
            assert np.array_equal(photo.pixels, np.asarray(image.convert("RGB")))


# Segments before the pixels


def segment(marker, body=b""):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


FULL = bytes(65_000)
HEADERS = {
    "EXIF": (segment(0xE1, b"Exif\0\0" + bytes(30)) * 1000, "more than 64 EXIF segments"),
    "long EXIF": (segment(0xE1, b"Exif\0\0" + FULL) * 100, "more than 64 EXIF segments"),
    "Photoshop": (segment(0xED, b"Photoshop 3.0\0") * 200, "more than 128 Photoshop segments"),
    "tables": (segment(0xDB, bytes(65)) * 100, "more than 16 table segments"),
    "comments": (segment(0xFE) * 20_000, "more than 10000 segments"),
    "starts": (b"\xff\xd8" * 20_000, "more than 10000 segments"),
    "fill": (b"\xff" * 300_000, "its header does not end"),
    "zeros after a segment": (segment(0xFE) + bytes(300_000), "its header does not end"),
    "fill in parts": ((b"\xff" * 100 + segment(0xE3)) * 3000, "its header does not end"),
}


@pytest.mark.parametrize(("header", "message"), HEADERS.values(), ids=HEADERS)
def test_jpeg_whose_header_no_picture_has_is_refused(header, message):
    data = b"\xff\xd8" + header + saved(picture(), "JPEG")[2:]
    with pytest.raises(PhotoError, match=f"^damaged image: {message}$"):
        decode_photo(data, LIMIT)
    with pytest.raises(PhotoError, match=message):
        read_header(io.BytesIO(data))


def test_jpeg_with_much_beside_its_pixels_is_read():
    profile = segment(0xE2, b"ICC_PROFILE\0\1\1" + FULL) * 250
    maps = segment(0xE5, FULL) * 300
    exif = segment(0xE1, b"Exif\0\0" + FULL) * 60
    plain = saved(picture(), "JPEG")
    data = b"\xff\xd8" + b"\xff" * 5000 + profile + maps + exif + bytes(5000) + plain[2:]
    assert np.array_equal(decode_photo(data, LIMIT).pixels, decode_photo(plain, LIMIT).pixels)
    assert read_header(io.BytesIO(data)).pixels == 1200


# PNG, GIF, Netpbm


def with_chunks(name, body, count):
    data = saved(picture(), "PNG")
    at = data.index(b"IDAT") - 4
    return data[:at] + png.packed(name, body) * count + data[at:]


MEGABYTE = zlib.compress(bytes(1 << 20))
PACKED = {
    "zTXt": (b"zTXt", b"k\0\0" + MEGABYTE),
    "iTXt": (b"iTXt", b"k\0\1\0\0\0" + MEGABYTE),
    "damaged": (b"zTXt", b"k\0\0" + MEGABYTE[:-8]),
    "too long": (b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 25))),
    "profile": (b"iCCP", b"k\0\0" + MEGABYTE),
}


@pytest.mark.parametrize(("name", "body"), PACKED.values(), ids=PACKED)
def test_png_is_unpacked_beside_its_pixels_only_so_far(name, body, monkeypatch):
    unpacked = []

    def spy(stream, limit):
        found = inflated(stream, limit)
        unpacked.append(limit if found is None else len(found))
        return found

    inflated = png.inflated
    monkeypatch.setattr(png, "inflated", spy)
    data = with_chunks(name, body, 1000)
    photo = decode_photo(data, LIMIT)
    assert np.array_equal(photo.pixels, np.asarray(picture()))
    assert photo.notes
    assert sum(unpacked) < 1 << 28, "of a gigabyte and more"
    assert read_header(io.BytesIO(data)).pixels == 1200


GIF = b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0)
ENDLESS = {
    "GIF": GIF + b"\x21\xfe\1a" + b"\1a" * 9000,
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x08free" * 9000,
    "PPM": b"P6 " + b"#\n" * 9000,
    "PPM's white space": b"P6 " + b" " * 9000,
}


@pytest.mark.parametrize("data", ENDLESS.values(), ids=ENDLESS)
def test_header_that_is_read_byte_by_byte_ends(data, monkeypatch):
    assert opening.MOST_READS > 8000
    monkeypatch.setattr(opening, "MOST_READS", 8000)  # as many as there are take seconds
    for read in (lambda: decode_photo(data, LIMIT), lambda: read_header(io.BytesIO(data))):
        with pytest.raises(PhotoError, match="its header does not end"):
            read()


def test_plain_netpbm_with_comments_without_end_is_refused():
    start, pixels = b"P3 4 2 255 ", b" 7 8 9 # a comment\n" * 8
    assert decode_photo(start + pixels, LIMIT).pixels.tolist() == [[[7, 8, 9]] * 4] * 2
    with pytest.raises(PhotoError, match="more than 1000 comments"):
        decode_photo(start + b"#\n" * 2000 + pixels, LIMIT)


# Lines


@pytest.mark.parametrize("size", [(opening.LONGEST_SIDE + 1, 1), (1, opening.LONGEST_SIDE + 1)])
def test_picture_longer_than_any_photo_is_refused(size):
    data = saved(Image.new("L", size), "PNG")
    with pytest.raises(PhotoTooLargeError, match="no side may be longer than 1000000"):
        decode_photo(data, LIMIT)
