"""How well edges are met: mean boundary accuracy, and boundary IoU."""

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.scoring.metrics.saliency import Counts, Floats, Maps, positives

CUT = 128
STEPS = 5  # widths of the band around the edge that mBA looks at
WIDTH = 0.02  # of the band of boundary IoU, as a share of the picture's diagonal


def boundary_accuracy(prediction: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Mean boundary accuracy, 0..1 (Cheng et al., CascadePSP, CVPR 2020, section 4).

    Maps are H×W, 0..255, both cut at 128. Where the truth has no edge: 1 if the prediction has none
    either, else 0.
    """
    found, real = (prediction > CUT).astype(np.uint8), (truth > CUT).astype(np.uint8)
    if real.min() == real.max():
        return float(found.min() == found.max())
    right = found == real
    widest = sum(truth.shape) / 300
    radii = [1 + int((widest - 1) / STEPS * step) for step in range(STEPS)]
    shares = {radius: _share(right, real, radius) for radius in set(radii)}
    return sum(shares[radius] for radius in radii) / STEPS


def _share(right: NDArray[np.bool_], real: NDArray[np.uint8], radius: int) -> float:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    band = cv2.morphologyEx(real, cv2.MORPH_GRADIENT, kernel) > 0
    return float(right[band].sum() / band.sum())


def boundary_iou_curve(maps: Maps) -> Floats:
    """Boundary IoU at the thresholds 255..0: 256 values (Cheng et al., CVPR 2021).

    As BiRefNet's table has it: the boundary of a grey prediction is what erosion takes from it.
    """
    found = _edge(maps.levels[maps.prediction])
    real = _edge(maps.truth.astype(np.uint8) * 255) > CUT
    index = found.astype(np.uint16)
    index += np.uint16(256) * real
    counts: Counts = np.bincount(index.ravel(), minlength=512).reshape(2, 256)
    inside, outside = positives(counts, np.arange(256, dtype=np.uint8))
    return inside / (max(int(real.sum()), 1) + outside)


def _edge(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = mask.shape
    steps = max(1, round(WIDTH * float(np.sqrt(height**2 + width**2))))
    # A frame of background: a subject cut off by the picture has a boundary there.
    framed = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(framed, np.ones((3, 3), np.uint8), iterations=steps)
    return np.asarray(mask - eroded[1:-1, 1:-1], np.uint8)
