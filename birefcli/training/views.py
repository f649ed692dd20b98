"""What is seen of a training photo: a window, drawn and cut out of photo and truth alike.

Where a window shrinks a mask, averaging makes it soft.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.training.dataset import Bytes

Floats = NDArray[np.float32]
Rng = np.random.Generator

TILT = 12.0  # degrees
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


def draw_window(alpha: Bytes, rng: Rng, *, loose: bool = False) -> Window:
    """The whole subject, its upper half, or head and shoulders of one that stands.

    ``loose``: the window may lie beside the photo wherever its border does not cut the subject,
    which another background needs.
    """
    left, top, right, bottom = bounds(alpha)
    tall = bottom - top
    standing = tall >= STANDING * (right - left)
    kind = rng.choice(3, p=(0.3, 0.3, 0.4) if standing else (0.65, 0.35, 0))
    if kind == 0:
        height = tall * log_uniform(rng, 0.8, 1.35)
        y = (top + bottom) / 2 + tall * rng.normal(0, 0.08)
        x = (left + right) / 2
    else:
        height = tall * log_uniform(rng, *_SHARES[kind, standing])
        y = top + height * (0.5 - rng.uniform(-0.06, 0.3))
        x = head_column(alpha, top, tall)
    # Photos are stretched to a square at the end, whatever their shape.
    width = height * log_uniform(rng, 0.55, 1.5)
    reach = 0.25 if loose else 0.12
    x += width * float(np.clip(rng.normal(0, reach), -3 * reach, 3 * reach))
    rows, columns = alpha.shape
    cut = _cut_borders(alpha) if loose else (True, True, True, True)
    return Window(
        _within(x, width, columns, cut[:2]),
        _within(y, height, rows, cut[2:]),
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


def warp(picture: Bytes, window: Window, size: int) -> Floats:
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
    return unit(seen)


def unit(seen: cv2.typing.MatLike) -> Floats:
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


def _cut_borders(alpha: Bytes) -> tuple[bool, bool, bool, bool]:
    """Whether the left, right, top and bottom border cut the subject."""
    borders = (alpha[:, 0], alpha[:, -1], alpha[0], alpha[-1])
    left, right, top, bottom = (bool((border > 127).any()) for border in borders)
    return left, right, top, bottom


def _within(centre: float, length: float, limit: int, kept: Sequence[bool]) -> float:
    """Nearest centre that keeps the window inside those of the photo's two borders."""
    low = length / 2 if kept[0] else -math.inf
    high = limit - length / 2 if kept[1] else math.inf
    if low > high:
        return limit / 2
    return float(np.clip(centre, low, high))


def log_uniform(rng: Rng, low: float, high: float) -> float:
    """A random factor, as likely to double as to halve."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))
