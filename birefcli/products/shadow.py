"""A soft shadow on the ground that a subject stands on, guessed from its alpha.

Nothing is known of the light or of the ground. The subject is taken to stand upright on a level
floor, lit from above. It touches the floor where its outline is lowest: at each foot, also one
that stands further back, and so higher in the picture. There the floor is darkest; the whole
subject, pressed flat at the height of its feet and more blurred, darkens around.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.images.photo import to_unit
from birefcli.options import Size
from birefcli.products.layout import Box, subject_box

SIDE = 512  # pixels of a subject's longer side at which a shadow is drawn: it holds no finer detail
# Shares of the subject's height: within the first of its lowest row an outline touches the floor,
# within the second less and less.
FOOT, NO_FOOT = 0.09, 0.13
NEARBY = 0.04  # share of the longer side within which a lower part of the outline is what touches
LIFTED = 0.03  # share of the longer side by which an outline may be higher, and touch
WHOLE = 0.6  # share of the height, from below, that darkens around
DENSE = 1.5  # times the mean of a column's alpha that its shadow has, up to 1


class _Layer(NamedTuple):
    """A part of the shadow. Its sizes are shares of the subject's longer side."""

    behind: float
    """How far up it reaches from where the subject touches, before it is blurred,"""
    before: float
    """and how far down: less, so that it is darkest at the sole."""
    blur: float
    """Sigma across; it is half as much down, as a floor is seen at a slant."""
    darkness: float


CONTACT = _Layer(0.02, 0.003, 0.008, 0.9)
NEAR = _Layer(0.03, 0.012, 0.03, 0.75)
AROUND = _Layer(0.03, 0.022, 0.055, 0.45)
REACH = 0.06  # share of the longer side below the subject to which a shadow is seen
FADED = 0.3  # share of the longer side around the subject beyond which there is none at all


def soft_shadow(alpha: NDArray[np.uint16]) -> NDArray[np.float32] | None:
    """How dark the ground is, 0..1: H×W, as ``alpha``; None without a subject."""
    box = subject_box(alpha)
    if box is None:
        return None
    dark = np.zeros(alpha.shape, np.float32)
    room = 1 + round(FADED * max(box.size))
    left, top = max(0, box.left - room), max(0, box.top - room)
    part = slice(top, box.bottom + room), slice(left, box.right + room)
    height, width = dark[part].shape
    step = max(1.0, max(box.size) / SIDE)
    small = Size(max(1, round(width / step)), max(1, round(height / step)))
    low = cv2.resize(alpha[part], small, interpolation=cv2.INTER_AREA)
    seen = to_unit(np.asarray(low, np.uint16).reshape(small.height, small.width))
    inside = Box(box.left - left, box.top - top, box.right - left, box.bottom - top)
    drawn = cv2.resize(_drawn(seen, _shrunk(inside, step, small)), (width, height))
    dark[part] = np.asarray(drawn).reshape(height, width)
    return dark


def shadow_end(subject: Box) -> int:
    """The row below the subject's box down to which its shadow is seen."""
    return subject.bottom + round(REACH * max(subject.size))


def _shrunk(box: Box, step: float, size: Size) -> Box:
    """A box of a picture that is shrunk to that size; it has a pixel at least."""
    left, top = (min(int(box[n] / step), size[n] - 1) for n in (0, 1))
    right, bottom = (min(round(box[n] / step), size[n - 2]) for n in (2, 3))
    return Box(left, top, max(left + 1, right), max(top + 1, bottom))


def _drawn(seen: NDArray[np.float32], box: Box) -> NDArray[np.float32]:
    """The shadow of what is seen within the box: H×W, 0..1."""
    longer = max(box.size)
    # Room around, so that blurs end within it.
    room = 2 + round(4 * AROUND.blur * longer)
    subject = seen[box.top : box.bottom, box.left : box.right]
    rows, touch = _contacts(subject, longer)
    shape = (seen.shape[0] + 2 * room, seen.shape[1] + 2 * room)
    whole = subject[len(subject) - max(1, round(WHOLE * len(subject))) :]
    outline = np.minimum(1, np.float32(DENSE) * whole.mean(0, dtype=np.float32))
    floor = np.full_like(rows, round(float(np.average(rows, weights=touch + 1e-6))))
    light = np.ones(seen.shape, np.float32)
    for layer, ends, weights in (
        (AROUND, floor, outline),
        (NEAR, rows, touch),
        (CONTACT, rows, touch),
    ):
        ground = np.zeros(shape, np.float32)
        _press(ground[room + box.top :, room + box.left :], ends, weights, layer, longer)
        across = max(0.5, layer.blur * longer)
        soft = cv2.GaussianBlur(ground, (0, 0), sigmaX=across, sigmaY=max(0.5, across / 2))
        light *= 1 - layer.darkness * np.asarray(soft)[room:-room, room:-room]
    return 1 - light


def _contacts(
    subject: NDArray[np.float32], longer: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Of each column, the row where the subject ends below, and how much it touches there: 0..1."""
    height = len(subject)
    solid = subject >= 0.5
    there = solid.any(0)
    ends = np.where(there, height - np.argmax(solid[::-1], axis=0), 0)
    reach = max(1, round(NEARBY * longer))
    line = ends.astype(np.float32)[None]
    lowest = cv2.dilate(line, np.ones((1, 2 * reach + 1), np.uint8)).reshape(-1)
    near = 1 - (lowest - ends) / max(1.0, LIFTED * longer)
    low = (NO_FOOT - (ends.max() - ends) / height) / (NO_FOOT - FOOT)
    touch = np.clip(near, 0, 1) * np.clip(low, 0, 1) * there
    return ends.astype(np.int64), touch.astype(np.float32)


def _press(
    ground: NDArray[np.float32],
    ends: NDArray[np.int64],
    weights: NDArray[np.float32],
    layer: _Layer,
    longer: int,
) -> None:
    """Darken the rows about each column's end, where what is pressed flat lies on the floor."""
    behind, before = max(1, round(layer.behind * longer)), round(layer.before * longer)
    for column in np.flatnonzero(weights > 0):
        end = int(ends[column])
        band = ground[max(0, end - behind) : end + before, column]
        np.maximum(band, weights[column], out=band)
