"""A photo in memory: upright pixels, and what its file says of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.errors import NoPictureError

Pixels: TypeAlias = NDArray[Any]
"""uint8 or uint16."""
BLOCK = 256  # rows that whole-picture arithmetic does at once: bounds its copies of a large photo


@dataclass(frozen=True)
class Photo:
    """A photo as a person sees it: upright, RGB."""

    pixels: Pixels
    """H×W×3, uint8 or uint16, colours as stored (of ``icc``, else sRGB), not premultiplied; fewer
    than the file's where fewer suffice, see :func:`.decode.decode_photo`."""
    alpha: Pixels | None = None
    """The photo's own transparency, H×W of the same dtype; None where it has none."""
    icc: bytes | None = None
    """Colour profile of ``pixels``; None for sRGB or unknown."""
    dpi: tuple[float, float] | None = None
    """Dots per inch, across and down."""
    exif: bytes | None = None
    """EXIF block without orientation and thumbnail, beginning with its TIFF header."""
    notes: tuple[str, ...] = field(default=())
    """What was done to the photo that its owner may want to know."""
    metadata_notes: tuple[str, ...] = field(default=())
    """The same of EXIF, XMP and IPTC: it matters to products that keep them."""
    whole: tuple[int, int] | None = None
    """Shape (height, width) of the file's picture, upright, where ``pixels`` are fewer."""
    xmp: bytes | None = None
    """XMP packet in UTF-8, without orientation and thumbnails."""
    iptc: bytes | None = None
    """Datasets of IPTC-IIM, as bytes."""
    notable: bool = False
    """Whether its owner should hear of it: its file has more pictures than this one, or some of
    its pixels may be wrong."""

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels, of the file's picture."""
        return self.whole or (self.pixels.shape[0], self.pixels.shape[1])


def photo_from_array(pixels: Pixels) -> Photo:
    """Photo of sRGB pixels, which are copied.

    ``pixels``: H×W (grey), H×W×3 (RGB) or H×W×4 (RGBA, straight alpha) of uint8 or uint16. Raises
    NoPictureError for another dtype or shape.
    """
    native = pixels.dtype.newbyteorder("=")
    if native not in (np.uint8, np.uint16):
        raise NoPictureError(f"pixels of {pixels.dtype}: give uint8 (0..255) or uint16 (0..65535)")
    shape = "×".join(map(str, pixels.shape))
    if not pixels.size:
        raise NoPictureError(f"pixels of shape {shape}: the array is empty")
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        raise NoPictureError(f"pixels of shape {shape}: give H×W, H×W×3 (RGB) or H×W×4 (RGBA)")
    colour = np.repeat(pixels, 3, 2) if pixels.shape[2] == 1 else pixels[:, :, :3]
    alpha = pixels[:, :, 3].astype(native) if pixels.shape[2] == 4 else None
    if alpha is not None and alpha.min() == np.iinfo(native).max:
        alpha = None
    return Photo(np.array(colour, native, order="C"), alpha)


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation of 1..8: H×W or H×W×3, rotated and mirrored as the tag says."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def row_blocks(rows: int) -> Iterator[slice]:
    """Slices of so few rows that intermediate results of a large photo stay small."""
    return (slice(top, top + BLOCK) for top in range(0, rows, BLOCK))


def to_depth(pixels: Pixels, bits: int) -> Pixels:
    """Convert uint8 or uint16 to the other depth with rounding; full scale stays full scale."""
    if pixels.dtype == np.uint8:
        return pixels if bits == 8 else pixels.astype(np.uint16) * 257
    if bits == 16:
        return pixels
    # In float32 no quotient of 257 is near enough to a half to be rounded the wrong way.
    return np.asarray(cv2.convertScaleAbs(pixels, alpha=1 / 257)).reshape(pixels.shape)


def to_unit(pixels: Pixels) -> NDArray[np.float32]:
    """Levels of uint8 or uint16 as float32 of 0..1."""
    unit = pixels.astype(np.float32)
    unit /= np.float32(np.iinfo(pixels.dtype).max)
    return unit
