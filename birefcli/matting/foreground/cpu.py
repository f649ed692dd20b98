"""The subject's own colour, as :mod:`.reference` finds it, quicker on a CPU.

The same method and the same geometry, with OpenCV's running sums and NumPy in place of torch: the
planes of a tile stay in the cache, and nothing of the photo's size is held in floating point. Tiles
are shared among the cores. Each share has its planes in memory that is taken once: to get a plane
from the system takes ten times as long as to multiply two.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.images.photo import Pixels, row_blocks
from birefcli.matting.foreground.reference import (
    AROUND,
    EPSILON,
    FAINT,
    Shrinking,
    shrinking,
    shrunk,
    tiles,
)
from birefcli.system import cpu

TILE = 128  # rows and columns of a tile, in pixels of the second pass
SHARE = 12  # tiles that a core does before it takes the next
STRIP = 1 << 16  # pixels that the first pass sums up at once
Plane = NDArray[np.float32]
"""One channel of pixels, h×w: alpha in 0..1, colours in levels of the photo's dtype."""
Planes = NDArray[np.float32]
"""Several of one size: n×h×w, or with more dimensions."""
Area = tuple[slice, slice]
"""Rows and columns."""


class _Level(NamedTuple):
    """A photo at some size: H×W×3 of uint8 or uint16, and its alpha, H×W of 0..65535."""

    pixels: Pixels
    alpha: NDArray[np.uint16]


def estimate_pixels(
    pixels: Pixels, alpha: NDArray[np.uint16], *, everywhere: bool = False
) -> Pixels:
    """Foreground colour of a photo of any size, in its own depth.

    ``pixels``: H×W×3 of uint8 or uint16; ``alpha``: H×W, 0..65535. Returns H×W×3 of the same
    dtype: estimated where alpha is soft and just around it, or with ``everywhere`` wherever it is
    below 1; the photo's pixels elsewhere.
    """
    out: Pixels = pixels.copy()
    wanted = _wanted(alpha, everywhere)
    how = shrinking(*alpha.shape)
    areas = tiles(wanted.view(np.bool_), TILE * how.times)
    if areas:
        small = _Level(shrunk(pixels, how.times), shrunk(alpha, how.times))
        far = _first_pass(small, how)

        def work(share: list[Area]) -> None:
            estimate = _TileEstimate(_Level(pixels, alpha), small, far, how)
            for area in share:
                cv2.copyTo(estimate(area), wanted[area], out[area])

        cpu.parallel_map(work, [areas[i : i + SHARE] for i in range(0, len(areas), SHARE)])
    return out


def _wanted(alpha: NDArray[np.uint16], everywhere: bool) -> NDArray[np.uint8]:
    """Pixels to estimate, H×W of 0 or 1."""
    out = np.empty(alpha.shape, np.uint8)
    faint, box = int(FAINT * 65535), np.ones((2 * AROUND + 1, 2 * AROUND + 1), np.uint8)
    height, width = alpha.shape
    for rows in row_blocks(height):
        np.less(alpha[rows], 65535, out=out[rows].view(np.bool_))
        if not everywhere:
            outer, inner = _with_halo((rows, slice(0, width)), AROUND, alpha.shape)
            soft = cv2.inRange(alpha[outer], faint + 1, 65534 - faint)
            out[rows] &= np.asarray(cv2.dilate(soft, box), np.uint8)[inner]
    return out


# First pass


def _first_pass(level: _Level, how: Shrinking) -> Planes:
    """F̄ and B̄ of each channel, of squares of the shrunk photo: 3×2×h×w."""
    height, width = (max(1, length // how.square) for length in level.alpha.shape)
    sums = np.empty((7, height, width), np.float32)
    rows = max(1, STRIP // (width * how.square**2))
    strips = [slice(top, min(height, top + rows)) for top in range(0, height, rows)]
    cpu.parallel_map(partial(_sum_up, level, how.square, sums), strips)
    weight, image, near = sums[0], sums[1:4], sums[4:]
    inside = _inside(weight.shape, how.wide)
    few = EPSILON * inside
    covered = _box(weight, how.wide)
    front, back = np.reciprocal(covered + few), np.reciprocal(inside - covered + few)
    found = np.empty((3, 2, height, width), np.float32)
    for means, plane, mixed in zip(found, image, near, strict=True):
        fallback = few * plane
        means[0] = (_box(mixed, how.wide) + fallback) * front
        means[1] = (_box(plane - mixed, how.wide) + fallback) * back
    return found


def _sum_up(level: _Level, square: int, sums: Planes, rows: slice) -> None:
    """Means of squares for these rows of ``sums``: of α, of each channel I, and of each α·I."""
    strip = slice(rows.start * square, rows.stop * square)
    alpha = level.alpha[strip]
    subject, image, mixed = np.empty((3, *alpha.shape), np.float32)
    np.multiply(alpha, np.float32(1 / 65535), out=subject)
    sums[0, rows] = shrunk(subject, square)
    for channel, stored in enumerate(cv2.split(level.pixels[strip]), 1):
        np.copyto(image, stored)
        np.multiply(image, subject, out=mixed)
        sums[channel, rows] = shrunk(image, square)
        sums[channel + 3, rows] = shrunk(mixed, square)


# Second pass


class _Memory:
    """Room for planes of one tile after the other."""

    def __init__(self) -> None:
        self._blocks: dict[str, Plane] = {}

    def plane(self, name: str, shape: tuple[int, ...]) -> Plane:
        """A plane of this shape, of any values; it stands until the next of this name."""
        height, width = shape
        block = self._blocks.get(name)
        if block is None or block.size < height * width:
            block = self._blocks[name] = np.empty(height * width, np.float32)
        return block[: height * width].reshape(height, width)


class _Mixture:
    """What a tile's alpha α makes of colours.

    F̄ + α·(I − α·F̄ − (1−α)·B̄), the foreground that explains the photo, is written as
    (1−α²)·F̄ + (α·I − α·(1−α)·B̄): the second part does not hang on F̄.
    """

    def __init__(self, alpha: NDArray[np.uint16], memory: _Memory) -> None:
        self._memory = memory
        self.subject, self.own, self._both = (
            memory.plane(name, alpha.shape) for name in ("subject", "own", "both")
        )
        np.multiply(alpha, np.float32(1 / 65535), out=self.subject)
        np.multiply(self.subject, self.subject, out=self.own)
        np.subtract(self.subject, self.own, out=self._both)
        np.subtract(1, self.own, out=self.own)

    def rest(self, stored: Pixels, ground: Plane) -> Plane:
        """α·I − α·(1−α)·B̄ of a channel ``stored``; ``ground``, its B̄, is overwritten."""
        rest = self._memory.plane("rest", stored.shape)
        np.copyto(rest, stored)
        rest *= self.subject
        ground *= self._both
        rest -= ground
        return rest


class _Found(NamedTuple):
    """One channel of a part of the shrunk photo."""

    smooth: Plane
    """F̄ of the second pass."""
    own: Plane
    rest: Plane
    """Of :class:`_Mixture`."""


class _SecondPass:
    """F̄ of the narrow blur, of part after part of the shrunk photo.

    B̄ stays that of the wide one: it is so smooth that a narrow blur leaves it as it is.
    """

    def __init__(self, level: _Level, far: Planes, how: Shrinking) -> None:
        """``far``: of :func:`_first_pass`."""
        self._level, self._far, self._how = level, far, how
        self._memory = _Memory()

    def __call__(self, area: Area) -> Iterator[_Found]:
        """Each channel, in memory that stands until the next."""
        how, memory = self._how, self._memory
        outer, inner = _with_halo(area, how.narrow, self._level.alpha.shape)
        mixture = _Mixture(self._level.alpha[outer], memory)
        few, front = self._weights(mixture.subject, inner)
        peak = int(np.iinfo(self._level.pixels.dtype).max)
        shape = mixture.subject.shape
        mixed, sums = memory.plane("mixed", shape), memory.plane("sums", shape)
        for far, stored in zip(self._far, cv2.split(self._level.pixels[outer]), strict=True):
            near = _enlarged(far[0], how.square, outer, memory, "near")
            ground = _enlarged(far[1], how.square, outer, memory, "ground")
            rest = mixture.rest(stored, ground)
            near *= mixture.own
            near += rest
            np.clip(near, 0, peak, out=near)
            np.multiply(near, mixture.subject, out=mixed)
            smooth = _box(mixed, how.narrow, sums)[inner]
            fallback = near[inner]
            fallback *= few
            smooth += fallback
            smooth *= front
            yield _Found(smooth, mixture.own[inner], rest[inner])

    def _weights(self, subject: Plane, inner: Area) -> tuple[Plane, Plane]:
        """ε by the share of a box that lies in the photo, and what sums over boxes are times."""
        radius, memory = self._how.narrow, self._memory
        few = memory.plane("few", subject.shape)[inner]
        few[:] = EPSILON
        if not _is_far_from_borders(inner, subject.shape, radius):
            few *= _inside(subject.shape, radius)[inner]
        front = _box(subject, radius, memory.plane("front", subject.shape))[inner]
        front += few
        return few, np.reciprocal(front, out=front)


class _TileEstimate:
    """Colours of tile after tile of a photo, from the first pass's means."""

    def __init__(self, photo: _Level, small: _Level, far: Planes, how: Shrinking) -> None:
        """``small``: the photo shrunk; ``far``: of :func:`_first_pass`."""
        self._photo, self._far, self._how = photo, far, how
        self._size = small.alpha.shape
        self._second_pass = _SecondPass(small, far, how)
        self._memory = _Memory()

    def __call__(self, area: Area) -> Pixels:
        """Colours of an area of the photo, h×w×3."""
        whole = self._how.times == 1
        colours = self._same_size(area) if whole else self._enlarged(area)
        # It rounds, and cuts off what is beyond the dtype.
        kind = cv2.CV_8U if self._photo.pixels.dtype == np.uint8 else cv2.CV_16U
        return np.asarray(cv2.merge([cv2.add(*parts, dtype=kind) for parts in colours]))

    def _same_size(self, area: Area) -> Iterator[tuple[Plane, Plane]]:
        """Each channel, as a sum of two planes."""
        for smooth, own, rest in self._second_pass(area):
            smooth *= own
            yield smooth, rest

    def _enlarged(self, area: Area) -> Iterator[tuple[Plane, Plane]]:
        """Each channel, of which the second pass finds F̄ at the size of the shrunk photo."""
        how, memory = self._how, self._memory
        low = _low_area(area, how.times, self._size)
        here = _moved(area, [part.start * how.times for part in low])
        mixture = _Mixture(self._photo.alpha[area], memory)
        channels = cv2.split(self._photo.pixels[area])
        found = self._second_pass(low)
        for far, stored, (near, _, _) in zip(self._far, channels, found, strict=True):
            smooth = _enlarged(near, how.times, here, memory, "smooth")
            ground = _enlarged(far[1], how.coarse, area, memory, "ground")
            smooth *= mixture.own
            yield smooth, mixture.rest(stored, ground)


def _box(plane: Plane, radius: int, out: Plane | None = None) -> Plane:
    """Sums over boxes, by the pixels of a whole box: outside of the plane there is nothing."""
    sides = (2 * radius + 1,) * 2
    out = np.empty_like(plane) if out is None else out
    cv2.boxFilter(plane, -1, sides, out, borderType=cv2.BORDER_CONSTANT)
    return out


# Geometry


def _with_halo(area: Area, halo: int, size: tuple[int, ...]) -> tuple[Area, Area]:
    """An area grown by a halo within the photo, and where the area lies in that."""
    outer = [
        slice(max(0, part.start - halo), min(length, part.stop + halo))
        for part, length in zip(area, size, strict=True)
    ]
    return (outer[0], outer[1]), _moved(area, [grown.start for grown in outer])


def _moved(area: Area, start: Sequence[int]) -> Area:
    """An area as it is seen from another place."""
    rows, columns = (
        slice(part.start - first, part.stop - first)
        for part, first in zip(area, start, strict=True)
    )
    return rows, columns


def _is_far_from_borders(area: Area, size: tuple[int, ...], radius: int) -> bool:
    """Whether boxes around the area's pixels lie within the plane."""
    return all(
        part.start >= radius and part.stop + radius <= length
        for part, length in zip(area, size, strict=True)
    )


def _inside(size: tuple[int, ...], radius: int) -> Plane:
    """How much of its box lies inside of the plane, for each pixel."""
    shares = []
    for length in size:
        at = np.arange(length)
        box = np.minimum(at + radius + 1, length) - np.maximum(at - radius, 0)
        shares.append(box.astype(np.float32) / np.float32(2 * radius + 1))
    return np.outer(*shares)


def _low_area(area: Area, times: int, size: tuple[int, ...]) -> Area:
    """The area of a plane of ``size`` of which ``area`` is made when it is enlarged."""
    if times == 1:
        return area
    rows, columns = (
        slice(
            min(max(0, part.start // times - 1), length - 1),
            min(length, (part.stop - 1) // times + 2),
        )
        for part, length in zip(area, size, strict=True)
    )
    return rows, columns


def _enlarged(low: Plane, times: int, area: Area, memory: _Memory, name: str) -> Plane:
    """An area of ``low`` enlarged bilinearly; beyond its border, the border.

    The result may be written to; it stands until the next of this ``name``.
    """
    part = _low_area(area, times, low.shape)
    height, width = (length * times for length in low[part].shape)
    large = memory.plane(name, (height, width))
    if times == 1:
        np.copyto(large, low[part])
        return large
    cv2.resize(low[part], (width, height), large, interpolation=cv2.INTER_LINEAR)
    return _cut(large, _moved(area, [low.start * times for low in part]))


def _cut(large: Plane, area: Area) -> Plane:
    """An area of a plane, which may end a few pixels before it."""
    missing = [
        (0, max(0, part.stop - length)) for part, length in zip(area, large.shape, strict=True)
    ]
    if any(after for _, after in missing):
        large = np.pad(large, missing, mode="edge")
    return large[area]
