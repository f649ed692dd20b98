"""Mattes of files: whatever a file holds, as one channel. The one rule of scoring and training."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.errors import PhotoError
from birefcli.images.files import open_photo
from birefcli.images.opening import read_header
from birefcli.images.photo import to_depth
from birefcli.system.regular_file import open_regular

Grey = NDArray[Any]
"""H×W of uint8 or uint16, full scale."""

SPREAD = 16.0  # levels of 255: how far the channels of a grey JPEG may differ, on average
COLOUR = 24.0  # levels of 255 by which the channels of a coloured pixel differ, or more
HALF = 128 / 255  # of full scale; what is above it is subject, by the field's metrics
LABELS = 3  # different values up to which a mask holds labels: background, unknown, subject
COLOURED = 0.01  # share of such pixels from which a picture is no mask: a photo on white has 2%


class NotAMaskError(PhotoError):
    """A picture that shows no alpha: colour without transparency."""


@dataclass(frozen=True)
class Mask:
    """A matte, and the colours beside it where the file is a cutout."""

    alpha: Grey
    colours: NDArray[Any] | None = None
    """H×W×3, straight, of the dtype of ``alpha``."""


def read(path: Path, max_pixels: int) -> Mask:
    """Read a matte: the transparency of a cutout, or the grey of a mask.

    Raises PhotoError where the file cannot be read, and NotAMaskError where it is a colour picture
    without transparency.
    """
    photo = open_photo(path, max_pixels)
    pixels = photo.pixels
    if photo.alpha is not None:
        return Mask(photo.alpha, pixels)
    if _is_grey(pixels):
        return Mask(pixels[:, :, 0] if _is_exact(pixels) else _luma(pixels))
    if _could_be_clear(path):
        # A cutout whose subject fills the picture.
        return Mask(np.full(photo.shape, np.iinfo(pixels.dtype).max, pixels.dtype), pixels)
    raise NotAMaskError(f"{path}: in colour and without transparency, neither a mask nor a cutout")


def scale_fault(grey: Grey) -> str | None:
    """What is wrong with a mask of another scale: 0 and 1, 0 and 128, 16 bits of 0 to 255.

    None where nothing is: one that is black throughout has no scale, a faint one has many levels.
    """
    largest, full = int(grey.max()), int(np.iinfo(grey.dtype).max)
    if not 0 < largest <= HALF * full:
        return None
    if largest * 255 > full and not _is_labelled(grey):
        return None
    return largest_level(grey)


def largest_level(grey: Grey) -> str:
    """Why a mask shows no subject, for a message."""
    return f"a mask is 0 to {np.iinfo(grey.dtype).max}, and its largest value here is {grey.max()}"


def _is_labelled(grey: Grey) -> bool:
    """Whether the values are numbers of classes rather than levels."""
    levels = np.unique(grey)
    return bool(levels[0] == 0 and len(levels) <= LABELS)


def _is_exact(pixels: NDArray[Any]) -> bool:
    red, green, blue = (pixels[:, :, channel] for channel in range(3))
    return bool((red == green).all() and (green == blue).all())


def _is_grey(pixels: NDArray[Any]) -> bool:
    level = np.iinfo(pixels.dtype).max / 255
    differences = [cv2.absdiff(pixels[:, :, i], pixels[:, :, i + 1]) for i in (0, 1)]
    if max(float(each.mean()) for each in differences) > SPREAD * level:
        return False
    return float((np.maximum(*differences) > COLOUR * level).mean()) <= COLOURED


def _luma(pixels: NDArray[Any]) -> Grey:
    return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)


def _could_be_clear(path: Path) -> bool:
    with open_regular(path) as file:
        return read_header(file).transparent


def resize_to(pixels: NDArray[Any], shape: tuple[int, int], method: int) -> NDArray[Any]:
    """Resize to (height, width); ``method`` is OpenCV's."""
    if pixels.shape[:2] == shape:
        return pixels
    return cv2.resize(pixels, shape[::-1], interpolation=method)


def to_unit(grey: Grey) -> NDArray[np.float64]:
    """Levels as 0..1."""
    return grey / float(np.iinfo(grey.dtype).max)


def to_uint8(grey: Grey) -> NDArray[np.uint8]:
    """Levels as 0..255, rounded."""
    eight: NDArray[np.uint8] = to_depth(grey, 8)
    return eight
