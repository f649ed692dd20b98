"""Pixels of products: cutout, subject over a background, trimap, crop."""

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.images.photo import Pixels, row_blocks, to_depth, to_unit
from birefcli.matting.matte import Matte
from birefcli.options import Margin, Size

BLEED = 8  # pixels around the subject that keep a colour, so that scaling shows no dark edge
UNSURE = 0.01  # radius of a trimap's unknown band, as a share of the longer side
WIDEST = 10_000  # pixels of that radius, of photos a megapixel wide and a few high
STRIP = 8192  # rows or columns that a trimap is made of at once; OpenCV squares them in 32 bits


def cutout(matte: Matte, bits: int) -> Pixels:
    """RGBA with straight alpha, H×W×4.

    Colour far from the subject is set to zero, which halves the file; near it the colour stays, for
    whoever scales the picture mixes it in.
    """
    alpha, colour = to_depth(matte.alpha, bits), to_depth(matte.foreground, bits)
    box = np.ones((2 * BLEED + 1, 2 * BLEED + 1), np.uint8)
    far = cv2.dilate((alpha > 0).view(np.uint8), box) == 0
    out = np.asarray(cv2.cvtColor(colour, cv2.COLOR_RGB2RGBA))
    # One number a pixel; where alpha is put last it is zero there anyhow.
    np.copyto(out.view(np.uint32 if bits == 8 else np.uint64)[:, :, 0], 0, where=far)
    cv2.insertChannel(alpha, out, 3)
    return out


def over(matte: Matte, background: Pixels, bits: int) -> Pixels:
    """Composite the subject over ``background`` (H×W×3 or one pixel 1×1×3): H×W×3."""
    out: Pixels = np.empty(matte.foreground.shape, np.uint8 if bits == 8 else np.uint16)
    peak = 255 if bits == 8 else 65535
    for rows in row_blocks(len(out)):
        a = matte.alpha[rows, :, None].astype(np.float32) / 65535
        front = to_unit(matte.foreground[rows])
        back = to_unit(background if background.shape[0] == 1 else background[rows])
        out[rows] = np.rint((front * a + back * (1 - a)) * peak)
    return out


def trimap(matte: Matte) -> NDArray[np.uint8]:
    """0 background, 255 subject, 128 where alpha is soft or within the unknown band: H×W."""
    alpha = to_depth(matte.alpha, 8)
    radius = min(WIDEST, max(1, round(UNSURE * max(alpha.shape))))
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


def shrunk(pixels: Pixels, box: Size) -> Pixels:
    """A product that fits a box, its sides in proportion; as it is where it fits already.

    ``pixels``: H×W, H×W×3, or H×W×4 of straight alpha, whose colour is averaged by it.
    """
    height, width = pixels.shape[:2]
    scale = min(box.width / width, box.height / height)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), pixels.dtype)
    return _shrunk_straight(pixels, size)


def _shrunk_straight(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """RGBA of straight alpha, averaged as what it shows: each colour counts by its alpha."""
    alpha = pixels[:, :, 3].astype(np.float32)
    # A little weight for clear pixels too, whose colour others may scale again.
    weight = alpha + np.float32(1e-3)
    total = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    out: Pixels = np.empty((size[1], size[0], 4), pixels.dtype)
    for channel in range(3):
        part = cv2.resize(pixels[:, :, channel] * weight, size, interpolation=cv2.INTER_AREA)
        out[:, :, channel] = np.rint(part / total)
    out[:, :, 3] = np.rint(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA))
    return out


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
