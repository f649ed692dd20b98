"""Edges at the photo's size on a CPU: OpenCV's running sums, and nothing of that size in float."""

from collections.abc import Callable
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.images.photo import Pixels
from birefcli.matting.edges import geometry
from birefcli.matting.edges.geometry import Area, Plan, wider, within
from birefcli.matting.edges.laplacian import ColourWindows, Lines, closed_form
from birefcli.matting.foreground.reference import shrunk, tiles

Plane = NDArray[np.float32]
Alpha = NDArray[np.uint16]
"""Levels H×W, 0..65535."""
_Number = TypeVar("_Number", np.uint8, np.float32)
CACHED = 256  # rows and columns of the photo whose planes stay in the cache


def refine(pixels: Pixels, alpha: Alpha, plan: Plan) -> None:
    """Bind soft alpha to the photo's colours, in place.

    ``pixels``: H×W×3 of uint8 or uint16. What is sure, and further than ``REACH`` squares of the
    grid from what is not, stays.
    """
    side = plan.side
    colours, low = shrunk(pixels, side), shrunk(alpha, side)
    wanted = _wanted(low)
    where = wanted.view(np.bool_)
    for area in tiles(where, geometry.TILE):
        outer, around = (wider(area, halo, low.shape) for halo in (plan.halo, 1))
        lines = _lines(colours[outer], low[outer], wanted[outer], plan)
        planes = [plane[within(around, outer)] for plane in (*lines.slopes, lines.level)]
        for part in geometry.parts(where, area, max(1, CACHED // side)):
            near = wider(part, 1, low.shape)
            some = [plane[within(near, around)] for plane in planes]
            here = geometry.pixels_of(part, side, low.shape, alpha.shape)
            shape = alpha[here].shape
            inner = within(part, near)
            found = _alpha(pixels[here], [_enlarged(p, side, inner, shape) for p in some])
            cv2.copyTo(found, _repeated(wanted[part], side, shape), alpha[here])


def _wanted(low: Alpha) -> NDArray[np.uint8]:
    """Squares of the grid that may change: 0 or 1."""
    faint = round(geometry.FAINT * 65535)
    soft = cv2.inRange(low, faint + 1, 65534 - faint)
    near = cv2.dilate(soft, np.ones((2 * geometry.REACH + 1,) * 2, np.uint8))
    return np.minimum(np.asarray(near, np.uint8), 1)


def _lines(colours: Pixels, alpha: Alpha, wanted: NDArray[np.uint8], plan: Plan) -> Lines:
    """Alpha of a part of the grid, 0..65535, as lines of the photo's levels."""
    planes = [_unit(plane) - np.float32(0.5) for plane in cv2.split(colours)]
    known = _unit(alpha)
    windows = ColourWindows(planes, _inside(alpha.shape, plan.radius), _box(plan.radius))
    found = closed_form(windows, known, plan.steps) if plan.steps else known
    lines = windows.averaged(windows.lines(found)).faded(known, _share(wanted))
    return lines.of_levels(np.iinfo(colours.dtype).max, geometry.CONTRAST)


def _share(wanted: NDArray[np.uint8]) -> Plane:
    """How much of the change each square takes, 0..1: none at the border of the wanted ones."""
    sides = (2 * geometry.FADE + 1,) * 2
    kernel = np.ones(sides, np.uint8)
    inner = cv2.erode(wanted, kernel, borderType=cv2.BORDER_REPLICATE)
    blurred = cv2.blur(inner.astype(np.float32), sides, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, np.float32)


def _box(radius: int) -> Callable[[Plane], Plane]:
    sides = (2 * radius + 1,) * 2

    def box(plane: Plane) -> Plane:
        sums = cv2.boxFilter(plane, -1, sides, borderType=cv2.BORDER_CONSTANT)
        return np.asarray(sums, np.float32)

    return box


def _inside(shape: tuple[int, ...], radius: int) -> Plane:
    rows, columns = (np.asarray(geometry.inside(n, radius), np.float32) for n in shape)
    return np.asarray(rows[:, None] * columns)


def _unit(stored: Pixels) -> Plane:
    plane = stored.astype(np.float32)
    plane *= np.float32(1 / np.iinfo(stored.dtype).max)
    return plane


def _enlarged(low: Plane, side: int, part: Area, shape: tuple[int, ...]) -> Plane:
    """The squares ``part`` of ``low`` as H×W pixels, bilinearly; the last go on to the border."""
    if side == 1:
        return np.array(low[part])
    size = (low.shape[1] * side, low.shape[0] * side)
    large = np.asarray(cv2.resize(low, size, interpolation=cv2.INTER_LINEAR), np.float32)
    rows, columns = (
        slice(squares.start * side, squares.start * side + length)
        for squares, length in zip(part, shape, strict=True)
    )
    return _to_shape(large[rows, columns], shape)


def _repeated(wanted: NDArray[np.uint8], side: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Squares as H×W pixels."""
    large = wanted.repeat(side, 0).repeat(side, 1)
    return _to_shape(large, shape)


def _to_shape(plane: NDArray[_Number], shape: tuple[int, ...]) -> NDArray[_Number]:
    """Repeat the last row and column as far as they are missing."""
    missing = [(0, max(0, n - got)) for n, got in zip(shape, plane.shape, strict=True)]
    return np.pad(plane, missing, mode="edge") if any(n for _, n in missing) else plane


def _alpha(pixels: Pixels, lines: list[Plane]) -> Alpha:
    """Alpha of H×W×3 pixels, from slopes and level at their size, which are changed."""
    *slopes, found = lines
    for plane, slope in zip(cv2.split(pixels), slopes, strict=True):
        slope *= plane
        found += slope
    found += np.float32(0.5)
    return np.clip(found, 0, 65535, out=found).astype(np.uint16)
