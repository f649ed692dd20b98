"""Human correction effort: how many clicks a person needs to mend a mask.

Qin et al., "Highly Accurate Dichotomous Image Segmentation", ECCV 2022, section 4. The definition
is that of BiRefNet's table: prediction and truth both cut at 128 of 255. (PySODMetrics stretches
the prediction first and cuts it at one half.)
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.scoring.metrics.skeleton import skeletonize

CUT = 128
RELAX = 5  # pixels: faults thinner than twice this along an edge are forgiven
EPSILON = 2.0  # pixels: how far a polygon may stray from a fault's outline
CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))

Mask = NDArray[np.bool_]


def hce(prediction: NDArray[np.uint8], truth: NDArray[np.uint8]) -> int:
    """Points and regions to click, for H×W maps of 0..255: 0 where nothing needs mending."""
    found, real = prediction > CUT, truth > CUT
    right = found & real
    core = cv2.erode((found | real).astype(np.uint8), CROSS, iterations=RELAX) > 0
    extra = _relaxed(found & ~real, core, ~real)
    missing = _relaxed(real & ~found, core, ~found)
    missing |= skeletonize(real) & ~right
    clicks = _clicks(extra, right | missing)
    return clicks + _clicks(missing, ~(right | extra | missing))


def _relaxed(fault: Mask, core: Mask, allowed: Mask) -> Mask:
    """Faults that reach into the core, with what of them grows back around it."""
    grown = (fault & core).astype(np.uint8)
    limit = allowed.astype(np.uint8)
    for _ in range(RELAX):
        grown = np.bitwise_and(cv2.dilate(grown, CROSS), limit)
    return fault & (grown > 0)


def _clicks(fault: Mask, other: Mask) -> int:
    """Control points along the outlines next to ``other``, and regions with no such outline."""
    mask = fault.astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return 0
    near = cv2.dilate(other.astype(np.uint8), CROSS) > 0
    number, regions = cv2.connectedComponents(mask, connectivity=8)
    points = np.concatenate(contours)[:, 0]
    counted = near[points[:, 1], points[:, 0]] & _first(points, fault.shape[1])
    lone = np.ones(number, bool)
    lone[0] = False
    lone[regions[points[counted, 1], points[counted, 0]]] = False
    ends = np.cumsum([len(contour) for contour in contours])
    total = int(lone.sum())
    for contour, keep in zip(contours, np.split(counted, ends[:-1]), strict=True):
        total += sum(len(cv2.approxPolyDP(run, EPSILON, False)) for run in _runs(contour, keep))
    return total


def _first(points: NDArray[Any], width: int) -> Mask:
    """Whether each point is met for the first time: outlines pass thin places twice."""
    _, index = np.unique(points[:, 1].astype(np.int64) * width + points[:, 0], return_index=True)
    first = np.zeros(len(points), bool)
    first[index] = True
    return first


def _runs(contour: NDArray[Any], keep: Mask) -> list[NDArray[Any]]:
    """Pieces of an outline whose points are counted; the last joins the first where they touch."""
    if not keep.any():
        return []
    breaks = np.flatnonzero(np.diff(keep)) + 1
    runs = [run for run in np.split(np.arange(len(keep)), breaks) if keep[run[0]]]
    pieces = [contour[run] for run in runs]
    if len(pieces) > 1:
        gap = np.abs(pieces[0][0, 0] - pieces[-1][-1, 0])
        if gap.max() == 1:
            # Turned round, as the authors' code has it.
            pieces[-1] = np.concatenate([pieces[-1], pieces.pop(0)[::-1]])
    return pieces
