"""Weighted F-measure (Margolin, Zelnik-Manor and Tal, CVPR 2014), from OpenCV's parts.

The authors' definition looks up, for each background pixel, the error at the nearest subject
pixel, and blurs these. A blurred error is used inside the subject only, with a 7×7 kernel: the
nearest subject pixel matters only to background pixels at most three rows and columns away from
the subject. That is why no feature transform of the whole picture is needed, only a short list of
offsets.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.scoring.metrics.saliency import EPS, Floats, Maps

REACH = 3  # pixels, half of the kernel
SIGMA = 5.0
FAR = 256  # pixels from the subject; beyond, an error counts twice within 1e-15


def _offsets() -> list[tuple[int, int]]:
    """Ways to a subject pixel, nearest first; equally near: leftmost, then topmost.

    That order is scipy's distance_transform_edt's, whose answers the published figures rest on.
    """
    side = range(-REACH - 1, REACH + 2)
    ways = [(y * y + x * x, x, y) for y in side for x in side if 0 < y * y + x * x <= 2 * REACH**2]
    return [(y, x) for _, x, y in sorted(ways)]


OFFSETS = _offsets()
_ROW = np.exp(-(np.arange(-REACH, REACH + 1) ** 2) / (2 * SIGMA**2))
KERNEL = _ROW / _ROW.sum()
_SQUARES = np.arange((FAR + 1) ** 2, dtype=np.float64)
WEIGHTS = 2 - np.exp(np.log(0.5) / 5 * np.sqrt(_SQUARES))
"""What an error outside the subject costs, by its squared distance in pixels."""


def weighted_f(maps: Maps) -> float:
    """Weighted F-measure with beta 1; 0 where the truth is empty."""
    if not maps.subject:
        return 0.0
    error = np.abs(maps.stretched - maps.truth)
    inside = _inside(error, maps.truth)
    outside = _outside(error, maps.truth)
    true = maps.subject - inside.sum()
    recall = 1 - inside.mean()
    precision = true / (true + outside + EPS)
    return float(2 * recall * precision / (recall + precision + EPS))


def _inside(error: Floats, truth: NDArray[np.bool_]) -> Floats:
    """Errors of the subject's pixels, blurred where that makes them smaller."""
    box = _box(truth)
    error, truth = error[box].copy(), truth[box]
    own = error[truth]
    _spread(error, truth)
    blurred = cv2.sepFilter2D(error, cv2.CV_64F, KERNEL, KERNEL, borderType=cv2.BORDER_CONSTANT)
    smaller: Floats = np.minimum(own, blurred[truth])
    return smaller


def _box(truth: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of the subject, with what a kernel on it sees."""
    rows, columns = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
    return (
        slice(max(0, int(rows[0]) - 2 * REACH), int(rows[-1]) + 2 * REACH + 1),
        slice(max(0, int(columns[0]) - 2 * REACH), int(columns[-1]) + 2 * REACH + 1),
    )


def _spread(error: Floats, truth: NDArray[np.bool_]) -> None:
    """Give background pixels near the subject the error of the nearest subject pixel."""
    room = REACH + 1
    padded = np.pad(truth, room).ravel()
    width = truth.shape[1] + 2 * room
    kernel = np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8)
    near = cv2.dilate(truth.astype(np.uint8), kernel).astype(bool) & ~truth
    rows, columns = np.nonzero(near)
    places = (rows + room) * width + columns + room
    for y, x in OFFSETS:
        hit = padded[places + y * width + x]
        error[rows[hit], columns[hit]] = error[rows[hit] + y, columns[hit] + x]
        rows, columns, places = rows[~hit], columns[~hit], places[~hit]
        if not places.size:
            break


def _outside(error: Floats, truth: NDArray[np.bool_]) -> float:
    """Sum of the errors outside the subject, dearer the farther they are from it."""
    wrong = (error > 0) & ~truth
    distance = cv2.distanceTransform((~truth).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[
        wrong
    ].astype(np.float64)
    # A whole number, whose root in float32 was all OpenCV had room for.
    squares = np.rint(np.minimum(distance, FAR) ** 2).astype(np.int64)
    return float((error[wrong] * WEIGHTS[squares]).sum())
