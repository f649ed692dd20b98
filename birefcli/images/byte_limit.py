"""A picture in no more than so many bytes: its quality is searched."""

from dataclasses import dataclass

import numpy as np

from birefcli.errors import Message, Option, PhotoError
from birefcli.images.encode import QUALITY, encode
from birefcli.images.metadata import Metadata
from birefcli.images.photo import Pixels
from birefcli.options import Compress, Format

BEST_WEBP = 95  # where the search begins; above, bytes grow and nothing is seen of it
SAMPLES = 1 << 16  # pixels that are looked at for flat colours
FLAT = 0.02  # share of a picture that has one and the same colour
BLOCKS = 40  # quality below which a JPEG's blocks show more than a fringe of colour
COLOURED = 32  # levels between the channels of what is no grey


@dataclass(frozen=True)
class Limited:
    """A picture's file, and the quality it took."""

    data: bytes
    quality: int


def encode_within(
    pixels: Pixels, format_: Format, compress: Compress, most: int, metadata: Metadata
) -> Limited:
    """Encode one picture in no more than ``most`` bytes, as well as they allow.

    The format is one that has a quality; its default is the best that is tried. Raises PhotoError
    where no quality is small enough, and otherwise as :func:`encode` does.
    """
    if needs_full_chroma(pixels):
        found = _search(pixels, format_, compress, most, metadata, full_chroma=True)
        if isinstance(found, Limited) and found.quality >= BLOCKS:
            return found
    found = _search(pixels, format_, compress, most, metadata, full_chroma=False)
    if isinstance(found, Limited):
        return found
    height, width = pixels.shape[:2]
    text = (
        f"{found:,} bytes at the lowest quality, of {width}×{height} pixels; allowed are {most:,}"
    )
    ways = Message("make it smaller with ", Option("resize"), ", or allow more")
    raise PhotoError(text, hint=ways)


def _search(
    pixels: Pixels,
    format_: Format,
    compress: Compress,
    most: int,
    metadata: Metadata,
    *,
    full_chroma: bool,
) -> Limited | int:
    """The best quality that fits, by bisection; or the fewest bytes, where none does."""

    def at(quality: int) -> bytes:
        return encode(
            pixels, format_, compress, quality=quality, full_chroma=full_chroma, metadata=metadata
        )

    high = QUALITY[format_][compress] if format_ in QUALITY else BEST_WEBP
    data = at(high)
    if len(data) <= most:
        return Limited(data, high)
    low, found = 1, at(1)
    if len(found) > most:
        return len(found)
    while high - low > 1:  # low fits, high does not
        middle = (low + high) // 2
        data = at(middle)
        if len(data) <= most:
            low, found = middle, data
        else:
            high = middle
    return Limited(found, low)


def needs_full_chroma(pixels: Pixels) -> bool:
    """Whether a picture shows a flat colour that is no grey: H×W, H×W×3 or H×W×4 of uint8.

    With colour for every second pixel alone, the edge between such a background and the subject
    shows a fringe of one in the other, which no quality takes away. Photos hide it, and their bytes
    are better spent.
    """
    if pixels.ndim == 2:
        return False
    step = max(1, round((pixels.shape[0] * pixels.shape[1] / SAMPLES) ** 0.5))
    sample = pixels[::step, ::step, :3].reshape(-1, 3).astype(np.uint32)
    spread = sample.max(1) - sample.min(1)
    coloured = sample[spread > COLOURED]
    if len(coloured) < FLAT * len(sample):
        return False
    packed = coloured[:, 0] << 16 | coloured[:, 1] << 8 | coloured[:, 2]
    return bool(np.unique(packed, return_counts=True)[1].max() >= FLAT * len(sample))
