"""Photos to measure and check with where none are given: as cameras make them, without anybody."""

import cv2
import numpy as np
from numpy.typing import NDArray

ASPECT = 3 / 4  # width to height: a portrait, held upright
QUALITY = 90  # of the JPEG; what phones and cameras write is near it
GRAIN = 5.0  # standard deviation of sensor noise, of 255
STRANDS = 220  # hairs: they make alpha soft where it counts


def photo(megapixels: float, seed: int) -> bytes:
    """JPEG of a person-like figure before a blurred background; the same for the same ``seed``.

    Smooth gradients, texture, noise as of a sensor, and an outline with single hairs: it costs a
    decoder, an encoder and the colour estimation about what a real portrait costs.
    """
    noise = np.random.default_rng(seed)
    height = max(32, round((megapixels * 1e6 / ASPECT) ** 0.5))
    width = max(32, round(height * ASPECT))
    picture = _smooth(noise, (height, width), 5, 25.0) + _smooth(noise, (height, width), 40, 6.0)
    picture += np.linspace(150, 80, height, dtype=np.float32)[:, None, None]
    alpha = _figure(noise, height, width)[:, :, None]
    skin = np.array([120, 160, 215], np.float32)  # OpenCV's order: blue, green, red
    person = skin + _smooth(noise, (height, width), 24, 12.0)
    picture += (person - picture) * alpha
    picture += noise.standard_normal((height, width, 1), np.float32) * np.float32(GRAIN)
    ok, data = cv2.imencode(
        ".jpg", picture.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    )
    assert ok
    return bytes(data)


def _smooth(
    noise: np.random.Generator, size: tuple[int, int], cells: int, strength: float
) -> NDArray[np.float32]:
    """Colours that change over ``cells`` cells along a side: H×W×3 around zero."""
    coarse = noise.standard_normal((cells, cells, 3), np.float32) * np.float32(strength)
    enlarged = cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(enlarged, np.float32)


def _figure(noise: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Alpha of head, shoulders and hair: H×W, 0..1."""
    shape = np.zeros((height, width), np.uint8)
    middle, top = width // 2, round(0.34 * height)
    head = (round(0.17 * width), round(0.17 * height))
    cv2.ellipse(shape, (middle, top), head, 0, 0, 360, 255, -1, cv2.LINE_AA)
    chest = (round(0.40 * width), round(0.50 * height))
    cv2.ellipse(shape, (middle, height), chest, 0, 0, 360, 255, -1, cv2.LINE_AA)
    thick = max(1, round(height / 2500))
    for _ in range(STRANDS):
        cv2.polylines(shape, [_strand(noise, middle, top, head)], False, 200, thick, cv2.LINE_AA)
    soft = cv2.GaussianBlur(shape, (0, 0), max(0.6, height / 1500))
    alpha: NDArray[np.float32] = soft.astype(np.float32)
    alpha /= 255
    return alpha


def _strand(noise: np.random.Generator, x: int, y: int, head: tuple[int, int]) -> NDArray[np.int32]:
    """One hair that leaves the head: points of a curve, n×1×2."""
    start, bend = noise.uniform(np.pi, 2 * np.pi), noise.normal(0, 0.35)
    reach = np.linspace(0.95, noise.uniform(1.1, 1.5), 12)
    angle = start + bend * (reach - 1) * 2
    points = np.stack([x + head[0] * reach * np.cos(angle), y + head[1] * reach * np.sin(angle)], 1)
    curve: NDArray[np.int32] = points.round().astype(np.int32)
    return curve[:, None]
