"""Photos of which pixels are lost although their file has an end."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from birefcli.errors import PhotoError
from birefcli.images import decode
from birefcli.images.decode import decode_photo, simplejpeg

LIMIT = 1_000_000
NOISE = np.random.default_rng(1).integers(0, 256, (96, 96, 3), np.uint8)


def jpeg(**options) -> bytes:
    out = io.BytesIO()
    Image.fromarray(NOISE).save(out, "JPEG", quality=90, **options)
    return out.getvalue()


def damaged(data: bytes, kind: str) -> bytes:
    half = len(data) // 2
    return {
        "half, and an end": data[:half] + b"\xff\xd9",
        "half, zeros, and an end": data[:half] + bytes(len(data) - half - 2) + b"\xff\xd9",
        "a block is missing": data[: half - 500] + data[half + 500 :],
    }[kind]


@pytest.mark.skipif(simplejpeg is None, reason="takes the extra fast")
@pytest.mark.parametrize(
    "kind", ["half, and an end", "half, zeros, and an end", "a block is missing"]
)
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}])
def test_a_jpeg_that_lacks_pixels_is_noted(kind, options):
    whole = jpeg(**options)
    assert decode_photo(whole, LIMIT).notes == ()
    photo = decode_photo(damaged(whole, kind), LIMIT)
    (note,) = photo.notes
    assert photo.notable
    assert note.startswith("damaged: some of its pixels may be wrong (")


def png(rows: int, colour: int, depth: int = 8, interlaced: int = 0) -> bytes:
    """96×96 pixels, of which ``rows`` are there."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = NOISE.reshape(-1).tobytes()[: 96 * channels * depth // 8]
    header = struct.pack(">IIBBBBB", 96, 96, depth, colour, 0, 0, interlaced)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress((b"\0" + row) * rows)), (b"IEND", b"")]
    if colour == 3:
        chunks.insert(1, (b"PLTE", bytes(range(256)) * 3))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


@pytest.mark.parametrize("colour", [0, 2, 3, 4, 6])
@pytest.mark.parametrize("rows", [0, 1, 60, 95])
def test_a_png_that_lacks_rows_fails(colour, rows):
    with pytest.raises(PhotoError, match=r"fewer rows than it says|ends too early"):
        decode_photo(png(rows, colour), LIMIT)


@pytest.mark.parametrize(("colour", "depth"), [(0, 1), (0, 8), (2, 8), (3, 4), (4, 8), (6, 8)])
def test_a_png_with_all_its_rows_is_read(colour, depth):
    assert decode_photo(png(96, colour, depth), LIMIT).shape == (96, 96)


def test_flat_pictures_are_whole():
    for mode in ("1", "L", "P", "RGB", "RGBA", "LA"):
        out = io.BytesIO()
        Image.new(mode, (50, 40)).save(out, "PNG")
        assert decode_photo(out.getvalue(), LIMIT).shape == (40, 50)


@pytest.mark.parametrize(("mode", "ground"), [("L", 255), ("RGB", (9, 9, 9)), ("RGBA", (9,) * 4)])
def test_rows_are_not_counted_where_the_last_is_none_that_pillow_makes(mode, ground, monkeypatch):
    monkeypatch.setattr(decode, "lacks_rows", None)
    out = io.BytesIO()
    Image.new(mode, (50, 40), ground).save(out, "PNG")
    assert decode_photo(out.getvalue(), LIMIT).shape == (40, 50)
