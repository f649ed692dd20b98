"""Thumbnails of one photo for the report: photo, truth, prediction, error and cutout."""

import io
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from birefcli.images.colour import to_srgb8
from birefcli.images.files import open_photo
from birefcli.options import Size
from birefcli.scoring import masks
from birefcli.scoring.masks import Mask
from birefcli.scoring.pairs import Pair

SIDE = 320  # pixels of the longer side
MISSING, EXTRA = (37, 120, 214), (226, 92, 20)  # RGB, of errors: too little subject, too much


@dataclass(frozen=True)
class Thumbnails:
    """WebP files, at most ``SIDE`` pixels a side. None where there is no photo to show."""

    size: Size
    """Of each."""
    photo: bytes | None
    truth: bytes
    prediction: bytes
    error: bytes
    """Transparent where the prediction is right."""
    cutout: bytes | None


def draw(pair: Pair, truth: masks.Grey, prediction: Mask, max_pixels: int) -> Thumbnails:
    """Draw those of one photo. ``prediction`` has the truth's size."""
    height, width = truth.shape
    scale = min(1.0, SIDE / max(height, width))
    shape = (max(1, round(height * scale)), max(1, round(width * scale)))
    real, found = (_small(grey, shape) for grey in (truth, prediction.alpha))
    photo = _photo(pair, shape, max_pixels)
    own = None if prediction.colours is None else _small(prediction.colours, shape)
    colours = photo if own is None else own
    return Thumbnails(
        Size(shape[1], shape[0]),
        None if photo is None else webp(photo),
        webp(real),
        webp(found),
        webp(_error(real, found)),
        None if colours is None else webp(np.dstack([colours, found])),
    )


def _photo(pair: Pair, shape: tuple[int, int], max_pixels: int) -> NDArray[np.uint8] | None:
    if pair.photo is None:
        return None
    return _small(to_srgb8(open_photo(pair.photo, max_pixels)), shape)


def _small(pixels: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.uint8]:
    return masks.to_uint8(masks.resize_to(pixels, shape, cv2.INTER_AREA))


def _error(real: NDArray[np.uint8], found: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Where and how the prediction is wrong, over a shade of the truth, on nothing: H×W×4."""
    difference = (found.astype(np.float32) - real) / 255
    # The root lifts what is faint, and soft edges are where mattes differ.
    strength = np.sqrt(np.abs(difference))
    shade = 0.16 * (real / 255.0)
    colour = np.where(difference[..., None] > 0, EXTRA, MISSING)
    alpha = np.maximum(strength, shade)
    mixed = np.where((strength >= shade)[..., None], colour, 128)
    drawn: NDArray[np.uint8] = np.dstack([mixed, alpha * 255]).round().astype(np.uint8)
    return drawn


def webp(pixels: NDArray[np.uint8]) -> bytes:
    """A small WebP file, with some loss: H×W, H×W×3 or H×W×4."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "WEBP", quality=82, method=2)
    return out.getvalue()
