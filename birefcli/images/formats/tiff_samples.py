"""Values of a TIFF of 16 bits as stored, whatever their layout.

OpenCV reads one, three or four values a pixel that lie side by side. Any other layout is shown to
it as grey: so many values a row, or one plane after the other.
"""

import numpy as np

from birefcli.images.formats.opencv import decode_stored
from birefcli.images.formats.tiff import (
    BITS,
    COMPRESSION,
    EXTRA_SAMPLES,
    FILL_ORDER,
    HEIGHT,
    MOST_PLACES,
    PHOTOMETRIC,
    PLANAR,
    PREDICTOR,
    SAMPLES,
    STRIP_BYTES,
    STRIP_ROWS,
    STRIPS,
    TILE_BYTES,
    TILE_HEIGHT,
    TILE_WIDTH,
    TILES,
    WIDTH,
    Directory,
    with_directory,
)
from birefcli.images.photo import Pixels, row_blocks

_KEPT = (FILL_ORDER, COMPRESSION, STRIP_ROWS, TILE_HEIGHT)
_PLACES = (STRIPS, STRIP_BYTES, TILES, TILE_BYTES)


def read_samples(found: Directory) -> Pixels:
    """H×W×samples of uint16, as stored: neither turned, nor inverted, nor cut to colours.

    Raises OSError for what is damaged.
    """
    if found.number(PLANAR, 1) == 2 and found.samples > 1:
        return _planes(found)
    if found.samples in (1, 3, 4):
        stored = decode_stored(_shown(found, found.samples, 1, found.number(PREDICTOR, 1)))
        return _checked(stored, found.size, found.samples)
    wide = decode_stored(_shown(found, 1, found.samples, 1))
    width, height = found.size
    stored = _checked(wide, (width * found.samples, height), 1).reshape(height, width, -1)
    if found.number(PREDICTOR, 1) == 2:
        _undo_differences(stored, found.number(TILE_WIDTH) or stored.shape[1])
    return stored


def _shown(found: Directory, samples: int, factor: int, predictor: int, plane: int = 0) -> bytes:
    """The file with a first directory of ``samples`` grey or RGB values a pixel.

    Rows have ``factor`` times as many pixels. ``plane``: of those that follow each other, from 0.
    """
    changes: dict[int, tuple[int, ...] | None] = dict.fromkeys(found.entries)
    changes |= {tag: found.numbers(tag) for tag in _KEPT if tag in found.entries}
    planes = found.samples if found.number(PLANAR, 1) == 2 else 1
    for tag in _PLACES:
        if numbers := found.numbers(tag, MOST_PLACES):
            share = len(numbers) // planes
            changes[tag] = numbers[share * plane : share * (plane + 1)]
    if TILE_WIDTH in found.entries:
        changes[TILE_WIDTH] = (found.number(TILE_WIDTH) * factor,)
    changes |= {
        **{WIDTH: (found.size[0] * factor,), HEIGHT: (found.size[1],), BITS: (16,) * samples},
        **{PHOTOMETRIC: (1 if samples == 1 else 2,), SAMPLES: (samples,), PLANAR: (1,)},
        PREDICTOR: (predictor,),
    }
    if samples == 4:
        changes[EXTRA_SAMPLES] = (2,)
    return with_directory(found, changes)


def _planes(found: Directory) -> Pixels:
    out = np.empty((found.size[1], found.size[0], found.samples), np.uint16)
    for plane in range(found.samples):
        one = decode_stored(_shown(found, 1, 1, found.number(PREDICTOR, 1), plane))
        out[:, :, plane] = _checked(one, found.size, 1)[:, :, 0]
    return out


def _checked(stored: Pixels, size: tuple[int, int], channels: int) -> Pixels:
    if stored.shape != (size[1], size[0], channels):
        raise OSError("its 16-bit pixels cannot be decoded")
    return stored


def _undo_differences(stored: Pixels, width: int) -> None:
    """Values from differences to their left neighbours, in place; ``width``: of a tile."""
    for rows in row_blocks(len(stored)):
        for left in range(0, stored.shape[1], width):
            part = stored[rows, left : left + width]
            np.cumsum(part, axis=1, dtype=np.uint16, out=part)
