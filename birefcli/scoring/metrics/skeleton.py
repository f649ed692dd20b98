"""Thinning of shapes to lines one pixel wide, looking only at what has just changed."""

import cv2
import numpy as np
from numpy.typing import NDArray

# Neighbours of a pixel as bits 0..7, clockwise from the upper left.
NW, N, NE, E, SE, S, SW, W = (1 << bit for bit in range(8))

# T. Y. Zhang and C. Y. Suen, "A fast parallel algorithm for thinning digital patterns", CACM
# 27(3), 1984, with the patterns in which scikit-image's skeletonize decides otherwise: HCE is
# defined by that.
# 1: removed in the first pass, 2: in the second, 3: in both.
DIFFERENT = {
    0: (SE | S, NW | W),
    1: (NW | N, N | NE, NW | N | E, NE | E, N | NE | E, NW | N | W, N | NE | W, NW | S | W,
        N | SW | W, N | NE | SW | W),
    2: (E | SE, N | E | SE, E | SE | S, S | SW, E | S | SW, NE | E | S | SW, SE | S | W, SW | W,
        S | SW | W),
    3: (N | E, E | S, N | W, S | W),
}  # fmt: skip


def _removal(code: int) -> int:
    """In which passes Zhang and Suen remove a pixel with these neighbours."""
    ring = [bool(code & bit) for bit in (N, NE, E, SE, S, SW, W, NW)]
    starts = sum(b and not a for a, b in zip(ring, ring[1:] + ring[:1], strict=True))
    if not 2 <= sum(ring) <= 6 or starts != 1:
        return 0
    north, east, south, west = (bool(code & bit) for bit in (N, E, S, W))
    first = not (north and east and south) and not (east and south and west)
    second = not (north and east and west) and not (north and south and west)
    return first + 2 * second


def _table() -> NDArray[np.uint8]:
    table = np.array([_removal(code) for code in range(256)], np.uint8)
    for passes, codes in DIFFERENT.items():
        table[list(codes)] = passes
    return table


TABLE = _table()


def skeletonize(shape: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Thin a shape, H×W bool, to its skeleton: equal to scikit-image's, pixel by pixel.

    A pixel is looked at again only when a neighbour has gone since the same pass last saw it, so
    that the work grows with the shape's area, and not with the picture's times its thickness.
    """
    picture = np.pad(shape.astype(np.uint8), 1)
    width = picture.shape[1]
    around = np.array([-width - 1, -width, 1 - width, 1, width + 1, width, width - 1, -1])
    inner = cv2.erode(picture, np.ones((3, 3), np.uint8)) > 0
    flat = picture.ravel()
    order = np.zeros(flat.size, np.int32)
    edge = np.flatnonzero((picture > 0) & ~inner)
    touched = [edge, edge]  # by the last pass and the one before
    step = 0
    while touched[0].size or touched[1].size:
        looked = _once(np.concatenate(touched), order)
        looked = looked[flat[looked] > 0]
        codes = np.zeros(looked.size, np.uint8)
        for bit, way in enumerate(around):
            codes |= flat[looked + way] << np.uint8(bit)
        gone = looked[(TABLE[codes] & (1 + step % 2)) > 0]
        flat[gone] = 0
        near = (gone[:, None] + around).ravel()
        touched = [_once(near[flat[near] > 0], order), touched[0] if step else edge]
        step += 1
    return picture[1:-1, 1:-1].astype(bool)


def _once(places: NDArray[np.intp], order: NDArray[np.int32]) -> NDArray[np.intp]:
    """Each place once; ``order`` is scratch room of the picture's size."""
    numbers = np.arange(places.size, dtype=np.int32)
    order[places] = numbers
    once: NDArray[np.intp] = places[order[places] == numbers]
    return once
