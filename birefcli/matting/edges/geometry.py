"""Where and how finely edges are found: the grid that they are solved on, and its parts.

The grid has squares of a whole number of the photo's pixels, about as many as the network's input
has, so that parts of it and of the photo meet on whole pixels.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from birefcli.matting.foreground.reference import tiles
from birefcli.options import Edges

AUTO_RATIO = 1.5
"""Pixels of a photo by those of the network's input from which edges are worth their time."""
TILE = 512
"""Rows and columns of the grid that are solved at once."""
FAINT = 0.5 / 255
"""Alpha nearer to 0 or 1 than this, over a square of the grid, is sure."""
REACH = 4
"""Squares around soft alpha that may change."""
FADE = 1
"""Squares over which the change fades, at the border of that."""
CONTRAST = 1.25
"""Of the result, around one half. Means over windows leave haze at both sides of an edge."""

Area = tuple[slice, slice]
"""Rows and columns."""


@dataclass(frozen=True)
class Plan:
    """How a photo's alpha is bound to its colours."""

    side: int
    """Pixels of the photo along a side of the grid's squares."""
    radius: int
    """Of windows, in squares; they are 2·radius+1 wide."""
    steps: int
    """Of the closed-form solution; none: the guided filter alone."""

    @property
    def halo(self) -> int:
        """Squares around a part that it hangs on, with one for the enlargement."""
        return 2 * self.radius * (self.steps + 1) + 1


def plan(edges: Edges, photo: tuple[int, ...], network: tuple[int, ...]) -> Plan | None:
    """What to do for a photo's (height, width) and those of the network's alpha; None: nothing."""
    ratio = math.prod(photo) / math.prod(network)
    if edges is Edges.NONE or ratio <= (AUTO_RATIO if edges is Edges.AUTO else 1):
        return None
    side = max(1, min(round(math.sqrt(ratio)), *photo))
    if edges is Edges.GUIDED:
        return Plan(side, radius=5, steps=0)
    return Plan(side, radius=3, steps=3)


def parts(wanted: NDArray[np.bool_], area: Area, side: int) -> Iterator[Area]:
    """Tiles of ``side``² within an area of a grid, as :func:`tiles` has them of all of it."""
    rows, columns = area
    for y, x in tiles(wanted[area], side):
        yield (
            slice(y.start + rows.start, y.stop + rows.start),
            slice(x.start + columns.start, x.stop + columns.start),
        )


def wider(area: Area, halo: int, shape: tuple[int, ...]) -> Area:
    """An area grown by ``halo`` within a grid."""
    rows, columns = (
        slice(max(0, part.start - halo), min(length, part.stop + halo))
        for part, length in zip(area, shape, strict=True)
    )
    return rows, columns


def within(area: Area, outer: Area) -> Area:
    """Where an area lies in one around it."""
    rows, columns = (
        slice(part.start - around.start, part.stop - around.start)
        for part, around in zip(area, outer, strict=True)
    )
    return rows, columns


def pixels_of(area: Area, side: int, grid: tuple[int, ...], photo: tuple[int, ...]) -> Area:
    """The photo's rows and columns of an area of the grid; the last squares take what is left."""
    rows, columns = (
        slice(part.start * side, length if part.stop == squares else part.stop * side)
        for part, squares, length in zip(area, grid, photo, strict=True)
    )
    return rows, columns


def inside(length: int, radius: int) -> list[float]:
    """How much of the window around each of ``length`` pixels lies among them."""
    return [
        (min(at + radius + 1, length) - max(at - radius, 0)) / (2 * radius + 1)
        for at in range(length)
    ]
