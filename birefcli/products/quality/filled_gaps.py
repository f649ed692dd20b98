"""Gaps between parts of the subject that a matte fills: between strands, legs, arm and body.

Such a place has the colours of the background right beside it, and a sharp edge of the photo around
it where alpha has none. Both are looked for in the part of the picture that holds the subject, as a
gap of a person in a street is a few pixels of the whole.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.products.quality.colour_share import share_of_subject
from birefcli.products.quality.small_matte import (
    Plane,
    SmallMatte,
    lab_of,
    resized,
    small_size,
    thinned,
)

MARGIN = 0.3  # of the subject's size: background around it that is looked at
SURE_BESIDE_GAP = 2.0  # pixels from the outline where colours are one side's alone: gaps are narrow
ALIEN_GAP = 0.35  # share of the subject among pixels of a colour, in places that are looked at
LEAST = 0.005  # of the subject: smaller places are buttons, collars and lights as a rule
MOST = 5  # places that are looked at, the largest first
BESIDE = 0.25  # of the subject's size: how far off the background beside a place is
FEWEST_BESIDE = 8  # pixels of background beside a place; fewer have no colour to compare
CLOSE = 3.0  # L*a*b* units that noise makes of one colour


class _Scene(NamedTuple):
    """What places are judged by: all H×W. ``lab``: ×3; ``steepness``: units of L*a*b* a pixel."""

    lab: Plane
    steepness: Plane
    background: NDArray[np.bool_]
    subject: NDArray[np.bool_]


def filled_gap(alpha: NDArray[Any], pixels: NDArray[Any]) -> float:
    """How much the likeliest place within the subject is like a gap that is filled; 0 or more.

    ``alpha``: H×W of uint8 or uint16, full scale; ``pixels``: of its photo, H×W×3, RGB, of uint8 or
    uint16 and any size. It is the photo's steepness along the place's border, by the square of the
    distance of its colour to that of the background beside it, both in L*a*b*.
    """
    matte, photo = _around_subject(alpha, pixels)
    places = (share_of_subject(matte, photo, SURE_BESIDE_GAP) < ALIEN_GAP) & matte.kept
    _, found, stats, _ = cv2.connectedComponentsWithStats(places.astype(np.uint8), connectivity=4)
    labels = np.asarray(found, np.int32)
    boxes = [(label, *box) for label, box in enumerate(stats.tolist()) if label]
    boxes = [box for box in boxes if box[5] >= LEAST * matte.area and not _at_border(box, places)]
    if not boxes:
        return 0.0
    scene = _scene(matte, photo)
    largest = sorted(boxes, key=lambda box: -box[5])[:MOST]
    return max(_likeness(labels, box, scene, matte.size) for box in largest)


def _around_subject(alpha: NDArray[Any], pixels: NDArray[Any]) -> tuple[SmallMatte, Plane]:
    """The part of a matte and of its photo that holds the subject, reduced."""
    few = thinned(alpha)
    kept = few >= (int(few.max()) + 1) // 2
    margin = MARGIN * float(np.sqrt(kept.sum()))
    spans = [_span(np.asarray(kept.any(axis)), margin) for axis in (1, 0)]
    part = thinned(_part(alpha, spans))
    size = small_size(part)
    return SmallMatte(resized(part, size)), resized(thinned(_part(pixels, spans)), size)


def _span(kept: NDArray[np.bool_], margin: float) -> tuple[float, float]:
    """Where rows or columns with something of the subject begin and end, 0..1 of all."""
    found = np.flatnonzero(kept)
    return max(0.0, (found[0] - margin) / len(kept)), min(1.0, (found[-1] + 1 + margin) / len(kept))


def _part(picture: NDArray[Any], spans: list[tuple[float, float]]) -> NDArray[Any]:
    """Those of its rows and columns."""
    (top, bottom), (left, right) = (
        (int(start * side), max(int(start * side) + 1, round(end * side)))
        for (start, end), side in zip(spans, picture.shape, strict=False)
    )
    return picture[top:bottom, left:right]


def _at_border(box: tuple[int, ...], picture: NDArray[Any]) -> bool:
    """Whether a place meets the border, where it may go on as something else."""
    _, x, y, width, height, _ = box
    rows, columns = picture.shape
    return x == 0 or y == 0 or x + width == columns or y + height == rows


def _scene(matte: SmallMatte, photo: Plane) -> _Scene:
    lab = np.asarray(cv2.GaussianBlur(lab_of(photo), (0, 0), 0.7), np.float32)
    changes = [cv2.Sobel(lab, cv2.CV_32F, *way, ksize=3) / 8 for way in ((1, 0), (0, 1))]
    steepness = np.sqrt(sum((change**2).sum(2) for change in changes))
    nearby = np.asarray(cv2.dilate(steepness, np.ones((3, 3), np.uint8)), np.float32)
    return _Scene(lab, nearby, (matte.alpha < 0.05) & (matte.outside > SURE_BESIDE_GAP), matte.kept)


def _likeness(labels: NDArray[np.int32], box: tuple[int, ...], scene: _Scene, size: float) -> float:
    """Of one place to a filled gap."""
    label, x, y, width, height, _ = box
    reach = max(6, int(BESIDE * size))
    window = np.s_[max(0, y - reach) : y + height + reach, max(0, x - reach) : x + width + reach]
    place = (labels[window] == label).astype(np.uint8)
    away = cv2.distanceTransform(1 - place, cv2.DIST_L2, cv2.DIST_MASK_3)
    beside = scene.lab[window][scene.background[window] & (away <= reach)]
    border = scene.steepness[window][scene.subject[window] & (away > 0) & (away <= 1.5)]
    if len(beside) < FEWEST_BESIDE or not len(border):
        return 0.0
    core = cv2.erode(place, np.ones((3, 3), np.uint8))
    own = scene.lab[window][(core if core.any() else place) > 0].mean(0)
    distance = float(np.percentile(np.linalg.norm(beside - own, axis=1), 10))
    return float(np.percentile(border, 25)) / (CLOSE + distance) ** 2
