"""The subject's own colour under a soft alpha.

Method: M. Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021 (blur fusion in two
passes). Where alpha is between 0 and 1 a photo's pixel is a mixture of subject and background; this
finds the subject's share, so that a cutout shows no fringe on another background.

Here are the method as the paper has it, and the geometry of its two quick forms for photos of any
size: :func:`.cpu.estimate_pixels`, and :func:`.gpu.estimate`. Both passes run on the photo shrunk
to two to nine megapixels, and its correction at full size. The first only looks for colours far
away, so it sums up squares of pixels; the second runs in tiles, where alpha is soft and just around
it, and leaves the first's background, which is so smooth that a narrow blur changes nothing.
"""

import math
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

WIDE, NARROW = 90, 6  # widths of the two blurs, in pixels of a photo of REFERENCE pixels
REFERENCE = 1_000_000
FINE = 1.5  # as much longer a side is than that of REFERENCE pixels, of photos that are not shrunk
SQUARE = 4  # pixels of a shrunk photo on a side, that the wide blur sums up first: it is far wider
LEAST = 128  # pixels of the shorter side where it does so
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


def smooth_foreground(alpha: Tensor, foreground: Tensor, radius: int) -> Tensor:
    """F̄ alone of :func:`blur_fusion`."""
    means = box_mean(torch.cat([foreground * alpha, alpha]), radius)
    return (means[:3] + EPSILON * foreground) / (means[3:] + EPSILON)


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


class Shrinking(NamedTuple):
    """How a photo of some size is estimated: in whole pixels, so that tiles meet on them."""

    times: int
    """How many times smaller it is for both passes, a power of two."""
    square: int
    """Side of the squares of pixels that the first pass sums up: it looks at sums far wider."""
    wide: int
    """Radius of the first pass, in such squares."""
    narrow: int
    """Radius of the second pass, in pixels of the shrunk photo."""

    @property
    def coarse(self) -> int:
        """Side of a square in pixels of the photo."""
        return self.times * self.square


def shrinking(height: int, width: int) -> Shrinking:
    """How a photo of that size is estimated."""
    scale = _scale(height, width)
    times = 1 << max(0, int(math.log2(scale / FINE)))
    square = SQUARE if min(height, width) >= LEAST * times else 1
    wide = _radius(WIDE, scale / (times * square))
    return Shrinking(times, square, wide, _radius(NARROW, scale / times))


def shrunk(pixels: NDArray[Any], times: int) -> NDArray[Any]:
    """Means of squares of ``times``² pixels of H×W or H×W×3, in their dtype.

    Incomplete squares at the ends are left out. OpenCV has a quick way to halve, which is taken as
    often as it goes.
    """
    height, width = (max(1, length // times) for length in pixels.shape[:2])
    part = pixels[: height * times, : width * times]
    while times > 1:
        step = 2 if times % 2 == 0 else times
        size = (max(1, part.shape[1] // step), max(1, part.shape[0] // step))
        part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA))
        times //= step
    return part


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
