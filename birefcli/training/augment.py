"""From one photo of a standing person to many portraits: views, other backgrounds, other light.

The truth follows from the same geometry; where a view shrinks a mask, averaging makes it soft.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.training.dataset import Bytes, Example

Floats = NDArray[np.float32]
Rng = np.random.Generator

TILT = 12.0  # degrees
COMPOSED = 0.55  # share of samples on another background
GREY = 0.12  # share of samples without colour
STANDING = 2.0  # times as tall as wide: a subject is seen from head to foot


@dataclass(frozen=True)
class Window:
    """What of a photo is seen, in its pixels; may reach beyond the photo."""

    x: float
    y: float
    """Centre."""
    width: float
    height: float
    tilt: float
    """Degrees."""
    mirrored: bool


def sample(examples: Sequence[Example], index: int, rng: Rng, size: int) -> tuple[Floats, Floats]:
    """One view: photo size×size×3 and alpha size×size, both 0..1."""
    example = examples[index]
    window = draw_window(example.alpha, rng)
    image = look(example.image, window, size)
    alpha = look(example.alpha, window, size)
    if rng.random() < COMPOSED:
        other = backdrop(examples[int(rng.integers(len(examples)))], rng, size)
        image = compose(relight(image, rng, 0.5), alpha, other, rng)
    return photograph(relight(image, rng, 1.0), rng), alpha


# Geometry


def draw_window(alpha: Bytes, rng: Rng) -> Window:
    """The whole subject, its upper half, or head and shoulders of one that stands."""
    left, top, right, bottom = bounds(alpha)
    tall = bottom - top
    standing = tall >= STANDING * (right - left)
    kind = rng.choice(3, p=(0.35, 0.3, 0.35) if standing else (0.6, 0.4, 0))
    if kind == 0:
        height = tall * _between(rng, 0.8, 1.35)
        y = (top + bottom) / 2 + tall * rng.normal(0, 0.08)
        x = (left + right) / 2
    else:
        height = tall * _between(rng, *_SHARES[kind, standing])
        y = top + height * (0.5 - rng.uniform(-0.06, 0.3))
        x = head_column(alpha, top, tall)
    # Photos are stretched to a square at the end, whatever their shape.
    width = height * _between(rng, 0.55, 1.5)
    x += width * float(np.clip(rng.normal(0, 0.12), -0.35, 0.35))
    rows, columns = alpha.shape
    return Window(
        _within(x, width, columns),
        _within(y, height, rows),
        width,
        height,
        float(np.clip(rng.normal(0, TILT / 2), -TILT, TILT)),
        bool(rng.random() < 0.5),
    )


# Height of upper halves (1) and of head and shoulders (2), as a share of the subject's. A head is
# about a seventh of a standing person, and half of a portrait that shows no more than shoulders.
_SHARES = {(1, True): (0.4, 0.8), (2, True): (0.17, 0.45), (1, False): (0.6, 0.9)}


def bounds(alpha: Bytes) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the subject, in pixels; right and bottom exclusive."""
    rows = np.flatnonzero((alpha > 127).any(1))
    columns = np.flatnonzero((alpha > 127).any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def head_column(alpha: Bytes, top: int, tall: int) -> float:
    """Mean column of the subject's topmost tenth, in pixels."""
    head = alpha[top : top + max(1, tall // 10)] > 127
    return float(np.nonzero(head)[1].mean())


def look(picture: Bytes, window: Window, size: int) -> Floats:
    """What the window shows, as size×size(×3), 0..1; border pixels go on beyond the photo."""
    # Twice the size and then the mean of four: a view that shrinks the photo needs the
    # neighbours too, and a mask averaged like this is soft where it should be.
    shrinks = max(window.width, window.height) > 1.2 * size
    across = 2 * size if shrinks else size
    matrix = _matrix(window, across)
    seen = cv2.warpAffine(
        picture, matrix, (across, across), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    if shrinks:
        seen = cv2.resize(seen, (size, size), interpolation=cv2.INTER_AREA)
    return _unit(seen)


def _unit(seen: cv2.typing.MatLike) -> Floats:
    """8-bit pixels as 0..1."""
    unit: Floats = np.asarray(seen, np.float32) * np.float32(1 / 255)
    return unit


def _matrix(window: Window, across: int) -> NDArray[np.float64]:
    """Affine map of photo pixels to view pixels, 2×3."""
    turn = math.radians(window.tilt)
    cos, sin = math.cos(turn), math.sin(turn)
    mirror = -1 if window.mirrored else 1
    scale_x, scale_y = mirror * across / window.width, across / window.height
    linear = np.array([[scale_x * cos, scale_x * sin], [-scale_y * sin, scale_y * cos]])
    # Pixel i covers i to i + 1, and warpAffine counts from pixel centres.
    shift = across / 2 - 0.5 - linear @ np.array([window.x - 0.5, window.y - 0.5])
    return np.hstack([linear, shift[:, None]])


def _within(centre: float, length: float, limit: int) -> float:
    """Nearest centre that keeps the window inside the photo, or the photo's own centre."""
    if length >= limit:
        return limit / 2
    return float(np.clip(centre, length / 2, limit - length / 2))


def _between(rng: Rng, low: float, high: float) -> float:
    """A random factor, as likely to double as to halve."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


# Backgrounds


def backdrop(example: Example, rng: Rng, size: int) -> Floats:
    """A background without a subject: a studio's, or the street behind somebody else."""
    if rng.random() < 0.4:
        return studio(rng, size)
    street = beside(example, rng, size) if rng.random() < 0.6 else behind(example, size)
    return defocus(street, rng.uniform(0, 0.04) * size) if rng.random() < 0.6 else street


def studio(rng: Rng, size: int) -> Floats:
    """A backdrop: one colour, lit unevenly."""
    colour = rng.uniform(0, 1) + rng.normal(0, 0.12, 3) * (rng.random() < 0.7)
    light = rng.normal(0, rng.uniform(0, 0.2), (3, 3, 1))
    coarse = np.clip(colour + light, 0, 1).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)


def beside(example: Example, rng: Rng, size: int) -> Floats:
    """The wider strip of street left or right of the person."""
    left, _, right, _ = bounds(example.alpha)
    width = example.alpha.shape[1]
    start, stop = (0, left) if left > width - right else (right, width)
    if stop - start < 32:
        return behind(example, size)
    length = int(min(example.alpha.shape[0], (stop - start) * rng.uniform(0.8, 2)))
    top = int(rng.integers(example.alpha.shape[0] - length + 1))
    strip = example.image[top : top + length, start:stop]
    seen = cv2.resize(strip, (size, size), interpolation=cv2.INTER_LINEAR)
    return _unit(seen)


def behind(example: Example, size: int) -> Floats:
    """The whole street, the person replaced by a blur of what is around."""
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


def compose(image: Floats, alpha: Floats, behind_it: Floats, rng: Rng) -> Floats:
    """The subject before another background.

    The seam is drawn half a pixel inside the mask and a little soft: the outermost pixels of a
    binary mask still hold the old background.
    """
    inner = np.clip(defocus(alpha, rng.uniform(0.5, 1.2)) * 2 - 1, 0, 1)
    mix = np.minimum(alpha, 0.7 * inner + 0.3 * alpha)[..., None]
    return np.asarray(mix * image + (1 - mix) * behind_it, np.float32)


# Light and camera


def relight(image: Floats, rng: Rng, strength: float) -> Floats:
    """Exposure, gamma, contrast, white balance and saturation, each a little off."""
    out = image ** np.float32(math.exp(rng.normal(0, 0.3 * strength)))
    gain = np.exp(rng.normal(0, 0.08 * strength, 3) + rng.normal(0, 0.15 * strength))
    out = out * gain.astype(np.float32)
    contrast = math.exp(rng.normal(0, 0.2 * strength))
    out = (out - 0.5) * contrast + 0.5
    grey = out.mean(2, keepdims=True)
    out = grey + (out - grey) * math.exp(rng.normal(0, 0.3 * strength))
    relit: Floats = np.clip(out, 0, 1)
    return relit


def photograph(image: Floats, rng: Rng) -> Floats:
    """What a camera and a file format add: black and white, softness, noise."""
    if rng.random() < GREY:
        image = np.repeat(image @ np.array([[0.299], [0.587], [0.114]], np.float32), 3, 2)
    if rng.random() < 0.25:
        image = defocus(image, rng.uniform(0.3, 1.2))
    if rng.random() < 0.3:
        noise = rng.standard_normal(image.shape, np.float32)
        image = image + np.float32(rng.uniform(0.005, 0.04)) * noise
    return np.clip(image, 0, 1)
