"""Signs of a bad matte, measured on its alpha and, where there is one, its photo.

Both are reduced to one size first, so that a sign means the same, and costs the same, whatever the
camera. Which values are suspicious is fitted, not chosen: see :mod:`.fitted`.
"""

from enum import StrEnum
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.products.quality.colour_share import share_of_subject
from birefcli.products.quality.filled_gaps import filled_gap
from birefcli.products.quality.small_matte import (
    Plane,
    SmallMatte,
    lab_of,
    resized,
    small_size,
    thinned,
)

FAR = 4.0  # pixels from the outline that hair and blur seldom reach
SURE = 3.0  # pixels from the outline where colours are the subject's or the background's alone
TOUCHES = 2.5  # pixels from the outline within which a region begins at it
SMALL_PIECE = 0.1  # of the largest piece; a second person is larger
NO_EDGE = 1.0  # change of colour in L*a*b* a pixel; less is no edge that a person sees
REACH = 0.3  # of the subject's size: how far off a missing part is looked for
ALIEN = 0.1  # share of the subject among pixels of a colour that is the background's


class Sign(StrEnum):
    """What is measured; its ``value`` is its name in the file of limits."""

    UNSURE = "unsure"
    HAZE = "haze"
    TRANSLUCENT = "translucent"
    ISLANDS = "islands"
    OUTLINE = "outline"
    BACKGROUND = "background"
    GAPS = "gaps"
    MISSING = "missing"
    RUGGED = "rugged"
    COVERAGE = "coverage"


IN_PHOTO = (Sign.OUTLINE, Sign.BACKGROUND, Sign.GAPS, Sign.MISSING)
"""Signs that need the photo."""
CONTEXT = (Sign.RUGGED, Sign.COVERAGE)
"""What a subject is like, which says how much an error of its outline weighs: no fault."""


def measure(alpha: NDArray[Any], pixels: NDArray[Any] | None = None) -> dict[Sign, float]:
    """Signs of a matte, 0 or more; those of :data:`IN_PHOTO` only with ``pixels``.

    ``alpha``: H×W of uint8 or uint16, full scale; ``pixels``: of its photo, H×W×3, RGB, of uint8 or
    uint16 and any size.
    """
    small = thinned(alpha)
    shape = SmallMatte(resized(small, small_size(small)))
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
        photo = resized(thinned(pixels), (width, height))
        own = share_of_subject(shape, photo, SURE)
        found |= {
            Sign.OUTLINE: _without_edge(shape, photo),
            Sign.BACKGROUND: _largest_at_outline((own < ALIEN) & shape.kept, shape.depth)
            / shape.area,
            Sign.GAPS: filled_gap(alpha, pixels),
            Sign.MISSING: _largest_at_outline(
                (own > 1 - ALIEN) & ~shape.kept & (shape.outside < REACH * shape.size),
                shape.outside,
            )
            / shape.area,
        }
    return found


def _islands(inside: NDArray[np.uint8]) -> float:
    """Share of the subject in pieces that are small beside its largest."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if not len(areas):
        return 0.0
    return float(areas[areas < SMALL_PIECE * areas.max()].sum() / areas.sum())


def _without_edge(shape: SmallMatte, photo: Plane) -> float:
    """Length of the outline across which the photo's colour does not change, of the size."""
    lab = _smooth(lab_of(photo))
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


def _smooth(picture: Plane) -> Plane:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 1), np.float32)


def _sobel(picture: Plane, x: int, y: int) -> Plane:
    return np.asarray(cv2.Sobel(picture, cv2.CV_32F, x, y, ksize=3), np.float32)


def _largest_at_outline(region: NDArray[np.bool_], distance: Plane) -> float:
    """Area of the largest connected part of a region that begins at the outline, in pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=4)
    begins = np.unique(labels[(distance > 0) & (distance <= TOUCHES)])
    areas = stats[begins[begins > 0], cv2.CC_STAT_AREA]
    return float(areas.max()) if len(areas) else 0.0
