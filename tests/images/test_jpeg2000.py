"""JPEG 2000 of any number of bits, against the values that were stored."""

import struct

import cv2
import numpy as np
import pytest
from support import saved

from birefcli.errors import PhotoError
from birefcli.images.decode import decode_photo

LIMIT = 1 << 24
HEIGHT, WIDTH = 48, 64
SIGNED = 128


def coded(stored):
    """Lossless JPEG 2000 of uint16, H×W×channels, red first."""
    swapped = stored[:, :, [2, 1, 0, 3][: stored.shape[2]]] if stored.shape[2] > 1 else stored
    lossless = [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000]
    try:
        done, data = cv2.imencode(".jp2", np.ascontiguousarray(swapped), lossless)
    except cv2.error:
        done = False
    if not done:
        pytest.skip("this OpenCV writes no JPEG 2000")
    return bytearray(data)


def jp2(values, bits, signed=False, colours=None):
    """A file that says so many bits; ``values`` of 0 to the largest, whatever sign it says.

    A codestream holds values less half of the range that it says: those of fewer bits are stored
    as 16 bits, moved to where they are then found.
    """
    data = coded((values.astype(np.int64) + 32768 - (1 << (bits - 1))).astype(np.uint16))
    said = bits - 1 | (SIGNED if signed else 0)
    start = data.index(b"\xff\x4f\xff\x51")
    for channel in range(struct.unpack_from(">H", data, start + 40)[0]):
        data[start + 42 + 3 * channel] = said
    data[data.index(b"ihdr") + 14] = said
    if colours is not None:
        at = data.index(b"colr") + 7
        data[at : at + 4] = struct.pack(">I", colours)
    return bytes(data)


def ramp(bits, channels):
    count = HEIGHT * WIDTH * channels
    return (
        np.rint(np.linspace(0, (1 << bits) - 1, count)).astype(int).reshape(HEIGHT, WIDTH, channels)
    )


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("bits", [1, 2, 4, 5, 7, 8, 9, 10, 11, 12, 14, 15, 16])
def test_black_is_black_and_white_is_white_at_any_depth(bits, channels, signed):
    values = ramp(bits, channels)
    photo = decode_photo(jp2(values, bits, signed), LIMIT)
    assert photo.pixels.dtype == (np.uint8 if bits <= 8 else np.uint16)
    white = 255 if bits <= 8 else 65535
    expected = np.floor(values * white / ((1 << bits) - 1) + 0.5)
    assert np.array_equal(photo.pixels, np.broadcast_to(expected[:, :, :3], photo.pixels.shape))
    if channels == 4:
        assert np.array_equal(photo.alpha, expected[:, :, 3])


def test_bare_codestream_is_read():
    values = ramp(12, 3)
    data = jp2(values, 12)
    photo = decode_photo(data[data.index(b"\xff\x4f\xff\x51") :], LIMIT)
    assert np.array_equal(photo.pixels, np.floor(values * 65535 / 4095 + 0.5))


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize(
    "colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 40), (99, 99, 99)]
)
def test_ycc_is_colour_by_the_standard_at_any_depth(bits, colour):
    red, green, blue = colour
    peak = (1 << bits) - 1
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    ycc = [luma, 127.5 + (blue - luma) / 1.772, 127.5 + (red - luma) / 1.402]
    values = np.tile(np.rint(np.clip(np.array(ycc) / 255, 0, 1) * peak), (HEIGHT, WIDTH, 1))
    photo = decode_photo(jp2(values, bits, colours=18), LIMIT)
    found = photo.pixels[5, 5] / np.iinfo(photo.pixels.dtype).max * 255
    assert np.abs(found - colour).max() <= (2 if bits > 8 else 3)


def refusal(data):
    with pytest.raises(PhotoError) as error:
        decode_photo(data, LIMIT)
    return str(error.value)


def test_what_is_not_read_has_its_cause_and_the_next_step(capfd):
    data = bytearray(jp2(ramp(16, 4), 16))
    at = data.index(b"\xff\x4f\xff\x51") + 42
    mixed, halved = bytearray(data), bytearray(data)
    mixed[at + 9] = 7
    halved[at + 4 : at + 6] = b"\2\2"
    assert "channels that differ; save it as PNG or TIFF" in refusal(bytes(mixed))
    assert "channels that differ; save it as PNG or TIFF" in refusal(bytes(halved))
    assert "16-bit JPEG 2000 of CMYK; save it" in refusal(jp2(ramp(16, 4), 16, colours=12))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("bits", [8, 12])
def test_cut_off_file_fails_in_silence(bits, share, capfd):
    data = jp2(ramp(bits, 3), bits)
    assert "damaged image" in refusal(data[: int(len(data) * share)])
    assert capfd.readouterr().err == ""


def test_8_bits_by_pillow_stay_as_they_are():
    stored = np.random.RandomState(0).randint(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    assert np.array_equal(decode_photo(saved(stored, "JPEG2000"), LIMIT).pixels, stored)
