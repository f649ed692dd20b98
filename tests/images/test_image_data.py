"""The checksum of encoded pixels: what changes it, and what does not."""

import io
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from described import block, dataset, packet
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from birefcli.images import image_data, stamp
from birefcli.images.encode import encode
from birefcli.images.metadata import Metadata
from birefcli.images.stamp import Stamp
from birefcli.options import Format

RGB = np.random.RandomState(0).randint(0, 256, (37, 50, 3)).astype(np.uint8)
RGBA = np.dstack([RGB, np.where(RGB[..., 0] > 99, 255, 0).astype(np.uint8)])
DEEP = RGBA.astype(np.uint16) * 257
PICTURES = {
    "png": (RGBA, Format.PNG, {}),
    "png of 16 bits": (DEEP, Format.PNG, {}),
    "png of 1 bit": (RGB[..., 0] > 99, Format.PNG, {}),
    "webp": (RGBA, Format.WEBP, {}),
    "lossy webp": (RGBA, Format.WEBP, {"quality": 60}),
    "opaque lossy webp": (RGB, Format.WEBP, {"quality": 60}),
    "jpg": (RGB, Format.JPG, {}),
    "grey jpg": (RGB[..., 0], Format.JPG, {}),
    "tiff": (RGBA, Format.TIFF, {}),
    "tiff of 16 bits": (DEEP, Format.TIFF, {}),
    "avif": (RGBA, Format.AVIF, {}),
}
SAID = Metadata(
    icc=bytes(36) + b"acsp" + bytes(3000),
    dpi=(300, 300),
    exif=block(">", {270: (2, b"a title")}, {37500: (7, bytes(5000))}),
    xmp=packet("<dc:title>a title</dc:title>"),
    iptc=dataset(2, 120, b"a title"),
)
TEXT = Stamp("0" * 16, "fp32", "cutout", 1, 2).text()


def made(name: str, said: Metadata = SAID) -> bytes:
    """A product."""
    pixels, format_, how = PICTURES[name]
    return encode(pixels, format_, metadata=replace(said, stamp=TEXT), **how)


def written(data: bytes) -> stamp.Checksum:
    """What a product's stamp says of its file."""
    found = stamp.of_bytes(data)
    assert found is not None
    assert found.checksum is not None
    return found.checksum


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("said", [SAID, Metadata()], ids=["described", "plain"])
def test_a_stamp_tells_the_length_of_its_file_and_the_checksum_of_its_pixels(name, said):
    data = made(name, said)
    assert written(data) == (len(data), image_data.of_bytes(data))
    assert image_data.length(io.BytesIO(data)) == image_data.of_bytes(data).length > 0
    assert stamp.has_own_pixels(io.BytesIO(data), written(data))


@pytest.mark.parametrize("name", PICTURES)
def test_the_checksum_is_that_of_the_pixels_alone(name):
    # A TIFF's byte order is that of its EXIF, and an AVIF has that in one box with its pixels.
    if not name.startswith(("tiff", "avif")):
        assert written(made(name)).data == written(made(name, Metadata())).data
    pixels, format_, how = PICTURES[name]
    other = pixels.copy()
    other[:9, :9] = ~other[:9, :9]
    edited = encode(other, format_, metadata=replace(SAID, stamp=TEXT), **how)
    assert written(edited).data != written(made(name)).data
    assert not stamp.has_own_pixels(io.BytesIO(edited), written(made(name)))


# What programs add that describe a picture


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def described_png(data: bytes) -> bytes:
    return (
        data[:33] + chunk(b"tEXt", b"Title\0x") + data[33:-12] + chunk(b"eXIf", b"y") + data[-12:]
    )


def described_jpeg(data: bytes) -> bytes:
    return data[:2] + b"\xff\xe1\0\x08Exif\0\0" + data[2:]


def described_webp(data: bytes) -> bytes:
    return data[:4] + struct.pack("<I", len(data) + 2) + data[8:] + b"TEXT\1\0\0\0x\0"


def described_tiff(data: bytes) -> bytes:
    """With another first directory at its end, which has one tag more."""
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    table = data[at + 2 : at + 2 + 12 * count] + struct.pack(order + "HHII", 50000, 4, 1, 7)
    data += b"\0" * (len(data) % 2)
    directory = struct.pack(order + "H", count + 1) + table + bytes(4)
    return data[:4] + struct.pack(order + "I", len(data)) + data[8:] + directory


def described_avif(data: bytes) -> bytes:
    return data + struct.pack(">I4s", 12, b"free") + b"text"


DESCRIBED = {
    "png": described_png,
    "jpg": described_jpeg,
    "webp": described_webp,
    "tiff": described_tiff,
    "avif": described_avif,
}


@pytest.mark.parametrize("name", PICTURES)
def test_what_describes_a_picture_changes_its_length_and_not_its_pixels(name):
    data = made(name)
    [change] = [change for kind, change in DESCRIBED.items() if kind in name]
    described = change(data)
    with Image.open(io.BytesIO(described)) as image:
        image.load()
    assert len(described) != len(data)
    assert stamp.has_own_pixels(io.BytesIO(described), written(data))
    assert stamp.has_own_length(io.BytesIO(described), len(described), written(data))


def test_what_follows_a_jpeg_and_a_second_page_of_a_tiff_are_pixels_of_somebodys():
    data = made("jpg")
    assert not stamp.has_own_pixels(io.BytesIO(data + b"a film"), written(data))
    data = made("tiff", Metadata())
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    place, end = at + 2 + 12 * count, len(data) + len(data) % 2
    page = struct.pack("<HHHIIHHIII", 2, 273, 4, 1, 8, 279, 4, 1, 20, 0)
    paged = data[:place] + struct.pack("<I", end) + data[place + 4 :].ljust(end - place - 4) + page
    assert image_data.length(io.BytesIO(paged)) == image_data.length(io.BytesIO(data)) + 20
    assert not stamp.has_own_pixels(io.BytesIO(paged), written(data))


def test_equal_length_is_told_apart_only_where_all_is_read():
    data = made("png")
    at = data.index(b"IDAT") + 200
    edited = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    assert stamp.has_own_length(io.BytesIO(edited), len(edited), written(data))
    assert not stamp.has_own_pixels(io.BytesIO(edited), written(data))


# Files of others, and damaged ones


@pytest.mark.parametrize("length", [4, 6, 8, 9])
def test_a_tiff_that_ends_in_its_header_is_no_picture(length):
    with pytest.raises(ValueError, match="ends too early"):
        image_data.of_bytes(b"MM\0*\0\0\0\x08\0"[:length])


@given(st.data())
@pytest.mark.parametrize("name", PICTURES)
def test_a_damaged_file_is_another_picture_and_never_a_bug(name, data):
    whole = made(name)
    broken = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(broken), 400) - 1))
        broken[at] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(broken)))
    file = io.BytesIO(bytes(broken[:end]))
    if stamp.has_own_pixels(file, written(whole)):
        assert end > written(whole).data.length


@pytest.mark.parametrize(
    "data", [b"", b"text of somebody", b"II+\0\10\0\0\0" + bytes(99), b"\xff\xd8"]
)
def test_what_is_no_picture_has_no_pixels_of_ours(data):
    with pytest.raises(ValueError):  # noqa: PT011 - one of several
        image_data.measure(io.BytesIO(data))
    assert not stamp.has_own_pixels(io.BytesIO(data), written(made("png")))


def test_parts_that_are_all_one_are_not_read_again_and_again():
    """A TIFF of 64 strips, each of which is the whole file."""
    strips = 64
    places, lengths = 8 + 2 + 24 + 4, 8 + 2 + 24 + 4 + 4 * strips
    entries = struct.pack("<HHIIHHII", 273, 4, strips, places, 279, 4, strips, lengths)
    head = b"II*\0\10\0\0\0" + struct.pack("<H", 2) + entries + bytes(4)
    size = len(head) + 8 * strips
    data = head + struct.pack(f"<{strips}I", *[0] * strips)
    data += struct.pack(f"<{strips}I", *[size] * strips)
    assert image_data.measure(io.BytesIO(data)).length == strips * size
    with pytest.raises(ValueError, match="more pixels"):
        image_data.measure(io.BytesIO(data), size)


def test_directories_of_a_tiff_that_lead_in_a_circle_end():
    table = struct.pack("<HI", 0, 8)
    with pytest.raises(ValueError, match="pages"):
        image_data.length(io.BytesIO(b"II*\0\10\0\0\0" + table))


@pytest.mark.parametrize("way", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_picture_is_cut_short_where_its_end_is_not_there(way):
    data = io.BytesIO()
    Image.effect_noise((40, 30), 90).save(data, way)
    whole = data.getvalue()
    assert not image_data.is_cut_short(io.BytesIO(whole))
    if way in ("PNG", "JPEG"):
        assert not image_data.is_cut_short(io.BytesIO(whole + b"a film" + bytes(99)))
    for length in (13, len(whole) // 2, len(whole) - 1):
        assert image_data.is_cut_short(io.BytesIO(whole[:length])), length
    assert image_data.is_cut_short(io.BytesIO(whole[:-60] + bytes(60)))


def test_an_end_that_lies_in_two_pieces_is_found(monkeypatch):
    data = io.BytesIO()
    Image.effect_noise((40, 30), 90).save(data, "JPEG")
    for size in (1, 2, 3, 5):
        monkeypatch.setattr(image_data, "_PIECE", size)
        assert not image_data.is_cut_short(io.BytesIO(data.getvalue() + b"more"))


def test_what_is_no_picture_is_not_cut_short():
    assert not image_data.is_cut_short(io.BytesIO(b"text" * 9))
    assert not image_data.is_cut_short(io.BytesIO(b"\xff\xd8 and no segment"))
