"""TIFF in all layouts: read rightly, or refused with the cause and the next step."""

import contextlib
import io
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from support import saved, tiff
from tiff_files import grey, page, tiff_file

from birefcli.errors import PhotoError
from birefcli.images.decode import decode_photo
from birefcli.images.formats import libtiff

LIMIT = 1 << 24
WIDTH, HEIGHT = 24, 10
NOISE = np.random.RandomState(0)


def values(channels, bits=16, height=HEIGHT, width=WIDTH):
    return NOISE.randint(0, 1 << bits, (height, width, channels)).astype(np.uint16)


def differences(block):
    """What horizontal prediction stores: each value less that of its left neighbour."""
    return np.diff(block, axis=1, prepend=np.zeros_like(block[:, :1]))


def deep(stored, *, order="<", rows=4, packed=False, predicted=False, planar=False, tile=0, **more):
    """A TIFF of 16 bits in strips of ``rows`` rows, or tiles."""
    height, width, channels = stored.shape
    step = tile or width
    blocks = []
    for plane in range(channels) if planar else (slice(None),):
        for top in range(0, height, tile or rows):
            for left in range(0, width, step):
                block = stored[top : top + (tile or rows), left : left + step]
                block = block[:, :, plane].reshape(*block.shape[:2], -1)
                short = (tile - block.shape[0], tile - block.shape[1]) if tile else (0, 0)
                block = np.pad(block, ((0, short[0]), (0, short[1]), (0, 0)))
                block = differences(block) if predicted else block
                raw = block.astype(f"{order}u2").tobytes()
                blocks.append(zlib.compress(raw) if packed else raw)
    tags = {
        **{256: width, 257: height, 258: (16,) * channels, 259: 8 if packed else 1, 277: channels},
        **{262: 1 if channels < 3 else 2, 284: 2 if planar else 1},
        **({317: 2} if predicted else {}),
        **({322: tile, 323: tile} if tile else {278: rows}),
        **{int(name[1:]): value for name, value in more.items() if not name.startswith("big")},
    }
    return tiff_file(page(tags, blocks, tiles=bool(tile)), order=order, big=more.get("big", False))


LAYOUTS = {
    "plain": {},
    "big-endian": {"order": ">"},
    "deflate": {"packed": True},
    "predicted": {"packed": True, "predicted": True},
    "predicted, big-endian": {"packed": True, "predicted": True, "order": ">"},
    "planes": {"planar": True},
    "planes, predicted": {"planar": True, "packed": True, "predicted": True},
    "tiles": {"tile": 16},
    "tiles, predicted": {"tile": 16, "packed": True, "predicted": True},
    "tiles in planes": {"tile": 16, "planar": True, "packed": True},
    "BigTIFF": {"big": True},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_16_bits_are_read_in_every_layout(channels, layout):
    stored = values(channels)
    colours = 1 if channels < 3 else 3
    extra = {"t338": (2, 0)[: channels - colours]} if channels > colours else {}
    photo = decode_photo(deep(stored, **LAYOUTS[layout], **extra), LIMIT)
    assert np.array_equal(photo.pixels, np.repeat(stored[:, :, :colours], 3 // colours, 2))
    if extra:
        assert np.array_equal(photo.alpha, stored[:, :, colours])
    else:
        assert photo.alpha is None


@pytest.mark.parametrize("kind", [0, 1, 2])
@pytest.mark.parametrize("channels", [2, 4, 5])
def test_what_the_extra_channel_is_decides(channels, kind):
    stored = values(channels)
    stored[0, 0, :] = 40000
    colours = channels // 2 if channels < 5 else 3
    colours = 1 if channels == 2 else 3
    extra = (0, kind) if channels == 5 else (kind,)
    photo = decode_photo(deep(stored, t338=extra), LIMIT)
    alpha = stored[:, :, -1]
    if kind == 0:
        assert photo.alpha is None
        return
    assert np.array_equal(photo.alpha, alpha)
    colour = stored[:, :, :colours].astype(float)
    if kind == 1:
        colour = np.minimum(
            np.floor(colour * 65535 / np.maximum(alpha, 1)[:, :, None] + 0.5), 65535
        )
    assert np.array_equal(photo.pixels, np.broadcast_to(colour, photo.pixels.shape))


@pytest.mark.parametrize("order", ["<", ">"])
def test_negative_of_16_bits_is_read(order):
    stored = values(1)
    photo = decode_photo(deep(stored, order=order, t262=0), LIMIT)
    assert np.array_equal(photo.pixels[:, :, :1], 65535 - stored)


def test_grey_of_12_bits_reaches_white():
    data = tiff_file(page(*grey(4, 1, bits=12, pixels=b"\xff\xff\xff\0\0\0")))
    assert decode_photo(data, LIMIT).pixels[0, :, 0].tolist() == [65535, 65535, 0, 0]


# Orientation: of EXIF, else of XMP

XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="{}"/></x:xmpmeta>'


def seen(stored, orientation):
    return {1: stored, 3: stored[::-1, ::-1], 6: np.rot90(stored, -1), 8: np.rot90(stored)}[
        orientation
    ]


@pytest.mark.parametrize("said", [1, 3, 6, 8])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", ["TIFF", "planes", "PNG", "WEBP", "JPEG"])
def test_orientation_in_xmp_alone_holds_for_every_kind_of_file(kind, bits, said):
    xmp = XMP.format(said).encode()
    if bits == 16 and kind in ("TIFF", "planes", "PNG"):
        stored = values(3)
        if kind == "PNG":
            from support import png

            text = (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
            data = png(16, 2, stored, WIDTH, HEIGHT, before=[text])
        else:
            data = deep(stored, t700=xmp, planar=kind == "planes")
    elif bits == 8 and kind != "planes":
        stored = np.zeros((16, 32, 3), np.uint8)
        stored[:8, :16] = 255
        options = {"lossless": True, "xmp": xmp} if kind == "WEBP" else {"xmp": xmp}
        if kind == "PNG":
            from PIL.PngImagePlugin import PngInfo

            options = {"pnginfo": PngInfo()}
            options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
        if kind == "TIFF":
            options = {"tiffinfo": {700: xmp}}
        data = saved(stored, kind, **options)
    else:
        pytest.skip("no such files")
    pixels = decode_photo(data, LIMIT).pixels.astype(int)
    assert pixels.shape == seen(stored, said).shape
    assert np.abs(pixels - seen(stored, said)).max() <= (8 if kind == "JPEG" else 0)


@pytest.mark.parametrize("layout", ["plain", "planes", "tiles"])
def test_orientation_of_the_tag_goes_before_xmp(layout):
    stored = values(4)
    data = deep(stored, **LAYOUTS[layout], t338=2, t274=6, t700=XMP.format(3).encode())
    photo = decode_photo(data, LIMIT)
    assert np.array_equal(photo.pixels, seen(stored, 6)[:, :, :3])
    assert np.array_equal(photo.alpha, seen(stored, 6)[:, :, 3])


# What is not read


def odd(bits=8, channels=1, size=1, **tags):
    table, _ = grey(8, 8, **{f"t{tag}": value for tag, value in {258: (bits,) * channels}.items()})
    table |= {277: channels, **{int(name[1:]): value for name, value in tags.items()}}
    return tiff_file(page(table, (bytes(64 * channels * max(1, bits // 8) * size),)))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (odd(32, t339=3), "32-bit float TIFF; save 8 or 16 bits"),
        (odd(16, t339=3), "16-bit float TIFF; save 8 or 16 bits"),
        (odd(64, 3, t339=(3, 3, 3), t262=2), "64-bit float TIFF; save 8 or 16 bits"),
        (odd(32), "32-bit TIFF; save 8 or 16 bits"),
        (odd(32, 3, t262=2), "32-bit TIFF; save 8 or 16 bits"),
        (odd(16, t339=2), "16-bit signed TIFF; save 8 or 16 bits"),
        (odd(12, 3, t262=2), "12-bit TIFF; save 8 or 16 bits"),
        (odd(12, 3, t262=6, t259=7), "12-bit TIFF; save 8 or 16 bits"),
        (odd(16, 3, t262=8), "16-bit Lab TIFF; save it as RGB"),
        (odd(8, 3, t262=2, t259=50001), "WebP compression in a TIFF"),
        (odd(16, 3, t262=2, t259=50000), "ZSTD compression in a TIFF of 16 bits"),
        (odd(16, t259=34925), "LZMA compression in a TIFF of 16 bits"),
        (odd(8, 3, t262=2, t259=34712), "JPEG 2000 compression in a TIFF"),
        (odd(8, 3, t262=2, t259=12345), "unknown (12345) compression in a TIFF"),
        (odd(8, 3, t262=32845), "unusual kind of colour"),
        (odd(8, 7, t262=2), "8-bit TIFF of 7 channels; save it as RGB"),
        (odd(16, 7, t262=2), "16-bit TIFF of 7 channels; save it as RGB"),
        (odd(8, 3, t262=1), "8-bit TIFF of 3 channels; save it as RGB"),
        (tiff_file(page(*grey(8, 8)), order=">", big=True), "big-endian BigTIFF; save it as TIFF"),
    ],
)
def test_what_is_not_read_has_its_cause_and_the_next_step(data, told, capfd):
    with pytest.raises(PhotoError) as error:
        decode_photo(data, LIMIT)
    assert told in str(error.value)
    assert "; save" in str(error.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "group4", "raw"]
)
@pytest.mark.parametrize("bits", [8, 16])
def test_strips_beyond_the_end_are_told_by_name_alone(bits, compression, capfd):
    if bits == 16 and compression != "raw":
        data = bytearray(deep(values(3), packed=True))
    else:
        mode = "1" if compression == "group4" else "RGB"
        picture = Image.fromarray(values(3, 8).astype(np.uint8)).convert(mode)
        options = {} if compression == "raw" else {"compression": compression}
        data = bytearray(saved(picture, "TIFF", **options))
    # Where the first strip begins: its entry has the tag 273, and a count.
    at = data.index(b"\x11\x01\x04\0")
    if data[at + 4] == 1:
        data[at + 8 : at + 12] = (len(data) + 1000).to_bytes(4, "little")
    else:
        place = int.from_bytes(data[at + 8 : at + 12], "little")
        data[place : place + 4] = (len(data) + 1000).to_bytes(4, "little")
    with pytest.raises(PhotoError, match="damaged image: the file ends too early"):
        decode_photo(bytes(data), LIMIT)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("compression", "start"),
    [
        *((5, b"\x80\0"), (8, b"\x78\x9c"), (7, b"\xff\xd8"), (6, b"\xff\xd8"), (4, b"")),
        *((34925, b"\xfd7zXZ\0"), (50000, b"(\xb5/\xfd"), (32773, b"\x81")),
    ],
)
@pytest.mark.parametrize("garbage", [bytes(900), bytes(range(256)) * 4])
def test_what_libtiff_prints_of_damaged_pixels_is_kept_back(compression, start, garbage, capfd):
    pixels = bytes(3 * 64)
    data = odd(8, 3, t262=2, t259=compression)
    assert pixels in data
    with contextlib.suppress(PhotoError):
        decode_photo(data.replace(pixels, (start + garbage)[: len(pixels)]), LIMIT)
    assert capfd.readouterr() == ("", "")


def fail_to_load(data):
    with Image.open(io.BytesIO(data)) as image, pytest.raises(OSError, match="decoder error"):
        image.load()


@pytest.mark.skipif(not libtiff._setters(), reason="libtiff is hidden in this Pillow")
def test_handlers_of_libtiff_are_put_back_by_the_last_that_set_them_aside(capfd):
    data = odd(8, 3, t262=2, t259=8)
    with libtiff.quiet():
        with libtiff.quiet():
            fail_to_load(data)
        fail_to_load(data)
    assert capfd.readouterr().err == ""
    fail_to_load(data)
    assert capfd.readouterr().err != ""


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_damaged_16_bits_leave_nothing_on_stderr(channels, capfd):
    data = bytearray(deep(values(channels), packed=True, rows=HEIGHT))
    at = data.index(b"\x78\x9c")
    data[at + 20 : at + 40] = bytes(20)
    data[at : at + 2] = b"\0\0"
    with pytest.raises(PhotoError, match="damaged image"):
        decode_photo(bytes(data), LIMIT)
    assert capfd.readouterr() == ("", "")


def test_opencv_has_its_level_of_messages_back():
    log = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
    before = log.getLogLevel()
    log.setLogLevel(4)
    try:
        decode_photo(tiff(16, 2, 3, values(3), WIDTH, HEIGHT), LIMIT)
        assert log.getLogLevel() == 4
    finally:
        log.setLogLevel(before)
