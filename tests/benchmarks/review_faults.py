"""Faults that people find in cutouts, made in mattes that are good: one for each name.

They are small or sharp, so that an average over the picture hardly knows of them.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Rng = np.random.Generator


def haze(alpha: Plane, rng: Rng) -> Plane | None:
    """A faint cloud beside the subject."""
    size, beside = _size(alpha), _distance(alpha < 0.5)
    radius = size * rng.uniform(0.15, 0.4)
    at = _drawn((beside > 0.6 * radius) & (beside < 3 * radius), rng)
    if at is None:
        return None
    cloud = cv2.GaussianBlur(_blob(alpha.shape, at, radius, rng), (0, 0), radius / 4)
    return np.maximum(alpha, cloud * np.float32(rng.uniform(0.12, 0.4)))


def gaps(alpha: Plane, rng: Rng) -> Plane | None:
    """Gaps between strands, or between an arm and the body, are filled."""
    across = int(_size(alpha) * rng.uniform(0.06, 0.12)) | 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (across, across))
    closed = cv2.morphologyEx(alpha, cv2.MORPH_CLOSE, disc, borderType=cv2.BORDER_REPLICATE)
    filled = float((closed - alpha > 0.5).sum())
    return np.asarray(closed, np.float32) if filled > 0.004 * (alpha > 0.5).sum() else None


def wall(alpha: Plane, rng: Rng) -> Plane | None:
    """A piece of the background beside the head is kept."""
    rows = np.flatnonzero((alpha > 0.5).any(1))
    beside = _distance(alpha < 0.5)
    place = (beside > 0) & (beside <= 1.5)
    place[int(rows[0] + 0.35 * np.ptp(rows)) :] = False
    at = _drawn(_within(place), rng)
    if at is None:
        return None
    return np.maximum(alpha, _blob(alpha.shape, at, _size(alpha) * rng.uniform(0.1, 0.18), rng))


def shoulders(alpha: Plane, rng: Rng) -> Plane | None:
    """The lower part, or one side of it, is half transparent."""
    height, width = alpha.shape
    rows, columns = np.nonzero(alpha > 0.5)
    size = _size(alpha)
    below = (np.arange(height) > rows.min() + 0.6 * np.ptp(rows))[:, None]
    side = np.arange(width) < np.median(columns) if rng.random() < 0.5 else np.ones(width, bool)
    veil = cv2.GaussianBlur((below & side).astype(np.float32), (0, 0), size * 0.03)
    return np.asarray(alpha * (1 - veil * rng.uniform(0.2, 0.6)), np.float32)


def severed(alpha: Plane, rng: Rng) -> Plane | None:
    """What reaches out farthest to a side is cut off."""
    columns = np.nonzero(alpha > 0.5)[1]
    depth = _distance(alpha > 0.5)
    ends = np.argwhere(_within((depth > 0) & (depth <= 1.5)))
    if not len(ends):
        return None
    size = _size(alpha)
    reach = np.abs(ends[:, 1] - columns.mean()) + rng.uniform(0, 0.2 * size, len(ends))
    y, x = ends[reach.argmax()]
    cut = alpha * (1 - _blob(alpha.shape, (x, y), size * rng.uniform(0.12, 0.22), rng))
    return cut if (alpha - cut).sum() > 0.01 * (alpha > 0.5).sum() else None


def floating(alpha: Plane, rng: Rng) -> Plane | None:
    """A piece of the background is kept by itself."""
    beside = _distance(alpha < 0.5)
    radius = _size(alpha) * rng.uniform(0.05, 0.12)
    at = _drawn((beside > 1.5 * radius) & (beside < 8 * radius), rng)
    return None if at is None else np.maximum(alpha, _blob(alpha.shape, at, radius, rng))


FAULTS: dict[str, Callable[[Plane, Rng], Plane | None]] = {
    each.__name__: each for each in (haze, gaps, wall, shoulders, severed, floating)
}
"""By name: a matte H×W of 0..1 to one with the fault; None where it has no room for it."""


def _size(alpha: Plane) -> float:
    """Side of a square of the subject's area, in pixels."""
    return float(np.sqrt((alpha > 0.5).sum()))


def _distance(region: NDArray[np.bool_]) -> Plane:
    found = cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    return np.asarray(found, np.float32)


def _drawn(places: NDArray[np.bool_], rng: Rng) -> tuple[float, float] | None:
    """(x, y) of one of the places."""
    found = np.argwhere(places)
    if not len(found):
        return None
    y, x = found[int(rng.integers(len(found)))]
    return float(x), float(y)


def _within(places: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Without what lies at the picture's border."""
    inner = np.zeros_like(places)
    inner[3:-3, 3:-3] = places[3:-3, 3:-3]
    return inner


def _blob(shape: tuple[int, ...], centre: tuple[float, float], radius: float, rng: Rng) -> Plane:
    """A disc that is none quite: 1 inside, 0 outside."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    x, y = x - centre[0], y - centre[1]
    angle, phases = np.arctan2(y, x), rng.uniform(0, 6, 2)
    reach = 1 + 0.25 * np.sin(2 * angle + phases[0]) + 0.15 * np.sin(3 * angle + phases[1])
    return np.asarray(np.clip(radius * reach - np.hypot(x, y) + 0.5, 0, 1), np.float32)
