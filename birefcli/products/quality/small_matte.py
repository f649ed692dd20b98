"""A matte and its photo, reduced so that a sign means the same whatever the camera."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 256  # pixels of the longer side, of what is measured
ENOUGH = 512  # the same, or more, of what is reduced to it

Plane = NDArray[np.float32]

_TO_XYZ = np.array(  # IEC 61966-2-1: linear sRGB to XYZ, by that of its white
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ],
    np.float32,
) / np.array([[0.950456], [1], [1.088754]], np.float32)


def thinned(picture: NDArray[Any], least: int = ENOUGH) -> NDArray[Any]:
    """Every n-th pixel of every n-th row, ``least`` or more of the longer side.

    To reduce all of 24 megapixels would take a quarter of a second.
    """
    every = max(1, max(picture.shape[:2]) // least)
    return np.ascontiguousarray(picture[::every, ::every])


def small_size(picture: NDArray[Any]) -> tuple[int, int]:
    """(width, height) at which a picture is measured."""
    height, width = picture.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))


def resized(picture: NDArray[Any], size: tuple[int, int]) -> Plane:
    """As float32 of 0..1; ``size``: (width, height)."""
    fewer = size[0] < picture.shape[1]
    method = cv2.INTER_AREA if fewer else cv2.INTER_LINEAR
    made = np.asarray(cv2.resize(picture, size, interpolation=method), np.float32)
    return np.asarray(made / np.float32(np.iinfo(picture.dtype).max), np.float32)


def lab_of(photo: Plane) -> Plane:
    """L*a*b* of sRGB, H×W×3 of 0..1 (CIE 15; float32, by its formulas).

    OpenCV first makes tables of it, for longer than a small network takes for a photo, and is off
    by up to half a unit.
    """
    linear = np.where(photo <= 0.04045, photo / 12.92, ((photo + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _TO_XYZ.T
    x, y, z = np.moveaxis(np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1).astype(np.float32)


@dataclass(frozen=True)
class SmallMatte:
    """The subject of a small matte: ``alpha`` H×W, 0..1."""

    alpha: Plane

    @cached_property
    def kept(self) -> NDArray[np.bool_]:
        """Where the subject is, by half or more."""
        return np.asarray(self.alpha >= 0.5)

    @cached_property
    def inside(self) -> NDArray[np.uint8]:
        """The same, as 0 and 1."""
        return self.kept.astype(np.uint8)

    @cached_property
    def depth(self) -> Plane:
        """Distance of the subject's pixels from its outline; the picture's border is none."""
        return distance(self.inside)

    @cached_property
    def outside(self) -> Plane:
        """Distance of the other pixels from the outline."""
        return distance(1 - self.inside)

    @cached_property
    def outline(self) -> NDArray[np.bool_]:
        """The subject's outermost pixels."""
        return np.asarray((self.depth > 0) & (self.depth <= 1.5))

    @cached_property
    def length(self) -> float:
        """Of the outline, in pixels; 1 or more."""
        return max(1.0, float(self.outline.sum()))

    @cached_property
    def area(self) -> float:
        """Of the subject, in pixels; 1 or more."""
        return max(1.0, float(self.alpha.sum()))

    @cached_property
    def size(self) -> float:
        """Side of a square of the subject's area, in pixels."""
        return float(np.sqrt(self.area))


def distance(region: NDArray[np.uint8]) -> Plane:
    """Of a region's pixels from its end; nothing ends at the picture's border."""
    if region.all():
        return np.full(region.shape, 1e3, np.float32)
    framed = cv2.copyMakeBorder(region, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    found = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_3)
    return np.asarray(found[1:-1, 1:-1], np.float32)
