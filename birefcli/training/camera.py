"""What light, a camera and a file format do to a picture in training."""

import math

import cv2
import numpy as np

from birefcli.training.backdrops import defocus
from birefcli.training.views import Floats, Rng, log_uniform, unit

GREY = 0.1  # share of samples without colour
DARK = 0.07  # taken in little light
SLOPED = 0.2  # lit from one side
SMALL = 0.35  # enlarged from fewer pixels
JPEG = 0.4  # stored with loss
MOTION_BLUR = 0.08  # shaken
SHARPENED = 0.1  # as phones do


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


def degrade(image: Floats, rng: Rng) -> Floats:
    """What a camera and a file format add to a picture H×W×3 of 0..1; the same shape and range."""
    if rng.random() < GREY:
        image = np.repeat(image @ np.array([[0.299], [0.587], [0.114]], np.float32), 3, 2)
    if rng.random() < DARK:
        image = image * np.float32(log_uniform(rng, 0.15, 0.6))
    if rng.random() < SLOPED:
        image = image * _slope(image.shape[0], rng)
    if rng.random() < 0.2:
        image = defocus(image, rng.uniform(0.3, 1.2))
    if rng.random() < MOTION_BLUR:
        image = _motion_blur(image, rng)
    small = rng.random() < SMALL
    side = image.shape[0]
    if small:
        image = _resized(image, max(8, round(side * log_uniform(rng, 0.3, 0.9))), cv2.INTER_AREA)
    if rng.random() < 0.35:
        noise = rng.standard_normal(image.shape, np.float32)
        image = image + np.float32(log_uniform(rng, 0.005, 0.06)) * noise
    if rng.random() < SHARPENED:
        image = image + np.float32(rng.uniform(0.3, 1.2)) * (image - defocus(image, 1.2))
    image = np.clip(image, 0, 1)
    if rng.random() < JPEG:
        image = _jpeg_compressed(image, int(rng.integers(25, 92)))
    if small:
        image = np.clip(_resized(image, side, int(rng.choice(_ENLARGING))), 0, 1)
    return image


_ENLARGING = (cv2.INTER_LINEAR, cv2.INTER_LINEAR, cv2.INTER_CUBIC)


def _slope(side: int, rng: Rng) -> Floats:
    """Light that changes from one side to the other: side×side×1."""
    turn, depth = rng.uniform(0, 2 * math.pi), rng.uniform(0.2, 0.7)
    at = np.linspace(-0.5, 0.5, side, dtype=np.float32)
    along = math.cos(turn) * at[None, :] + math.sin(turn) * at[:, None]
    return np.asarray(1 + depth * along, np.float32)[..., None]


def _motion_blur(image: Floats, rng: Rng) -> Floats:
    """Motion along a line of a few pixels."""
    length = int(rng.integers(3, 10))
    line = np.zeros((length, length), np.float32)
    turn = rng.uniform(0, math.pi)
    across = (length - 1) / 2 * np.array([math.cos(turn), math.sin(turn)])
    middle = (length - 1) / 2
    start, end = (tuple(np.rint(middle + s * across).astype(int).tolist()) for s in (-1, 1))
    cv2.line(line, start, end, 1.0)
    return np.asarray(cv2.filter2D(image, -1, line / line.sum()), np.float32)


def _resized(image: Floats, side: int, way: int) -> Floats:
    return np.asarray(cv2.resize(image, (side, side), interpolation=way), np.float32)


def _jpeg_compressed(image: Floats, quality: int) -> Floats:
    """Written as JPEG and read again."""
    levels = np.rint(image * 255).astype(np.uint8)
    _, file = cv2.imencode(".jpg", levels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    read = cv2.imdecode(file, cv2.IMREAD_COLOR)
    assert read is not None
    return unit(read[..., ::-1])
