"""A picture of some validation photos: the photo, its truth, the matte, and the cutout."""

import io
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from birefcli.training.dataset import Bytes, Example

PHOTOS = 8
"""On a sheet, at most."""
HEIGHT = 240  # pixels of a photo
GAP = 6
SQUARE = 10  # of the checkerboard behind cutouts


def chosen(count: int) -> list[int]:
    """Which of ``count`` photos are on a sheet: spread over all of them, the same each time."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, PHOTOS))})


def row(example: Example, alpha: NDArray[np.float32]) -> Bytes:
    """Photo, truth, matte and cutout beside each other: ``HEIGHT``×W×3.

    ``alpha``: H×W, 0..1, of the example's size. The cutout has the photo's own colours.
    """
    height, width = alpha.shape
    size = (max(1, round(width * HEIGHT / height)), HEIGHT)
    photo, truth = _scaled(example.image, size), _scaled(example.alpha, size)
    matte = _scaled(alpha * 255, size)
    share = matte[..., None] / 255
    cut = np.asarray(share * photo + (1 - share) * _checkerboard(size)[..., None], np.float32)
    gap = np.full((HEIGHT, GAP, 3), 255, np.float32)
    parts = [photo, gap, _grey(truth), gap, _grey(matte), gap, cut]
    return np.rint(np.concatenate(parts, 1)).astype(np.uint8)


def png(rows: Sequence[Bytes]) -> bytes:
    """The rows under each other, as a PNG file."""
    wide = max(each.shape[1] for each in rows)
    filled = [
        np.pad(each, ((0, GAP), (0, wide - each.shape[1]), (0, 0)), constant_values=255)
        for each in rows
    ]
    file = io.BytesIO()
    Image.fromarray(np.concatenate(filled)).save(file, "PNG")
    return file.getvalue()


def _scaled(plane: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.float32)


def _grey(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.repeat(plane[..., None], 3, 2)


def _checkerboard(size: tuple[int, int]) -> NDArray[np.float32]:
    x, y = np.meshgrid(np.arange(size[0]) // SQUARE, np.arange(size[1]) // SQUARE)
    return np.where((x + y) % 2, 255, 205).astype(np.float32)
