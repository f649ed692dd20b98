"""Where on a canvas which part of a photo lies: arithmetic, and the subject's box.

A layout maps one box of the photo, its content, onto whole pixels of the canvas; everything else
of the photo goes along with it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.errors import Message, Option, PhotoError
from birefcli.options import Canvas, Rendering, Resize, Size
from birefcli.products.compose import crop_box
from birefcli.products.head import Head, find_head
from birefcli.values import MOST_PIXELS, MOST_TIMES

FAINT = 65535 // 50  # two percent: fainter is no subject, but noise of the network
SPECK = 0.01  # share of the largest part's pixels; smaller parts do not count
ABOVE_HEAD = 0.3  # share of the height that a head leaves which is above it


class Box(NamedTuple):
    """Pixels from ``left`` and ``top`` up to ``right`` and ``bottom``."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> Size:
        """Width and height in pixels."""
        return Size(self.right - self.left, self.bottom - self.top)


@dataclass(frozen=True)
class Layout:
    """``content`` of the photo lies at ``target`` of a canvas of that ``size``."""

    size: Size
    content: Box
    target: Box
    """It may stand out, where the content is a head's box and the canvas is narrow."""
    clip: Box
    """What of the photo is shown at all."""
    head: Head | None = None
    """The head that is the content."""
    subject: Box | None = None
    """The subject's box, where it was looked for."""

    def place(self, box: Box) -> Box:
        """Where a box of the photo lies on the canvas, or beside it, to the nearest pixel."""
        across = self.target.size.width / self.content.size.width
        down = self.target.size.height / self.content.size.height
        return Box(
            round(self.target.left + (box.left - self.content.left) * across),
            round(self.target.top + (box.top - self.content.top) * down),
            round(self.target.left + (box.right - self.content.left) * across),
            round(self.target.top + (box.bottom - self.content.top) * down),
        )

    @property
    def scale(self) -> float:
        """By how much the photo is enlarged."""
        return self.target.size.height / self.content.size.height

    @property
    def is_resampled(self) -> bool:
        """Whether pixels of the canvas are others than those of the photo."""
        return self.target.size != self.content.size


def subject_box(alpha: NDArray[np.uint16]) -> Box | None:
    """The box around the subject; None where there is none.

    Pixels of two percent and more count, as for a crop. Of the parts that they form (with diagonal
    neighbours), those of less than a hundredth of the largest one's pixels are specks, and do not.
    """
    seen = (alpha >= FAINT).view(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(seen, connectivity=8)
    if count < 2:
        return None
    parts = stats[1:]
    areas = parts[:, cv2.CC_STAT_AREA]
    parts = parts[areas >= SPECK * areas.max()]
    left, top = parts[:, cv2.CC_STAT_LEFT], parts[:, cv2.CC_STAT_TOP]
    right, bottom = left + parts[:, cv2.CC_STAT_WIDTH], top + parts[:, cv2.CC_STAT_HEIGHT]
    return Box(int(left.min()), int(top.min()), int(right.max()), int(bottom.max()))


def lay_out(alpha: NDArray[np.uint16], rendering: Rendering) -> Layout | None:
    """Where a photo of that matte lies on its canvas; None where its products are as it is.

    A crop alone moves nothing. Raises PhotoError for a photo that cannot be laid out.
    """
    canvas, resize = rendering.canvas, rendering.resize
    if canvas is None and resize is None:
        return None
    clip = shown_box(alpha, rendering)
    if canvas is None:
        assert resize is not None
        size = _sound(resize.of(clip.size))
        return _not_blown_up(Layout(size, clip, Box(0, 0, *size), clip))
    filled = canvas.fill is not None or canvas.head is not None
    subject = _subject(alpha, canvas) if filled else None
    head = find_head(alpha, subject) if canvas.head is not None and subject is not None else None
    content = clip if subject is None else subject if head is None else Box(*head[:4])
    size = _sound(canvas.size or _around(content.size, canvas, resize))
    target = _target(content.size, size, canvas, resize)
    return _not_blown_up(Layout(size, content, target, clip, head, subject))


def shown_box(alpha: NDArray[np.uint16], rendering: Rendering) -> Box:
    """What of a photo is shown at all: its crop, or all of it."""
    if not rendering.crop:
        return Box(0, 0, alpha.shape[1], alpha.shape[0])
    rows, columns = crop_box(alpha, rendering.margin)
    return Box(columns.start, rows.start, columns.stop, rows.stop)


def _subject(alpha: NDArray[np.uint16], canvas: Canvas) -> Box:
    subject = subject_box(alpha)
    if subject is None:
        name = "fill" if canvas.head is None else "head"
        raise PhotoError(Message("no subject found (empty matte): nothing for ", Option(name)))
    return subject


def _not_blown_up(layout: Layout) -> Layout:
    content, target = layout.content.size, layout.target.size
    if target.height > round(MOST_TIMES * content.height):
        raise PhotoError(
            f"would be enlarged {layout.scale:.3g} times: more than {MOST_TIMES:g}",
            hint="use a larger photo, or ask for less",
        )
    return layout


def _around(content: Size, canvas: Canvas, resize: Resize | None) -> Size:
    """The canvas of these proportions that the content fills as it should, at its own pixels."""
    assert canvas.aspect is not None
    width, height = content.width / (canvas.fill or 1.0), content.height / (canvas.fill or 1.0)
    if canvas.head is not None:
        width, height = 0.0, content.height / canvas.head
    height = max(height, width / canvas.aspect)
    width = height * canvas.aspect
    size = Size(round(width), round(height))
    if canvas.head is None:  # rounding must not cut it
        size = Size(max(size.width, content.width), max(size.height, content.height))
    size = Size(max(1, size.width), max(1, size.height))
    return size if resize is None else resize.of(size)


def _target(content: Size, size: Size, canvas: Canvas, resize: Resize | None) -> Box:
    scale = _scale(content, size, canvas, resize)
    width, height = content.width * scale, content.height * scale
    if min(width, height) < 1 and scale < 1:
        raise PhotoError(
            f"a subject of {content} pixels would be less than a pixel on a canvas of {size}",
            hint="use a larger one",
        )
    box = Size(max(1, round(width)), max(1, round(height)))
    if canvas.head is None:
        across, down = canvas.align.shares
        left, top = int((size.width - box.width) * across), int((size.height - box.height) * down)
    else:
        left, top = (size.width - box.width) // 2, round((size.height - box.height) * ABOVE_HEAD)
    return Box(left, top, left + box.width, top + box.height)


def _scale(content: Size, size: Size, canvas: Canvas, resize: Resize | None) -> float:
    if canvas.head is not None:
        own = canvas.size is None and resize is None
        return 1.0 if own else canvas.head * size.height / content.height
    whole = min(size.width / content.width, size.height / content.height)
    if canvas.size is None:
        if resize is None:
            return 1.0
        return whole * (canvas.fill or 1.0)
    return min(1.0, whole) if canvas.fill is None else whole * canvas.fill


def _sound(size: Size) -> Size:
    if size.width * size.height > MOST_PIXELS:
        raise PhotoError(
            f"would be {size} pixels: more than {MOST_PIXELS // 10**6} megapixels",
            hint="ask for less",
        )
    return size
