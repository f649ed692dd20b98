"""What a file holds beside the picture that is read: frames, pages, gain maps; and empty alpha."""

import io
import struct
import time

import numpy as np
import pytest
from PIL import Image, features
from support import saved
from tiff_files import grey, page, tiff_file, tiff_pages

from birefcli.images.decode import decode_photo, decode_pil
from birefcli.images.formats.contents import MOST_FRAMES

LIMIT = 1 << 24
QUICK = 2.0  # seconds; a walk through all of them takes ten to a hundred


def gif_frames(count):
    data = saved(Image.new("P", (4, 4)), "GIF")
    start = data.index(b",\0\0\0\0")
    return data[:start] + data[start:-1] * count + b";"


def animated(format_, count):
    frames = [Image.new("RGB", (4, 4), (n, 255 - n, 7)) for n in range(count)]
    options = {"lossless": True} if format_ == "WEBP" else {}
    return saved(frames[0], format_, save_all=True, append_images=frames[1:], **options)


MAKERS = {
    "TIFF": tiff_pages,
    "GIF": gif_frames,
    "PNG": lambda count: animated("PNG", count),
    "WEBP": lambda count: animated("WEBP", count),
}


@pytest.mark.parametrize("count", [1, 2, 3, MOST_FRAMES, MOST_FRAMES + 1, MOST_FRAMES + 50])
@pytest.mark.parametrize("kind", MAKERS)
def test_frames_are_counted_to_a_number(kind, count):
    many = "more than 100" if count > 100 else str(count)
    expected = (f"first of {many} frames or pages",) if count > 1 else ()
    data = MAKERS[kind](count)
    assert decode_photo(data, LIMIT).notes == expected
    with Image.open(io.BytesIO(data)) as image:
        assert decode_pil(image).notes == expected


@pytest.mark.parametrize(
    "data",
    [
        tiff_pages(60_000),
        gif_frames(200_000),
        gif_frames(1)[:-1] + b"!\xfe" + b"\1a" * 3_000_000 + b"\0;",  # a comment in small pieces
        gif_frames(1)[:-1] + bytes(3_000_000) + b";",
    ],
    ids=["pages", "frames", "comment", "zeros"],
)
def test_no_number_of_frames_takes_long(data):
    start = time.perf_counter()
    decode_photo(data, LIMIT)
    assert time.perf_counter() - start < QUICK


def test_pages_in_a_circle_are_counted_once():
    assert decode_photo(tiff_pages(5, first_again=True), LIMIT).notes == (
        "first of 5 frames or pages",
    )


@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
def test_pages_of_every_kind_of_tiff_are_counted(order, big):
    data = tiff_file(*[page(*grey(4, 4))] * 3, order=order, big=big)
    photo = decode_photo(data, LIMIT)
    assert (photo.notes, photo.notable) == (("first of 3 frames or pages",), True)
    assert not decode_photo(tiff_file(page(*grey(4, 4)), order=order, big=big), LIMIT).notable


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_chain_of_pages_that_breaks_off_is_counted_so_far(cut):
    assert decode_photo(tiff_pages(4)[:-cut], LIMIT).shape == (4, 4)


# Gain maps


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def with_second(first, second, *segments):
    """A JPEG that lists another, as phones write it."""
    out = io.BytesIO()
    first.save(out, "MPO", save_all=True, append_images=[second])
    data = out.getvalue()
    return data[:2] + b"".join(segments) + data[2:] if segments else data


XMP = b"http://ns.adobe.com/xap/1.0/\0"
FIRST, SECOND = Image.new("RGB", (32, 16), (9, 99, 199)), Image.new("L", (16, 8), 99)
GOOGLE = segment(
    0xE1, XMP + b'<rdf xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/>'
)
ISO = segment(0xE2, b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0")
APPLE = segment(0xE1, XMP + b"<x>urn:com:apple:photo:2020:aux:hdrgainmap</x>")


def of_apple():
    """The second picture says what it is."""
    data = with_second(FIRST, SECOND)
    at = data.rindex(b"\xff\xd8")
    return data[: at + 2] + APPLE + data[at + 2 :]


@pytest.mark.parametrize(
    "data",
    [with_second(FIRST, SECOND, GOOGLE), with_second(FIRST, SECOND, ISO), of_apple()],
    ids=["Ultra HDR", "ISO 21496-1", "Apple"],
)
def test_gain_map_that_is_left_out_is_said(data):
    photo = decode_photo(data, LIMIT)
    assert photo.notes == ("HDR gain map left out",)
    assert photo.shape == (16, 32)


@pytest.mark.parametrize("words", [GOOGLE, ISO, APPLE])
def test_words_of_a_gain_map_without_one_are_none(words):
    data = saved(FIRST, "JPEG")
    assert decode_photo(data[:2] + words + data[2:], LIMIT).notes == ()


def item(kind):
    body = b"\2\0\0\0\0\7\0\0" + kind + b"\0"
    return struct.pack(">I", len(body) + 8) + b"infe" + body


@pytest.mark.parametrize(
    "words", [item(b"tmap"), b"auxC\0\0\0\0urn:com:apple:photo:2020:aux:hdrgainmap\0"]
)
def test_gain_map_of_avif_is_said(words):
    if not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    data = saved(FIRST, "AVIF")
    kind, size = data.index(b"ftyp"), struct.unpack(">I", data[:4])[0]
    assert kind == 4
    box = struct.pack(">I", len(words) + 8) + b"free" + words
    # After all else, where no offset of the file changes.
    assert decode_photo(data, LIMIT).notes == ()
    assert decode_photo(data + box, LIMIT).notes == ("HDR gain map left out",)
    assert size < len(data)


# A fourth byte that says nothing


def bmp(alpha):
    """A BMP of 32 bits whose header names its alpha."""
    height, width = alpha.shape
    pixels = np.dstack([np.full((height, width, 3), (30, 20, 10)), alpha]).astype(np.uint8)
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, pixels.size, 0, 0, 0, 0)
    header += masks + b"BGRs" + bytes(48)
    start = struct.pack("<2sIHHI", b"BM", 14 + 108 + pixels.size, 0, 0, 14 + 108)
    return start + header + pixels[::-1].tobytes()


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (300, 2)])
def test_bmp_whose_alpha_is_nowhere_is_opaque(shape):
    photo = decode_photo(bmp(np.zeros(shape)), LIMIT)
    assert photo.alpha is None
    assert photo.pixels[0, 0].tolist() == [10, 20, 30]


def test_bmp_with_any_alpha_keeps_it():
    alpha = np.zeros((3, 5))
    alpha[1, 2] = 1
    assert np.array_equal(decode_photo(bmp(alpha), LIMIT).alpha, alpha)


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "TIFF"])
def test_other_files_may_be_clear_throughout(format_):
    clear = Image.new("RGBA", (5, 3), (10, 20, 30, 0))
    assert not decode_photo(saved(clear, format_), LIMIT).alpha.any()
