"""A soft shadow on the ground that a subject stands on, guessed from its alpha.

Nothing is known of the light or of the ground. The subject is taken to stand upright on a level
floor, lit from above: the lowest part of its outline, pressed flat, darkens where it touches, and
the whole of it, pressed flat and more blurred, darkens around.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.images.photo import to_unit
from birefcli.products.layout import subject_box

SIDE = 256  # pixels of a subject's longer side at which a shadow is drawn: it holds no finer detail
FOOT = 0.12  # share of the subject's height that touches the ground
# (share of the height that is pressed, height it is pressed to, blur's sigma, darkness); heights
# and blurs are shares of the subject's longer side.
CONTACT = (FOOT, 0.02, 0.012, 0.55)
AROUND = (0.6, 0.05, 0.03, 0.4)
DENSE = 1.5  # times the mean of a column's alpha that its shadow has, up to 1


def soft_shadow(alpha: NDArray[np.uint16]) -> NDArray[np.float32] | None:
    """How dark the ground is, 0..1: H×W, as ``alpha``; None without a subject."""
    box = subject_box(alpha)
    if box is None:
        return None
    height, width = alpha.shape
    step = max(1.0, max(box.size) / SIDE)
    small = (max(1, round(width / step)), max(1, round(height / step)))
    low = cv2.resize(to_unit(alpha), small, interpolation=cv2.INTER_AREA)
    scale = small[0] / width, small[1] / height
    left, right = int(box.left * scale[0]), max(1, round(box.right * scale[0]))
    top, bottom = int(box.top * scale[1]), max(1, round(box.bottom * scale[1]))
    subject = np.asarray(low, np.float32).reshape(small[1], small[0])[top:bottom, left:right]
    light = np.ones((small[1], small[0]), np.float32)
    for layer in (AROUND, CONTACT):
        light = light * (1 - _layer(subject, layer, light.shape, left, bottom))
    dark = cv2.resize(1 - light, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(dark, np.float32).reshape(height, width)


def _layer(
    subject: NDArray[np.float32],
    layer: tuple[float, float, float, float],
    shape: tuple[int, ...],
    left: int,
    bottom: int,
) -> NDArray[np.float32]:
    """One part of the subject, pressed flat at its lowest row, and blurred: H×W of ``shape``."""
    share, flat, blur, darkness = layer
    height, width = subject.shape
    longer = max(subject.shape)
    part = subject[height - max(1, round(share * height)) :]
    rows = max(1, round(flat * longer))
    # The more of it is above a place, the darker is the ground there.
    outline = np.minimum(1, np.float32(DENSE) * part.mean(0, keepdims=True, dtype=np.float32))
    pressed = cv2.resize(outline, (width, rows), interpolation=cv2.INTER_LINEAR)
    room = 4 * max(2, round(4 * blur * longer))  # so that the blur ends within it
    ground = np.zeros((shape[0] + 2 * room, shape[1] + 2 * room), np.float32)
    top = room + bottom - rows // 2
    ground[top : top + rows, room + left : room + left + width] = pressed.reshape(rows, width)
    soft = cv2.GaussianBlur(ground, (0, 0), max(0.5, blur * longer))
    return np.asarray(soft[room:-room, room:-room] * darkness, np.float32)
