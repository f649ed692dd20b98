"""The subject's own colour, as :mod:`.reference` finds it, quicker on a CPU.

The same method and the same geometry, with OpenCV's running sums and NumPy in place of torch: the
planes of a tile stay in the cache, and nothing of the photo's size is held in floating point.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.images.photo import Pixels
from birefcli.matting.foreground.reference import AROUND, EPSILON, FAINT, shrinking, shrunk, tiles

TILE = 256  # rows and columns of a tile
Plane = NDArray[np.float32]
"""One channel of pixels, h×w, 0..1."""
Area = tuple[slice, slice]
"""Rows and columns."""
ALL: Area = (slice(None), slice(None))


def estimate_pixels(
    pixels: Pixels, alpha: NDArray[np.uint16], *, everywhere: bool = False
) -> Pixels:
    """Foreground colour of a photo of any size, in its own depth.

    ``pixels``: H×W×3 of uint8 or uint16; ``alpha``: H×W, 0..65535. Returns H×W×3 of the same
    dtype: estimated where alpha is soft and just around it, or with ``everywhere`` wherever it is
    below 1; the photo's pixels elsewhere.
    """
    times, wide, narrow = shrinking(*alpha.shape)
    far = _first_pass(shrunk(pixels, times), shrunk(alpha, times), wide)
    out: Pixels = pixels.copy()
    wanted = _wanted(alpha, everywhere)
    for area in tiles(wanted.view(np.bool_), TILE):
        outer, inner = _with_halo(area, narrow, alpha.shape)
        blur = _BlurFusion(alpha[outer], narrow, inner)
        found = [
            _second_pass(plane, blur, *(_enlarged(low, times, outer) for low in means))
            for plane, means in zip(cv2.split(pixels[outer]), far, strict=True)
        ]
        cv2.copyTo(cv2.merge(found), wanted[area], out[area])
    return out


def _first_pass(
    pixels: Pixels, alpha: NDArray[np.uint16], radius: int
) -> list[tuple[Plane, Plane]]:
    """F̄ and B̄ of each channel of the shrunk photo."""
    blur = _BlurFusion(alpha, radius)
    planes = [_unit(plane) for plane in cv2.split(pixels)]
    return [blur(plane, plane, plane * blur.background) for plane in planes]


def _second_pass(stored: Pixels, blur: "_BlurFusion", smooth: Plane, ground: Plane) -> Pixels:
    """One channel of a tile's inner part, from the first pass's F̄ and B̄ of all of it."""
    image = _unit(stored)
    behind = ground * blur.background
    near = _correct(image, blur.subject, smooth, behind)
    smooth, ground = blur(near, ground, behind)
    ground *= blur.background[blur.inner]
    found = _correct(image[blur.inner], blur.subject[blur.inner], smooth, ground)
    found *= np.float32(np.iinfo(stored.dtype).max)
    return np.rint(found, out=found).astype(stored.dtype)


class _BlurFusion:
    """One pass over a tile, all of whose channels share an alpha.

    As :func:`birefcli.matting.foreground.reference.blur_fusion` has it, of the ``inner`` part.
    """

    def __init__(self, alpha: NDArray[np.uint16], radius: int, inner: Area = ALL) -> None:
        self.radius, self.inner = radius, inner
        self.subject = _unit(alpha)
        self.background = 1 - self.subject
        inside = _inside(alpha.shape, radius)[inner]
        weight = self._box(self.subject)
        self._few: Plane = EPSILON * inside
        self._front: Plane = np.reciprocal(weight + self._few)
        self._back: Plane = np.reciprocal(inside - weight + self._few)

    def __call__(self, near: Plane, ground: Plane, behind: Plane) -> tuple[Plane, Plane]:
        """F̄ and B̄ of a channel, of the pass before's F and B; ``behind``: (1−α)·B."""
        front = self._mean(near * self.subject, near, self._front)
        return front, self._mean(behind, ground, self._back)

    def _mean(self, weighted: Plane, fallback: Plane, inverse: Plane) -> Plane:
        mean: Plane = fallback[self.inner] * self._few
        mean += self._box(weighted)
        mean *= inverse
        return mean

    def _box(self, plane: Plane) -> Plane:
        """Sums over boxes, by the pixels of a whole box: outside of the plane there is nothing."""
        sides = (2 * self.radius + 1,) * 2
        sums = cv2.boxFilter(plane, -1, sides, borderType=cv2.BORDER_CONSTANT)
        return np.asarray(sums, np.float32)[self.inner]


def _unit(stored: Pixels) -> Plane:
    plane = stored.astype(np.float32)
    plane *= np.float32(1 / np.iinfo(stored.dtype).max)
    return plane


def _wanted(alpha: NDArray[np.uint16], everywhere: bool) -> NDArray[np.uint8]:
    """Pixels to estimate, H×W of 0 or 1."""
    below = (alpha < 65535).view(np.uint8)
    if not everywhere:
        faint = int(FAINT * 65535)
        soft = cv2.inRange(alpha, faint + 1, 65534 - faint)
        near = cv2.dilate(soft, np.ones((2 * AROUND + 1, 2 * AROUND + 1), np.uint8))
        below &= np.asarray(near, np.uint8)
    return below


def _with_halo(area: Area, halo: int, size: tuple[int, ...]) -> tuple[Area, Area]:
    """An area grown by a halo within the photo, and where the area lies in that."""
    outer = [
        slice(max(0, part.start - halo), min(length, part.stop + halo))
        for part, length in zip(area, size, strict=True)
    ]
    inner = [
        slice(part.start - grown.start, part.stop - grown.start)
        for part, grown in zip(area, outer, strict=True)
    ]
    return (outer[0], outer[1]), (inner[0], inner[1])


def _correct(image: Plane, subject: Plane, smooth: Plane, behind: Plane) -> Plane:
    """F̄ + α·(I − α·F̄ − (1−α)·B̄) in 0..1; ``behind``: (1−α)·B̄."""
    out = smooth * subject
    np.subtract(image, out, out=out)
    out -= behind
    out *= subject
    out += smooth
    return np.clip(out, 0, 1, out=out)


def _inside(size: tuple[int, ...], radius: int) -> Plane:
    """How much of its box lies inside of the plane, for each pixel."""
    shares = []
    for length in size:
        at = np.arange(length)
        box = np.minimum(at + radius + 1, length) - np.maximum(at - radius, 0)
        shares.append(box.astype(np.float32) / np.float32(2 * radius + 1))
    return np.outer(*shares)


def _enlarged(low: Plane, times: int, area: Area) -> Plane:
    """An area of ``low`` enlarged bilinearly; beyond its border, the border."""
    if times == 1:
        return low[area]
    rows, columns = (
        slice(min(max(0, part.start // times - 1), length - 1), (part.stop - 1) // times + 2)
        for part, length in zip(area, low.shape, strict=True)
    )
    part = low[rows, columns]
    size = (part.shape[1] * times, part.shape[0] * times)
    large = cv2.resize(part, size, interpolation=cv2.INTER_LINEAR)
    return _cut(np.asarray(large), times, (rows, columns), area)


def _cut(large: Plane, times: int, parts: Area, area: Area) -> Plane:
    """The area within an enlargement that begins earlier, and may end a few pixels early."""
    rows, columns = (
        slice(part.start - low.start * times, part.stop - low.start * times)
        for part, low in zip(area, parts, strict=True)
    )
    missing = [
        (0, max(0, part.stop - n)) for part, n in zip((rows, columns), large.shape, strict=True)
    ]
    if any(after for _, after in missing):
        large = np.pad(large, missing, mode="edge")
    return large[rows, columns]
