"""Values of a PNG of 16 bits, through OpenCV, to which no more is given than it reads in silence.

Its libpng writes about anything it finds odd to stderr, and names no photo. So the pixels alone are
given to it, unpacked and checked before.
"""

import struct
import zlib

import numpy as np

from birefcli.images.formats.opencv import decode_stored
from birefcli.images.formats.png import SIGNATURE, chunks, packed
from birefcli.images.photo import Pixels

_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
_PASSES = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
"""Of an interlaced picture: first column and row, and steps across and down."""


def read_samples(data: bytes) -> tuple[Pixels, tuple[int, ...] | None]:
    """H×W×channels of uint16, red first, and the one colour that is transparent.

    Raises OSError for what is damaged.
    """
    header, key, stream = b"", None, []
    for chunk in chunks(data):
        if chunk.name == b"IHDR":
            header = chunk.body
        elif chunk.name == b"IDAT":
            stream.append(chunk.body)
        elif chunk.name == b"tRNS":
            key = struct.unpack(f">{chunk.length // 2}H", chunk.body[: chunk.length // 2 * 2])
    channels = _CHANNELS[header[9]]
    stored = decode_stored(_plain(header, b"".join(stream)))
    if channels == 2:  # OpenCV makes colour of it
        stored = stored[:, :, ::3]
    return stored, key if key is not None and len(key) == channels else None


def _plain(header: bytes, stream: bytes) -> bytes:
    """A PNG of a header and sound pixels, not packed."""
    width, height, _, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header[:13])
    sizes = _pass_sizes(width, height) if interlaced else [(width, height)]
    lines = [(1 + 2 * _CHANNELS[colour] * across, down) for across, down in sizes]
    rows = _unpacked(stream, sum(line * down for line, down in lines))
    at = 0
    for line, down in lines:
        if down and np.frombuffer(rows, np.uint8, line * down, at)[::line].max() > 4:
            raise OSError("a row is packed in an unknown way")
        at += line * down
    pixels = zlib.compress(rows, 0)
    del rows
    return b"".join(
        (SIGNATURE, packed(b"IHDR", header), packed(b"IDAT", pixels), packed(b"IEND", b""))
    )


def _pass_sizes(width: int, height: int) -> list[tuple[int, int]]:
    sizes = [(-(-(width - x) // right), -(-(height - y) // down)) for x, y, right, down in _PASSES]
    return [(across, down) for across, down in sizes if across > 0 and down > 0]


def _unpacked(stream: bytes, length: int) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        rows = unpacker.decompress(stream, length)
        if not unpacker.eof:  # a wrong checksum shows at the end
            unpacker.decompress(unpacker.unconsumed_tail, 1)
    except zlib.error as error:
        raise OSError("broken data stream when reading image file") from error
    if len(rows) < length:
        raise OSError("image file is truncated")
    return rows
