"""Metrics of matting, on the soft alpha: SAD, MSE, MAD, gradient and connectivity error; IoU.

Rhemann et al., "A perceptually motivated online benchmark for image matting", CVPR 2009, in the
units of Xu et al., "Deep Image Matting", CVPR 2017: sums divided by 1000. Alphas are H×W float64,
0 background to 1 subject.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Alpha = NDArray[np.float64]
Mask = NDArray[np.bool_]
Trimap = NDArray[np.uint8]

UNSURE = 128  # in a trimap; 0 is background, 255 subject
SIGMA = 1.4  # pixels, of the gradient's Gaussian
STEPS = 10  # thresholds of the connectivity error
SLACK = 0.15  # alpha by which a pixel may exceed its connected level


@dataclass(frozen=True)
class Differences:
    """The errors of one matte that look at each pixel alone. A mean over no pixel is None."""

    sad: float
    mse: float | None
    mad: float | None


@dataclass(frozen=True)
class Errors(Differences):
    """The five errors of one matte."""

    grad: float
    conn: float


def errors(prediction: Alpha, truth: Alpha, trimap: Trimap | None = None) -> Errors:
    """Errors over the whole image, or over a trimap's unknown region (0, 128, 255: H×W).

    With a trimap, a prediction first takes its values where it is sure, as a method that was given
    that trimap would. SAD, MSE and MAD then count every difference that is left (also where the
    truth contradicts the trimap), the means per unknown pixel; Grad and Conn are summed over the
    unknown region.
    """
    where: Mask | None = None
    if trimap is not None:
        where = trimap == UNSURE
        prediction = np.where(where, prediction, trimap / 255.0)
    found = differences(prediction, truth, None if where is None else int(where.sum()))
    return Errors(
        found.sad,
        found.mse,
        found.mad,
        gradient_error(prediction, truth, where),
        connectivity_error(prediction, truth, where),
    )


def differences(prediction: Alpha, truth: Alpha, pixels: int | None = None) -> Differences:
    """SAD, and MSE and MAD as means over so many ``pixels``; None for all."""
    pixels = truth.size if pixels is None else pixels
    difference = np.abs(prediction - truth)
    total, squares = float(difference.sum()), float((difference**2).sum())
    return Differences(
        sad=total / 1000,
        mse=squares / pixels if pixels else None,
        mad=total / pixels if pixels else None,
    )


def mean_iou(prediction: Alpha, truth: Alpha) -> float:
    """Mean of subject's and background's intersection over union, 0..1, both cut at one half.

    A class that neither has counts as 1.
    """
    found, real = prediction > 0.5, truth > 0.5
    return (_iou(found, real) + _iou(~found, ~real)) / 2


def _iou(found: Mask, real: Mask) -> float:
    either = int((found | real).sum())
    return int((found & real).sum()) / either if either else 1.0


def gradient_error(prediction: Alpha, truth: Alpha, where: Mask | None = None) -> float:
    """Squared difference of gradient magnitudes, summed, over 1000."""
    squares = (_gradient(prediction) - _gradient(truth)) ** 2
    return float((squares if where is None else squares[where]).sum() / 1000)


def _kernels() -> tuple[Alpha, Alpha]:
    """A Gaussian, and its derivative; their product has the sum of squares 1, as published."""
    half = int(np.ceil(SIGMA * np.sqrt(-2 * np.log(np.sqrt(2 * np.pi) * SIGMA * 1e-2))))
    x = np.arange(-half, half + 1)
    smooth = np.exp(-(x**2) / (2 * SIGMA**2))
    slope = x * smooth
    return smooth / np.linalg.norm(smooth), slope / np.linalg.norm(slope)


SMOOTH, SLOPE = _kernels()


def _gradient(alpha: Alpha) -> Alpha:
    across = cv2.sepFilter2D(alpha, cv2.CV_64F, SLOPE, SMOOTH, borderType=cv2.BORDER_REPLICATE)
    down = cv2.sepFilter2D(alpha, cv2.CV_64F, SMOOTH, SLOPE, borderType=cv2.BORDER_REPLICATE)
    # cv2.magnitude rounds by where in memory its result lies: equal mattes would differ.
    return np.asarray(np.sqrt(np.square(across) + np.square(down)), np.float64)


def connectivity_error(prediction: Alpha, truth: Alpha, where: Mask | None = None) -> float:
    """How much of each alpha is not connected to the common subject, compared, over 1000.

    Thresholds are 0.1, 0.2, … 1; a pixel's level is the last at which it belongs to the largest
    region, 4-connected, where prediction and truth both reach the threshold.
    """
    level = _connected(np.minimum(prediction, truth))
    difference = np.abs(_loose(prediction, level) - _loose(truth, level))
    return float((difference if where is None else difference[where]).sum() / 1000)


def _connected(common: Alpha) -> Alpha:
    """The last threshold up to which a pixel stayed in the largest region."""
    level = np.ones_like(common)
    out = np.zeros(common.shape, bool)
    for step in range(1, STEPS + 1):
        lost = ~_largest(common >= step / STEPS) & ~out
        level[lost] = (step - 1) / STEPS
        out |= lost
    return level


def _largest(mask: Mask) -> Mask:
    """The largest 4-connected region; nothing where there is none."""
    number, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=4
    )
    if number < 2:
        return np.zeros_like(mask)
    largest: Mask = labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    return largest


def _loose(alpha: Alpha, level: Alpha) -> Alpha:
    over = alpha - level
    return np.where(over >= SLACK, over, 0)


def derived_trimap(truth: Alpha, radius: int) -> Trimap:
    """A trimap of the truth: unknown is all within ``radius`` pixels of what is not sure.

    Sure background and subject are alpha 0 and 1 exactly, and pixels whose whole neighbourhood is.
    """
    trimap = np.full(truth.shape, UNSURE, np.uint8)
    for sure, value in ((truth >= 1, 255), (truth <= 0, 0)):
        if sure.all():
            trimap[:] = value
            continue
        inner = cv2.distanceTransform(sure.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        trimap[inner > radius] = value
    return trimap


def read_trimap(grey: NDArray[np.uint8]) -> Trimap:
    """Background, unknown, subject of a grey picture, which JPEG may have blurred: 0, 128, 255."""
    parts: Trimap = np.array([0, UNSURE, 255], np.uint8)[np.digitize(grey, [64, 192])]
    return parts
