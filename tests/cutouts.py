"""Alphas and cutouts of a disc, for tests of what looks at mattes."""

import numpy as np
from PIL import Image


def disc(width=120, height=90, soft=0.03):
    """Alpha of a disc in the middle, H×W of 0..255."""
    y, x = np.mgrid[0:height, 0:width]
    radius = np.hypot((x / width - 0.5) * 2, (y / height - 0.5) * 2)
    return np.rint(np.clip((0.7 - radius) / soft + 0.5, 0, 1) * 255).astype(np.uint8)


def cutout(alpha, colour=(30, 90, 200)):
    rgba = np.empty((*alpha.shape, 4), np.uint8)
    rgba[..., :3], rgba[..., 3] = colour, alpha
    return Image.fromarray(rgba)
