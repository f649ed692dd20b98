"""What is behind a subject in training: a studio, what is behind somebody else, a picture."""

from collections.abc import Sequence

import cv2
import numpy as np

from birefcli.training.dataset import Bytes, Example
from birefcli.training.views import Floats, Rng, bounds, log_uniform, unit

PICTURES = 0.65
"""Share of backgrounds that are pictures, where there are such."""


def backdrop(examples: Sequence[Example], pictures: Sequence[Bytes], rng: Rng, size: int) -> Floats:
    """A background without a subject, size×size×3 of 0..1: a picture, a studio's, a photo's.

    ``pictures``: H×W×3, RGB, without people. The last is what is behind one of the examples.
    """
    if pictures and rng.random() < PICTURES:
        return picture(pictures[int(rng.integers(len(pictures)))], rng, size)
    if rng.random() < 0.4:
        return studio(rng, size)
    example = examples[int(rng.integers(len(examples)))]
    own = beside(example, rng, size) if rng.random() < 0.6 else behind(example, size)
    return defocus(own, rng.uniform(0, 0.04) * size) if rng.random() < 0.6 else own


def picture(whole: Bytes, rng: Rng, size: int) -> Floats:
    """A part of a picture, mirrored or not, and sometimes out of focus: size×size×3 of 0..1."""
    rows, columns = whole.shape[:2]
    shape = log_uniform(rng, 0.6, 1.6)  # width to height: a view is stretched to a square
    height = min(rows, columns / shape) * log_uniform(rng, 0.35, 1)
    width = height * shape
    top, left = rng.uniform(0, rows - height), rng.uniform(0, columns - width)
    part = whole[
        int(top) : int(top) + max(2, int(height)), int(left) : int(left) + max(2, int(width))
    ]
    shrinks = height > size
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    seen = unit(cv2.resize(part, (size, size), interpolation=way))
    if rng.random() < 0.5:
        seen = seen[:, ::-1]
    return defocus(seen, rng.uniform(0, 0.02) * size) if rng.random() < 0.4 else seen


def studio(rng: Rng, size: int) -> Floats:
    """A backdrop: one colour, lit unevenly."""
    colour = rng.uniform(0, 1) + rng.normal(0, 0.12, 3) * (rng.random() < 0.7)
    light = rng.normal(0, rng.uniform(0, 0.2), (3, 3, 1))
    coarse = np.clip(colour + light, 0, 1).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)


def beside(example: Example, rng: Rng, size: int) -> Floats:
    """The wider strip left or right of the person."""
    left, _, right, _ = bounds(example.alpha)
    width = example.alpha.shape[1]
    start, stop = (0, left) if left > width - right else (right, width)
    if stop - start < 32:
        return behind(example, size)
    length = int(min(example.alpha.shape[0], (stop - start) * rng.uniform(0.8, 2)))
    top = int(rng.integers(example.alpha.shape[0] - length + 1))
    strip = example.image[top : top + length, start:stop]
    seen = cv2.resize(strip, (size, size), interpolation=cv2.INTER_LINEAR)
    return unit(seen)


def behind(example: Example, size: int) -> Floats:
    """The whole photo, the person replaced by a blur of what is around."""
    small = (size // 4, size // 4)
    image = cv2.resize(example.image, small, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    alpha = cv2.resize(example.alpha, small, interpolation=cv2.INTER_AREA)
    reach = cv2.dilate(alpha, np.ones((3, 3), np.uint8))
    known = (reach < 8).astype(np.float32)[..., None]
    # Normalised convolution (Knutsson & Westin, CVPR 1993), wide enough to cross the person.
    blurred = cv2.GaussianBlur(np.concatenate([image * known, known], 2), (0, 0), size / 32)
    wide = cv2.GaussianBlur(np.concatenate([image * known, known], 2), (0, 0), size / 8)
    total = blurred + 1e-3 * wide
    filled = image * known + (1 - known) * total[..., :3] / np.maximum(total[..., 3:], 1e-9)
    large = cv2.resize(filled, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.clip(np.asarray(large, np.float32), 0, 1)


def defocus(image: Floats, sigma: float) -> Floats:
    """Gaussian blur; ``sigma`` in pixels."""
    if sigma < 0.3:
        return image
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)
