"""The subject's own colour under a soft alpha.

Method: M. Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021 (blur fusion in two
passes). Where alpha is between 0 and 1 a photo's pixel is a mixture of subject and background; this
finds the subject's share, so that a cutout shows no fringe on another background.

Here are the method as the paper has it, and the geometry of its two quick forms for photos of any
size: :func:`.cpu.estimate_pixels`, and :func:`.gpu.estimate`. Their first pass only looks for
colours far away, so it runs on the photo shrunk to about a megapixel; the second runs at full size,
in tiles, where alpha is soft and just around it.
"""

import math

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from birefcli.images.photo import Pixels

WIDE, NARROW = 90, 6  # widths of the two blurs, in pixels of a photo of REFERENCE pixels
REFERENCE = 1_000_000
EPSILON = 1e-5
AROUND = 8  # pixels around soft alpha that are estimated too: whoever scales a cutout mixes them in
FAINT = 0.5 / 255  # alpha nearer to 0 or 1 than this is neither soft nor seen in 8 bits


def box_mean(x: Tensor, radius: int) -> Tensor:
    """Mean over squares of 2·radius+1 pixels, cut off at the borders: C×H×W to the same.

    The cost does not depend on the radius.
    """
    return _running_mean(_running_mean(x, radius).mT, radius).mT


def _running_mean(x: Tensor, radius: int) -> Tensor:
    length = x.shape[-1]
    radius = min(radius, length - 1)
    # In blocks as long as the box, every box is the end of one and the start of the next. The
    # difference of two sums over the whole row would drown what is faint in what is bright.
    box = 2 * radius + 1
    blocks = -(-length // box) + 1
    padded = F.pad(x, (radius, blocks * box - radius - length))
    cut = padded.view(*x.shape[:-1], blocks, box)
    starts = F.pad(cut[..., :-1].cumsum(-1), (1, 0)).flatten(-2)
    ends = cut.flip(-1).cumsum(-1).flip(-1).flatten(-2)
    sums: Tensor = ends[..., :length] + starts[..., box : box + length]
    at = torch.arange(length, device=x.device)
    return sums / ((at + radius + 1).clamp(max=length) - (at - radius).clamp(min=0))


def blur_fusion(
    alpha: Tensor, foreground: Tensor, background: Tensor, radius: int
) -> tuple[Tensor, Tensor]:
    """One pass: smooth foreground and background around each pixel, before the correction.

    ``foreground``, ``background``: 3×H×W, 0..1, what the pass before it knew; ``alpha``: 1×H×W,
    0..1. Returns the alpha-weighted box means (F̄, B̄), each 3×H×W. The paper's ε keeps the
    denominator from zero; here it also weighs the value of the pass before, so that a pixel with
    no subject near keeps a colour instead of turning black.
    """
    stack = torch.cat([foreground * alpha, alpha, background * (1 - alpha)])
    means = box_mean(stack, radius)
    weight = means[3:4]
    return (
        (means[:3] + EPSILON * foreground) / (weight + EPSILON),
        (means[4:] + EPSILON * background) / (1 - weight + EPSILON),
    )


def correct(image: Tensor, alpha: Tensor, smooth: Tensor, background: Tensor) -> Tensor:
    """Foreground 3×H×W that explains the photo: F̄ + α·(I − α·F̄ − (1−α)·B̄), in 0..1."""
    mixed = alpha * smooth + (1 - alpha) * background
    return (smooth + alpha * (image - mixed)).clamp(0, 1)


def estimate(image: Tensor, alpha: Tensor) -> Tensor:
    """Foreground colour of a photo: both passes at full size, as the paper has them.

    ``image``: float 3×H×W, 0..1; ``alpha``: float 1×H×W, 0..1, same device. Returns 3×H×W, 0..1,
    equal to ``image`` where alpha is 1.
    """
    scale = _scale(alpha.shape[1], alpha.shape[2])
    f, b = blur_fusion(alpha, image, image, _radius(WIDE, scale))
    f = correct(image, alpha, f, b)
    f, b = blur_fusion(alpha, f, b, _radius(NARROW, scale))
    return torch.where(alpha >= 1, image, correct(image, alpha, f, b))


def _scale(height: int, width: int) -> float:
    """How many times longer a side is than that of a photo of the reference size, at least 1."""
    return max(1.0, math.sqrt(height * width / REFERENCE))


def _radius(width: int, scale: float) -> int:
    return max(1, round(width * scale / 2))


def shrinking(height: int, width: int) -> tuple[int, int, int]:
    """How a photo of that size is estimated: times it is shrunk for the first pass, and both radii.

    A whole number of times: shrinking and enlarging are quicker, and tiles meet on whole pixels.
    """
    scale = _scale(height, width)
    times = round(scale)
    return times, _radius(WIDE, scale / times), _radius(NARROW, scale)


def shrunk(pixels: Pixels, times: int) -> Pixels:
    """Means of squares of ``times``² pixels of H×W or H×W×3; an incomplete last one is left out."""
    if times == 1:
        return pixels
    height, width = (max(1, length // times) for length in pixels.shape[:2])
    part = pixels[: height * times, : width * times]
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA))


def tiles(wanted: NDArray[np.bool_], side: int) -> list[tuple[slice, slice]]:
    """Tiles of ``side``² that hold wanted pixels, tightened to the pixels' bounding box."""
    found = []
    for top in range(0, wanted.shape[0], side):
        for left in range(0, wanted.shape[1], side):
            part = wanted[top : top + side, left : left + side]
            rows = np.flatnonzero(part.any(1))
            if not rows.size:
                continue
            columns = np.flatnonzero(part.any(0))
            found.append(
                (
                    slice(top + int(rows[0]), top + int(rows[-1]) + 1),
                    slice(left + int(columns[0]), left + int(columns[-1]) + 1),
                )
            )
    return found
