"""Whose colours a photo's pixels have: the subject's, or those of the background around it.

Colours of the subject well within its outline are compared with those of the background nearby, as
in histogram back projection (Swain and Ballard, "Color Indexing", IJCV 1991).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.products.quality.small_matte import Plane, SmallMatte

AROUND = 0.5  # of the subject's size: how far off the background counts as nearby
LEVELS = 16  # of a channel, in histograms of colours
RARE = 1e-5  # share of pixels below which a colour is unknown

_NEIGHBOURS = (2 * np.eye(LEVELS) + np.eye(LEVELS, k=1) + np.eye(LEVELS, k=-1)).astype(
    np.float32
) / 4
"""A level of colour is also the levels beside it: noise."""


def share_of_subject(matte: SmallMatte, photo: Plane, sure: float) -> Plane:
    """Share of the subject among pixels of each pixel's colour, 0..1; one half where unknown.

    ``photo``: H×W×3, RGB, 0..1; ``sure``: pixels from the outline where colours are the subject's
    or the background's alone.
    """
    levels = np.minimum(photo * LEVELS, LEVELS - 1).astype(np.int32)
    colour = (levels[..., 0] * LEVELS + levels[..., 1]) * LEVELS + levels[..., 2]
    alpha = matte.alpha
    subject = _histogram(colour[(alpha > 0.95) & (matte.depth > sure)])
    away = (matte.outside > sure) & (matte.outside < AROUND * matte.size)
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
