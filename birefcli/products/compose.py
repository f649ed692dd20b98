"""Pixels of products: cutout, subject over a background, trimap, crop."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.images.photo import Pixels, row_blocks, to_depth, to_unit
from birefcli.matting.matte import Matte
from birefcli.options import TRIMAP_WIDTH, Margin

Dark = NDArray[np.float32] | None
"""How dark a shadow makes what is behind the subject, 0..1: H×W; None without one."""
BLEED = 8  # pixels around the subject that keep a colour, so that scaling shows no dark edge
WIDEST = 10_000  # pixels of a trimap's band to either side, of photos a megapixel wide
STRIP = 8192  # rows or columns that a trimap is made of at once; OpenCV squares them in 32 bits


def cutout(matte: Matte, bits: int, dark: Dark = None) -> Pixels:
    """RGBA with straight alpha, H×W×4; a shadow is black of its own alpha, behind the subject.

    Colour far from the subject is set to zero, which halves the file; near it the colour stays, for
    whoever scales the picture mixes it in.
    """
    alpha, colour = to_depth(matte.alpha, bits), to_depth(matte.foreground, bits)
    if dark is not None:
        alpha, colour = _over_shadow(alpha, colour, dark)
    box = np.ones((2 * BLEED + 1, 2 * BLEED + 1), np.uint8)
    far = cv2.dilate((alpha > 0).view(np.uint8), box) == 0
    out = np.asarray(cv2.cvtColor(colour, cv2.COLOR_RGB2RGBA))
    # One number a pixel; where alpha is put last it is zero there anyhow.
    np.copyto(out.view(np.uint32 if bits == 8 else np.uint64)[:, :, 0], 0, where=far)
    cv2.insertChannel(alpha, out, 3)
    return out


def _over_shadow(alpha: Pixels, colour: Pixels, dark: NDArray[np.float32]) -> tuple[Pixels, Pixels]:
    """Alpha and colour of a subject over a black shadow."""
    peak = np.iinfo(alpha.dtype).max
    both, mixed = np.empty_like(alpha), np.empty_like(colour)
    for rows in row_blocks(len(alpha)):
        a = to_unit(alpha[rows])
        total = a + dark[rows] * (1 - a)
        both[rows] = np.rint(total * peak)
        # Beside the shadow the colour stays, for whoever scales the picture.
        share = np.divide(a, total, out=np.ones_like(a), where=dark[rows] * peak >= 0.5)
        mixed[rows] = np.rint(colour[rows] * share[:, :, None])
    return both, mixed


def over(matte: Matte, background: Pixels, bits: int, dark: Dark = None) -> Pixels:
    """Composite the subject over ``background`` (H×W×3 or one pixel 1×1×3): H×W×3."""
    out: Pixels = np.empty(matte.foreground.shape, np.uint8 if bits == 8 else np.uint16)
    peak = 255 if bits == 8 else 65535
    for rows in row_blocks(len(out)):
        a = matte.alpha[rows, :, None].astype(np.float32) / 65535
        front = to_unit(matte.foreground[rows])
        back = to_unit(background if background.shape[0] == 1 else background[rows])
        if dark is not None:
            back = back * (1 - dark[rows, :, None])
        out[rows] = np.rint((front * a + back * (1 - a)) * peak)
    return out


def trimap(matte: Matte, width: Margin = TRIMAP_WIDTH) -> NDArray[np.uint8]:
    """0 background, 255 subject, 128 where alpha is soft or so near to it: H×W.

    ``width``: how far the unknown band reaches, to either side; of the photo's longer side.
    """
    alpha = to_depth(matte.alpha, 8)
    reach = width.pixels(alpha.shape[1], alpha.shape[0])
    radius = min(WIDEST, max(1, reach) if width.amount else 0)
    out = np.empty(alpha.shape, np.uint8)
    upright = alpha.shape[0] > alpha.shape[1]
    along, made = (alpha, out) if upright else (alpha.T, out.T)
    step = max(STRIP, 2 * radius)
    for start in range(0, len(along), step):
        outer = slice(max(0, start - radius - 1), start + step + radius + 1)
        inner = slice(start - outer.start, start - outer.start + step)
        made[start : start + step] = _trimap(along[outer], radius)[inner]
    return out


def _trimap(alpha: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    out = np.full(alpha.shape, 128, np.uint8)
    out[_is_far(alpha > 5, radius)] = 0
    out[_is_far(alpha < 250, radius)] = 255
    return out


def _is_far(seen: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Pixels that no pixel which is ``seen`` lies within ``radius`` of."""
    if not seen.any():
        return ~seen
    # At a cost without the radius, which that of a dilation grows with: Felzenszwalb &
    # Huttenlocher, "Distance Transforms of Sampled Functions", 2012.
    unseen = np.ascontiguousarray(~seen).view(np.uint8)
    nearest = cv2.distanceTransform(unseen, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # A quarter more: pixels are squares, of which the disc's border cuts off parts.
    return np.asarray(nearest > radius + 0.25)


def thresholded(alpha: NDArray[np.uint16], threshold: float, bits: int) -> Pixels:
    """A mask without grey, H×W: 0 and full scale of 8 or 16 bits; of 1 bit it is bool.

    Levels are compared as a mask with grey has them, of 1 bit those of 8: white is where that mask
    is white for a threshold of 1, however near to it a network's alpha comes.
    """
    levels = to_depth(alpha, max(bits, 8))
    full = np.iinfo(levels.dtype).max
    seen = levels >= math.ceil(threshold * full)
    return seen if bits == 1 else seen * levels.dtype.type(full)


def crop_box(alpha: NDArray[np.uint16], margin: Margin) -> tuple[slice, slice]:
    """Rows and columns of the subject with a margin; everything where there is no subject."""
    seen = alpha >= 65535 // 50  # two percent: fainter is no subject, but noise of the network
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    if not rows.size:
        return slice(0, alpha.shape[0]), slice(0, alpha.shape[1])
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    room = margin.pixels(int(right - left), int(bottom - top))
    return (
        slice(max(0, int(top) - room), min(alpha.shape[0], int(bottom) + room)),
        slice(max(0, int(left) - room), min(alpha.shape[1], int(right) + room)),
    )
