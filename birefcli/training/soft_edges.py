"""Soft edges for binary masks: a mask cut pixel by pixel must not teach a network hard edges."""

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

RADIUS = 4
"""Of the filter, in pixels: how far from a mask's edge the truth may be soft."""
EPSILON = 1e-3
"""Variance, of values 0..1, below which a neighbourhood counts as flat."""

BINARY = 0.25
"""Soft pixels for each step between subject and background up to which a mask counts as binary: an
antialiased edge has about one, a mask stored as JPEG 0.1."""
MARGIN = 16
"""Of 255: how near to black or white a pixel counts as such; JPEG again."""


def is_binary(mask: Bytes) -> bool:
    """Whether a mask H×W, 0..255, was cut pixel by pixel."""
    soft = np.count_nonzero((mask > MARGIN) & (mask < 255 - MARGIN))
    subject = mask > 127
    steps = np.count_nonzero(subject[1:] != subject[:-1])
    steps += np.count_nonzero(subject[:, 1:] != subject[:, :-1])
    return bool(soft <= BINARY * steps)


def soften(image: Bytes, mask: Bytes) -> Bytes:
    """Let a mask's edge follow the photo's.

    ``image``: H×W×3, RGB; ``mask``: H×W, 0..255. The guided filter (He et al., "Guided Image
    Filtering", ECCV 2010) explains the mask around each pixel as a linear function of the photo's
    brightness, so strands of hair leave the mask and gaps between them enter it. Beyond two radii
    of an edge the mask stays as it is. Returns H×W, 0..255.
    """
    guide = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    truth = mask.astype(np.float32) / 255
    mean_i, mean_p = _mean(guide), _mean(truth)
    slope = (_mean(guide * truth) - mean_i * mean_p) / (_mean(guide**2) - mean_i**2 + EPSILON)
    offset = mean_p - slope * mean_i
    soft = np.clip(_mean(slope) * guide + _mean(offset), 0, 1)
    # Where the photo shows no edge the filter only blurs; a steeper ramp is nearer the truth.
    steep = np.clip((soft - 0.5) * 1.6 + 0.5, 0, 1)
    return np.asarray(np.rint(steep * 255), np.uint8)


def _mean(values: cv2.typing.MatLike) -> cv2.typing.MatLike:
    side = 2 * RADIUS + 1
    return cv2.blur(values, (side, side), borderType=cv2.BORDER_REPLICATE)
