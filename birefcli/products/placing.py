"""Pixels through a layout: a photo's planes as they are on the canvas."""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from birefcli.images.photo import Pixels, to_unit
from birefcli.matting.matte import Matte
from birefcli.products.layout import Box, Layout

Plane = NDArray[np.float32]
LEAST = 0.02  # of alpha, below which a colour that is mixed by it is not told by it
NEAR = 1e-6  # pixels: so far from a whole one is whole
# Both have no negative weights where they shrink, so nothing rings at the subject's edge.
SHRINK, ENLARGE = Image.Resampling.HAMMING, Image.Resampling.BICUBIC


def place_alpha(alpha: NDArray[np.uint16], layout: Layout) -> NDArray[np.uint16]:
    """A matte's alpha on the canvas, 0 where no photo is."""
    return _as_levels(_Placer(layout).plane(to_unit(alpha), pad=False), alpha)


def place_matte(matte: Matte, layout: Layout) -> Matte:
    """A matte on the canvas. Its colour goes on beyond the photo's edge as it is there.

    Each colour counts by its alpha, so that no background is mixed into the subject's.
    """
    placer, colour = _Placer(layout), matte.foreground
    if not layout.is_resampled:
        alpha = placer.plane(matte.alpha, pad=False)
        return Matte(alpha, _stacked([placer.plane(colour[:, :, c]) for c in range(3)]))
    alpha = to_unit(matte.alpha)
    placed = _as_levels(placer.plane(alpha, pad=False), matte.alpha)
    weight = placer.plane(alpha)
    low = weight < LEAST
    np.copyto(weight, 1, where=low)
    out: Pixels = np.empty((*placed.shape, 3), colour.dtype)
    for channel in range(3):  # one by one: all three in float32 would be most of the memory
        plain = to_unit(colour[:, :, channel])
        mixed = placer.plane(plain)
        plain *= alpha
        np.copyto(mixed, placer.plane(plain), where=~low)
        mixed /= weight
        out[:, :, channel] = _as_levels(mixed, colour)
    return Matte(placed, out)


def place_picture(pixels: Pixels, layout: Layout) -> Pixels:
    """A picture of the photo's size on the canvas, continued by its edge: H×W×3."""
    placer = _Placer(layout)
    if not layout.is_resampled:
        return _stacked([placer.plane(pixels[:, :, c]) for c in range(3)])
    planes = (placer.plane(to_unit(pixels[:, :, c])) for c in range(3))
    return _stacked([_as_levels(plane, pixels) for plane in planes])


def covers_canvas(layout: Layout) -> bool:
    """Whether the photo lies under every pixel of the canvas."""
    return _Placer(layout).box == Box(0, 0, *layout.size)


def place_trimap(trimap: NDArray[np.uint8], layout: Layout) -> NDArray[np.uint8]:
    """A trimap on the canvas: what is neither all background nor all subject is unknown."""
    placer = _Placer(layout)
    if not layout.is_resampled:
        plain: NDArray[np.uint8] = placer.plane(trimap, pad=False)
        return plain
    placed = placer.plane(to_unit(trimap), pad=False)
    out = np.full(placed.shape, 128, np.uint8)
    out[placed < NEAR] = 0
    out[placed > 1 - NEAR] = 255
    return out


class _Placer:
    """Puts planes where a layout has them."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._seen = layout.is_resampled
        content, target = layout.content, layout.target
        # How many pixels of the photo one of the canvas is wide and high.
        self._steps = (
            content.size.width / target.size.width,
            content.size.height / target.size.height,
        )
        self.box = self._shown()
        """Pixels of the canvas that lie within what is shown of the photo, whole."""

    def _shown(self) -> Box:
        content, target, clip = self._layout.content, self._layout.target, self._layout.clip
        edges = []
        for axis, step in enumerate(self._steps):
            end = self._layout.size[axis]
            first = target[axis] + (clip[axis] - content[axis]) / step
            last = target[axis] + (clip[axis + 2] - content[axis]) / step
            low = min(end, max(0, int(np.ceil(first - NEAR))))
            edges.append((low, max(low, min(end, int(np.floor(last + NEAR))))))
        (left, right), (top, bottom) = edges
        return Box(left, top, right, bottom)

    def plane(self, plane: Pixels, *, pad: bool = True) -> Pixels:
        """A plane on the canvas: H×W. Beyond the photo its edge goes on, or, without pad, 0."""
        box, size = self.box, self._layout.size
        if not all(box.size):
            return np.zeros((size.height, size.width), plane.dtype)
        inner = self._resampled(plane) if self._seen else self._cut(plane)
        around = (box.top, size.height - box.bottom, box.left, size.width - box.right)
        border = cv2.BORDER_REPLICATE if pad else cv2.BORDER_CONSTANT
        if not any(around):
            return np.array(inner)  # its owner may write to it
        return np.asarray(cv2.copyMakeBorder(inner, *around, border, value=0))

    def _source(self) -> tuple[float, float, float, float]:
        """The box of the photo, in its pixels, that the shown part of the canvas shows."""
        content, target, box = self._layout.content, self._layout.target, self.box
        across, down = self._steps
        return (
            content.left + (box.left - target.left) * across,
            content.top + (box.top - target.top) * down,
            content.left + (box.right - target.left) * across,
            content.top + (box.bottom - target.top) * down,
        )

    def _cut(self, plane: Pixels) -> Pixels:
        left, top, right, bottom = map(round, self._source())
        return np.ascontiguousarray(plane[top:bottom, left:right])

    def _resampled(self, plane: Pixels) -> Pixels:
        clip = self._layout.clip
        left, top, right, bottom = self._source()
        inside = (  # rounding may put an edge a hair outside, which Pillow refuses
            max(0.0, left - clip.left),
            max(0.0, top - clip.top),
            min(float(clip.size.width), right - clip.left),
            min(float(clip.size.height), bottom - clip.top),
        )
        part = np.ascontiguousarray(plane[clip.top : clip.bottom, clip.left : clip.right])
        filter_ = SHRINK if self._layout.scale <= 1 else ENLARGE
        scaled = Image.fromarray(part).resize(self.box.size, filter_, box=inside)
        return np.asarray(scaled)


def _stacked(channels: list[Pixels]) -> Pixels:
    return np.ascontiguousarray(np.stack(channels, -1))


def _as_levels(plane: Plane, like: Pixels) -> Pixels:
    """Values of 0..1, which are lost, as levels of another array's dtype."""
    plane.clip(0, 1, out=plane)
    plane *= np.float32(np.iinfo(like.dtype).max)
    return np.asarray(np.rint(plane, out=plane), like.dtype)
