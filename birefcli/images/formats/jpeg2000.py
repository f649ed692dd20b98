"""JPEG 2000: values of any number of bits, of which Pillow cuts what are above 8."""

import struct
from typing import NamedTuple

import cv2
import numpy as np

from birefcli.errors import PhotoError
from birefcli.images.formats.boxes import Box, walk
from birefcli.images.formats.opencv import decode_stored
from birefcli.images.photo import Pixels, row_blocks

_CODESTREAM = b"\xff\x4f\xff\x51"
_BOXES = b"\0\0\0\x0cjP  \r\n\x87\n"
STARTS = (_CODESTREAM, _BOXES)
_SIGNED, _YCC = 128, 18


class Component(NamedTuple):
    """One channel of the file."""

    bits: int
    signed: bool
    step: tuple[int, int]
    """Pixels across and down that share a value."""


def components(data: bytes) -> list[Component]:
    """Channels as the codestream has them; none where there is no codestream."""
    start = _start(data)
    if start is None:
        return []
    (count,) = struct.unpack_from(">H", data, start + 40)
    table = data[start + 42 : start + 42 + 3 * count]
    return [
        Component((bits & 127) + 1, bits >= _SIGNED, (across, down))
        for bits, across, down in zip(table[::3], table[1::3], table[2::3], strict=False)
    ]


def _start(data: bytes) -> int | None:
    """Where the codestream begins."""
    box = None if data.startswith(_CODESTREAM) else _box(data, b"jp2c")
    at = 0 if box is None else box.start
    return at if data.startswith(_CODESTREAM, at) and at <= len(data) - 42 else None


def _box(data: bytes, *names: bytes) -> Box | None:
    """The first box of a name, of those in the first of another name where there are several."""
    found: Box | None = Box(b"", 0, len(data))
    try:
        for name in names:
            inner = walk(data, found.start, found.end) if found is not None else ()
            found = next((box for box in inner if box.name == name), None)
    except struct.error:
        return None
    return found


def unread_kind(data: bytes) -> str | None:
    """What a picture is that is not read here, and the next step; None where nothing is odd."""
    count = len(components(data)) if data.startswith(STARTS) else 1
    return f"JPEG 2000 of {count} channels; save it as PNG or TIFF" if count > 4 else None


def is_deep(data: bytes) -> bool:
    """Whether a channel has more than 8 bits."""
    return any(one.bits > 8 for one in components(data))


def to_white(pixels: Pixels, data: bytes) -> Pixels:
    """Pixels of fewer than 8 bits, which Pillow shifts to 8, with the largest as white."""
    bits = {one.bits for one in components(data)}
    if len(bits) != 1 or (few := bits.pop()) >= 8:
        return pixels
    white = (1 << few) - 1
    levels = np.minimum(np.arange(256) >> (8 - few), white)
    return np.asarray(cv2.LUT(pixels, np.rint(levels * 255 / white).astype(np.uint8)))


def read_samples(data: bytes) -> tuple[Pixels, int]:
    """H×W×channels of uint16, red first, and the value of white. Raises PhotoError, OSError."""
    found = components(data)
    bits = found[0].bits
    if any((one.bits, one.step) != (bits, (1, 1)) for one in found) or len(found) not in (1, 3, 4):
        raise PhotoError(
            f"JPEG 2000 of {max(one.bits for one in found)} bits in {len(found)} channels, or in"
            " channels that differ; save it as PNG or TIFF"
        )
    colour = _colour_space(data)
    if bits > 16 or colour == 12:
        kind = "CMYK" if colour == 12 else "this kind"
        raise PhotoError(f"{bits}-bit JPEG 2000 of {kind}; save it as PNG or TIFF")
    stored = decode_stored(_plain(data, found))
    if stored.shape[2] != len(found):
        raise OSError("its 16-bit pixels cannot be decoded")
    if colour == _YCC and len(found) >= 3:
        _to_rgb(stored, bits)
    return stored, (1 << bits) - 1


def _colour_space(data: bytes) -> int:
    """Number of the colour space that is named in the header; 0 where none is."""
    box = _box(data, b"jp2h", b"colr")
    body = b"" if box is None else data[box.start : box.start + 7]
    return int.from_bytes(body[3:], "big") if body.startswith(b"\1") else 0


def _plain(data: bytes, found: list[Component]) -> bytes:
    """The same values as OpenCV reads them: without a sign, and said to be RGB.

    A codestream without signs adds half of the range to each value, which is what signed ones are
    shown with; and of YCbCr OpenCV takes other weights than the standard's.
    """
    out = bytearray(data)
    start = _start(data) or 0
    for channel in range(len(found)):
        out[start + 42 + 3 * channel] &= 127
    header, colour = _box(data, b"jp2h", b"ihdr"), _box(data, b"jp2h", b"colr")
    if header is not None and out[header.start + 10] != 255:  # which says: see each channel's own
        out[header.start + 10] &= 127
    if colour is not None and _colour_space(data) == _YCC:
        out[colour.start + 3 : colour.start + 7] = (16).to_bytes(4, "big")
    return bytes(out)


def _to_rgb(stored: Pixels, bits: int) -> None:
    """YCbCr to RGB in place, which has all of its ``bits``."""
    shift = 16 - bits
    for rows in row_blocks(len(stored)):
        # OpenCV takes Cr before Cb, and the middle of all 16 bits as no colour.
        part = np.ascontiguousarray(stored[rows][:, :, [0, 2, 1]]) << shift
        stored[rows, :, :3] = (
            np.asarray(cv2.cvtColor(part, cv2.COLOR_YCrCb2RGB), np.uint16) >> shift
        )
