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
    """Gaps between strands, between legs, or between an arm and the body, are filled."""
    across = int(_size(alpha) * rng.uniform(0.06, 0.12)) | 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (across, across))
    # What is beyond the picture closes no gap: so a head and the picture's border have none.
    framed = cv2.copyMakeBorder(alpha, *(across,) * 4, cv2.BORDER_CONSTANT, value=0)
    closed = cv2.morphologyEx(framed, cv2.MORPH_CLOSE, disc)[across:-across, across:-across]
    body = (closed > 0.5) | _enclosed(closed <= 0.5)
    filled = _pieces(body & (alpha < 0.5), 0.003 * float((alpha > 0.5).sum()))
    if not filled.any():
        return None
    # Its soft rim is filled too: left within the subject, it would tell of the gap by itself.
    solid = _wider(filled, max(3, across // 3)) & ~_wider(~body, 2)
    made = np.where(solid, np.float32(1), np.where(_wider(filled, 1), closed, alpha))
    return np.asarray(made, np.float32)


def _enclosed(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those pieces of a region that do not meet the picture's border."""
    _, labels = cv2.connectedComponents(region.astype(np.uint8), connectivity=4)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return np.asarray(region & ~np.isin(labels, border))


def _pieces(region: NDArray[np.bool_], least: float) -> NDArray[np.bool_]:
    """The pieces of a region that have so many pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=4)
    large = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] > least)
    return np.asarray(np.isin(labels, large[large > 0]))


def _wider(region: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """So many pixels more to all sides."""
    square = np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8)
    return np.asarray(cv2.dilate(region.astype(np.uint8), square) > 0)


def steps(alpha: Plane, rng: Rng) -> Plane:
    """The outline is that of a matte of an eighth or a sixteenth of the size."""
    height, width = alpha.shape
    times = int(rng.choice((8, 16)))
    fewer = max(1, width // times), max(1, height // times)
    small = cv2.resize(alpha, fewer, interpolation=cv2.INTER_NEAREST)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(large, np.float32)


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
    each.__name__: each for each in (haze, gaps, wall, shoulders, severed, floating, steps)
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
