"""The subject's own colour, as :mod:`birefcli.foreground` finds it, quicker on a CPU.

The same method and the same geometry, with OpenCV's running sums and NumPy in place of torch: the
planes of a tile stay in the cache, and nothing of the photo's size is held in floating point.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.foreground import AROUND, EPSILON, FAINT, shrinking, shrunk, tiles
from birefcli.images import Pixels

TILE = 256  # rows and columns of a tile
Plane = NDArray[np.float32]
"""Values of pixels, 0..1: h×w, or 3×h×w."""
Area = tuple[slice, slice]
"""Rows and columns."""


@dataclass(frozen=True)
class Share:
    """Subject's and background's part of each pixel, h×w."""

    subject: Plane
    background: Plane

    @classmethod
    def of(cls, alpha: NDArray[np.uint16]) -> "Share":
        """Split an alpha of 0..65535."""
        subject = alpha.astype(np.float32)
        subject *= np.float32(1 / 65535)
        return cls(subject, 1 - subject)

    def __getitem__(self, area: Area) -> "Share":
        return Share(self.subject[area], self.background[area])


def estimate_pixels(
    pixels: Pixels, alpha: NDArray[np.uint16], *, everywhere: bool = False
) -> Pixels:
    """Foreground colour of a photo of any size, in its own depth.

    ``pixels``: H×W×3 of uint8 or uint16; ``alpha``: H×W, 0..65535. Returns what
    :func:`birefcli.foreground.estimate_pixels` does, to within rounding.
    """
    times, wide, narrow = shrinking(*alpha.shape)
    small = _planes(shrunk(pixels, times))
    share = Share.of(shrunk(alpha, times))
    far = _blur_fusion(small, small, small * share.background, share, wide)
    out: Pixels = pixels.copy()
    wanted = _wanted(alpha, everywhere)
    for area in tiles(wanted.view(np.bool_), TILE):
        outer, inner = _with_halo(area, narrow, alpha.shape)
        smooth, ground = (_enlarged(low, times, outer) for low in far)
        found = _second_pass(pixels[outer], Share.of(alpha[outer]), smooth, ground, narrow, inner)
        cv2.copyTo(found, wanted[area], out[area])
    return out


def _second_pass(
    pixels: Pixels, share: Share, smooth: Plane, ground: Plane, radius: int, inner: Area
) -> Pixels:
    """Colours of a tile's inner part, from the first pass's F̄ and B̄ of all of it."""
    image = _planes(pixels)
    behind = ground * share.background
    near = _correct(image, share.subject, smooth, behind)
    smooth, ground = _blur_fusion(near, ground, behind, share, radius, inner)
    share = share[inner]
    found = _correct(image[:, inner[0], inner[1]], share.subject, smooth, ground * share.background)
    found *= np.float32(np.iinfo(pixels.dtype).max)
    np.rint(found, out=found)
    return _interleaved(found.astype(pixels.dtype))


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


def _planes(pixels: Pixels) -> Plane:
    planes = np.stack(cv2.split(pixels)).astype(np.float32)
    planes *= np.float32(1 / np.iinfo(pixels.dtype).max)
    return planes


def _interleaved(planes: Pixels) -> Pixels:
    return np.asarray(cv2.merge(list(planes)))


def _correct(image: Plane, subject: Plane, smooth: Plane, behind: Plane) -> Plane:
    """F̄ + α·(I − α·F̄ − (1−α)·B̄) in 0..1; ``behind``: (1−α)·B̄."""
    out = smooth * subject
    np.subtract(image, out, out=out)
    out -= behind
    out *= subject
    out += smooth
    return np.clip(out, 0, 1, out=out)


def _blur_fusion(
    near: Plane, ground: Plane, behind: Plane, share: Share, radius: int, inner: Area = np.s_[:, :]
) -> tuple[Plane, Plane]:
    """F̄ and B̄ of the inner part, as :func:`birefcli.foreground.blur_fusion` has them.

    ``behind``: (1−α)·B.
    """
    inside = _inside(share.subject.shape, radius)[inner]
    weight = _box(share.subject, radius)[inner]
    few = EPSILON * inside

    def mean(weighted: Plane, fallback: Plane, weight: Plane) -> Plane:
        out = np.stack([_box(plane, radius)[inner] for plane in weighted])
        out += few * fallback[:, inner[0], inner[1]]
        out /= weight + few
        return out

    return mean(near * share.subject, near, weight), mean(behind, ground, inside - weight)


def _box(plane: Plane, radius: int) -> Plane:
    """Sums over boxes, by the pixels of a whole box: outside of the plane there is nothing."""
    side = 2 * radius + 1
    return np.asarray(cv2.boxFilter(plane, -1, (side, side), borderType=cv2.BORDER_CONSTANT))


def _inside(size: tuple[int, ...], radius: int) -> Plane:
    """How much of its box lies inside of the plane, for each pixel."""
    at = [np.arange(length) for length in size]
    down, across = (
        np.minimum(n + radius + 1, length) - np.maximum(n - radius, 0)
        for n, length in zip(at, size, strict=True)
    )
    share: Plane = (np.outer(down, across) / (2 * radius + 1) ** 2).astype(np.float32)
    return share


def _enlarged(low: Plane, times: int, area: Area) -> Plane:
    """An area of ``low`` (3×h×w) enlarged bilinearly; beyond its border, the border."""
    if times == 1:
        return low[:, area[0], area[1]]
    parts = [
        slice(min(max(0, part.start // times - 1), length - 1), (part.stop - 1) // times + 2)
        for part, length in zip(area, low.shape[1:], strict=True)
    ]
    planes = []
    for plane in low[:, parts[0], parts[1]]:
        size = (plane.shape[1] * times, plane.shape[0] * times)
        large = cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)
        planes.append(_cut(np.asarray(large), times, parts, area))
    return np.stack(planes)


def _cut(large: Plane, times: int, parts: list[slice], area: Area) -> Plane:
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
