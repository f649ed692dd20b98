"""Signs of a bad matte, measured on its alpha and, where there is one, its photo.

Both are reduced to one size first, so that a sign means the same whatever the camera, and costs
milliseconds. Which values are suspicious is fitted, not chosen: see :mod:`.fitted`.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 256  # pixels of the longer side, of what is measured
FAR = 4.0  # pixels from the outline that hair and blur seldom reach
SURE = 3.0  # pixels from the outline where colours are the subject's or the background's alone
TOUCHES = 2.5  # pixels from the outline within which a region begins at it
SMALL_PIECE = 0.1  # of the largest piece; a second person is larger
NO_EDGE = 1.0  # change of colour in L*a*b* a pixel; less is no edge that a person sees
AROUND = 0.5  # of the subject's size: how far off the background counts as nearby
REACH = 0.3  # of the subject's size: how far off a missing part is looked for
LEVELS = 16  # of a channel, in histograms of colours
RARE = 1e-5  # share of pixels below which a colour is unknown
ALIEN = 0.1  # share of the subject among pixels of a colour that is the background's

Plane = NDArray[np.float32]

_NEIGHBOURS = (2 * np.eye(LEVELS) + np.eye(LEVELS, k=1) + np.eye(LEVELS, k=-1)).astype(
    np.float32
) / 4
"""A level of colour is also the levels beside it: noise."""
_TO_XYZ = np.array(  # IEC 61966-2-1: linear sRGB to XYZ, by that of its white
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ],
    np.float32,
) / np.array([[0.950456], [1], [1.088754]], np.float32)


class Sign(StrEnum):
    """What is measured; its ``value`` is its name in the file of limits."""

    UNSURE = "unsure"
    HAZE = "haze"
    TRANSLUCENT = "translucent"
    ISLANDS = "islands"
    OUTLINE = "outline"
    BACKGROUND = "background"
    MISSING = "missing"
    RUGGED = "rugged"
    COVERAGE = "coverage"


IN_PHOTO = (Sign.OUTLINE, Sign.BACKGROUND, Sign.MISSING)
"""Signs that need the photo."""
CONTEXT = (Sign.RUGGED, Sign.COVERAGE)
"""What a subject is like, which says how much an error of its outline weighs: no fault."""


def measure(alpha: NDArray[Any], pixels: NDArray[Any] | None = None) -> dict[Sign, float]:
    """Signs of a matte, 0 or more; those of :data:`IN_PHOTO` only with ``pixels``.

    ``alpha``: H×W of uint8 or uint16, full scale; ``pixels``: of its photo, H×W×3, RGB, of uint8 or
    uint16 and any size.
    """
    shape = _Shape(_resized(alpha, _size_of(alpha)))
    found = {
        Sign.UNSURE: float((4 * shape.alpha * (1 - shape.alpha)).sum()) / shape.length,
        Sign.HAZE: float(shape.alpha[shape.outside > FAR].sum()) / shape.area,
        Sign.TRANSLUCENT: float((1 - shape.alpha)[shape.depth > FAR].sum()) / shape.area,
        Sign.ISLANDS: _islands(shape.inside),
        Sign.RUGGED: shape.length / shape.size,
        Sign.COVERAGE: shape.area / shape.alpha.size,
    }
    if pixels is not None:
        height, width = shape.alpha.shape
        photo = _resized(pixels, (width, height))
        own = _share_of_subject(shape, photo)
        found |= {
            Sign.OUTLINE: _without_edge(shape, photo),
            Sign.BACKGROUND: _largest_at_outline((own < ALIEN) & shape.kept, shape.depth)
            / shape.area,
            Sign.MISSING: _largest_at_outline(
                (own > 1 - ALIEN) & ~shape.kept & (shape.outside < REACH * shape.size),
                shape.outside,
            )
            / shape.area,
        }
    return found


def _size_of(picture: NDArray[Any]) -> tuple[int, int]:
    """(width, height) at which a picture is measured."""
    height, width = picture.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resized(picture: NDArray[Any], size: tuple[int, int]) -> Plane:
    """As float32 of 0..1."""
    fewer = size[0] < picture.shape[1]
    method = cv2.INTER_AREA if fewer else cv2.INTER_LINEAR
    resized = np.asarray(cv2.resize(picture, size, interpolation=method), np.float32)
    return np.asarray(resized / np.float32(np.iinfo(picture.dtype).max), np.float32)


@dataclass(frozen=True)
class _Shape:
    """The subject of a small matte: ``alpha`` H×W, 0..1."""

    alpha: Plane

    @cached_property
    def kept(self) -> NDArray[np.bool_]:
        """Where the subject is, by half or more."""
        return np.asarray(self.alpha >= 0.5)

    @cached_property
    def inside(self) -> NDArray[np.uint8]:
        return self.kept.astype(np.uint8)

    @cached_property
    def depth(self) -> Plane:
        """Distance of the subject's pixels from its outline; the picture's border is none."""
        return _distance(self.inside)

    @cached_property
    def outside(self) -> Plane:
        """Distance of the other pixels from the outline."""
        return _distance(1 - self.inside)

    @cached_property
    def outline(self) -> NDArray[np.bool_]:
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


def _distance(region: NDArray[np.uint8]) -> Plane:
    """Of a region's pixels from its end; nothing ends at the picture's border."""
    if region.all():
        return np.full(region.shape, 1e3, np.float32)
    framed = cv2.copyMakeBorder(region, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    found = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_3)
    return np.asarray(found[1:-1, 1:-1], np.float32)


def _islands(inside: NDArray[np.uint8]) -> float:
    """Share of the subject in pieces that are small beside its largest."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if not len(areas):
        return 0.0
    return float(areas[areas < SMALL_PIECE * areas.max()].sum() / areas.sum())


def _without_edge(shape: _Shape, photo: Plane) -> float:
    """Length of the outline across which the photo's colour does not change, of the size."""
    lab = _smooth(_lab(photo))
    smooth = _smooth(shape.alpha)
    # Only there does it matter: the rest of the picture is no work.
    band = np.nonzero((shape.depth <= 3) & (shape.outside <= 3))
    across = [_sobel(smooth, *way)[band] for way in ((1, 0), (0, 1))]
    change = [_sobel(lab, *way)[band] for way in ((1, 0), (0, 1))]
    along = across[0][:, None] * change[0] + across[1][:, None] * change[1]
    steepness = np.zeros(shape.alpha.shape, np.float32)
    steepness[band] = np.linalg.norm(along, axis=1) / np.maximum(np.hypot(*across), 1e-6)
    nearby = cv2.dilate(steepness / 8, np.ones((3, 3), np.uint8))  # Sobel's weights add up to 8
    return float((shape.outline & (nearby < NO_EDGE)).sum()) / shape.size


def _lab(photo: Plane) -> Plane:
    """L*a*b* of sRGB, H×W×3 of 0..1 (CIE 15; float32, by its formulas).

    OpenCV first makes tables of it, for longer than a small network takes for a photo, and is off
    by up to half a unit.
    """
    linear = np.where(photo <= 0.04045, photo / 12.92, ((photo + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _TO_XYZ.T
    x, y, z = np.moveaxis(np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1).astype(np.float32)


def _smooth(picture: Plane) -> Plane:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 1), np.float32)


def _sobel(picture: Plane, x: int, y: int) -> Plane:
    return np.asarray(cv2.Sobel(picture, cv2.CV_32F, x, y, ksize=3), np.float32)


def _share_of_subject(shape: _Shape, photo: Plane) -> Plane:
    """Share of the subject among pixels of each pixel's colour, 0..1; one half where unknown.

    Colours of the subject well within its outline are compared with those of the background around
    it, as in histogram back projection (Swain and Ballard, 1991).
    """
    levels = np.minimum(photo * LEVELS, LEVELS - 1).astype(np.int32)
    colour = (levels[..., 0] * LEVELS + levels[..., 1]) * LEVELS + levels[..., 2]
    alpha = shape.alpha
    subject = _histogram(colour[(alpha > 0.95) & (shape.depth > SURE)])
    away = (shape.outside > SURE) & (shape.outside < AROUND * shape.size)
    background = _histogram(colour[(alpha < 0.05) & away])
    share = (subject + RARE) / (subject + background + 2 * RARE)
    return np.asarray(cv2.blur(share[colour].astype(np.float32), (3, 3)), np.float32)


def _histogram(colours: NDArray[np.int32]) -> Plane:
    """Share of pixels of each colour, smoothed: neighbours are the same colour under noise."""
    counts = np.bincount(colours, minlength=LEVELS**3).reshape((LEVELS,) * 3).astype(np.float32)
    for axis in range(3):
        mixed = np.tensordot(_NEIGHBOURS, counts, (1, axis))
        counts = np.moveaxis(mixed.astype(np.float32), 0, axis)
    return np.asarray(counts.ravel() / max(1, len(colours)), np.float32)


def _largest_at_outline(region: NDArray[np.bool_], distance: Plane) -> float:
    """Area of the largest connected part of a region that begins at the outline, in pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=4)
    begins = np.unique(labels[(distance > 0) & (distance <= TOUCHES)])
    areas = stats[begins[begins > 0], cv2.CC_STAT_AREA]
    return float(areas.max()) if len(areas) else 0.0
