"""A picture in no more than so many bytes: its quality is searched."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from birefcli.errors import Message, Option, PhotoError
from birefcli.images.codecs import can_write_avif
from birefcli.images.encode import QUALITY, encode
from birefcli.images.findings import LOWERED
from birefcli.images.metadata import Metadata
from birefcli.images.photo import Pixels
from birefcli.options import Compress, Format

BEST_WEBP = 100  # where the search begins, if lossless does not fit
SAMPLES = 1 << 16  # pixels that are looked at for flat colours
FLAT = 0.02  # share of a picture that has one and the same colour
COLOURED = 32  # levels between the channels of what is no grey

# At equal bytes a JPEG of 4:2:0 has a higher quality than one of 4:4:4. By SSIMULACRA 2 it is the
# better picture where that of 4:4:4 is below these (tests/benchmarks/byte_limit.py).
FULL_CHROMA = 85
FULL_CHROMA_FLAT = 60
"""Over a flat colour, at whose edges 4:2:0 shows a fringe."""
NEAR = 3  # below the best that is allowed, 4:4:4 is no worse than 4:2:0 at its best

EXACT_ALPHA = 60
"""Quality of a WebP's colour below which alpha gives way too: lossless, it takes most of such a
file."""
LOSSY_ALPHA = 50  # ten and more levels of alpha, each pixel within 13 of 255; below, hair breaks


Stamping: TypeAlias = Callable[[tuple[str, ...]], str]
"""From notes on how a picture was encoded to the text of its stamp."""


@dataclass(frozen=True)
class Limited:
    """A picture's file, and the quality it took, in words."""

    data: bytes
    quality: str
    is_lowered: bool
    """Whether it is another than without a limit."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What its owner may want to know: the quality, where it had to be lowered."""
        return (self.quality.replace("quality ", LOWERED),) if self.is_lowered else ()


@dataclass(frozen=True)
class _Way:
    """A way to lose pixels, and the quality from which on it is taken."""

    least: int = 1
    full_chroma: bool = True
    alpha_quality: int = 100

    def named(self, quality: int) -> str:
        """The quality, for a note."""
        chroma = "" if self.full_chroma else ", 4:2:0"
        alpha = "" if self.alpha_quality == 100 else f", alpha {self.alpha_quality}"
        return f"quality {quality}{chroma}{alpha}"


def encode_within(
    pixels: Pixels,
    format_: Format,
    compress: Compress,
    most: int,
    metadata: Metadata,
    quality: int | None = None,
    stamp: Stamping | None = None,
) -> Limited:
    """Encode one picture in no more than ``most`` bytes, as well as they allow.

    ``stamp``: gives the text of :class:`Metadata`, with the notes of what was done.
    The format is one that has a quality; ``quality`` is the best that is tried, and None what the
    file would have without a limit. If that fits, it is the file. Raises PhotoError where no
    quality is small enough, and otherwise as :func:`encode` does.
    """
    top = quality or (QUALITY[format_][compress] if format_ in QUALITY else BEST_WEBP)
    lossless = format_ is Format.WEBP and quality is None
    plain = "lossless" if lossless else _Way().named(top)
    as_it_is = metadata if stamp is None else replace(metadata, stamp=stamp(()))
    data = encode(pixels, format_, compress, quality=quality, metadata=as_it_is)
    if len(data) <= most:
        return Limited(data, plain, is_lowered=False)
    if format_ is Format.JPG and compress is Compress.FAST:
        compress = Compress.BALANCED  # bytes count now
    fewest = len(data)
    for way in _ways(pixels, format_, top):
        picture = _Picture(pixels, format_, compress, metadata, stamp, plain)
        found = _search(picture, most, way, top)
        if isinstance(found, Limited):
            return found
        fewest = found
    raise _too_large(pixels, format_, fewest, most)


def _ways(pixels: Pixels, format_: Format, top: int) -> Iterator[_Way]:
    """Ways to lose pixels, the better ones first; the last is taken at any quality."""
    if format_ is Format.JPG and pixels.ndim == 3:
        least = FULL_CHROMA_FLAT if has_flat_colour(pixels) else FULL_CHROMA
        yield _Way(max(1, min(least, top - NEAR)))
        yield _Way(full_chroma=False)
    elif format_ is Format.WEBP and pixels.ndim == 3 and pixels.shape[2] == 4:
        yield _Way(min(EXACT_ALPHA, top))
        yield _Way(alpha_quality=LOSSY_ALPHA)
    else:
        yield _Way()


@dataclass(frozen=True)
class _Picture:
    """What is encoded again and again."""

    pixels: Pixels
    format: Format
    compress: Compress
    metadata: Metadata
    stamp: Stamping | None
    plain: str
    """The quality without a limit, in words."""

    def at(self, quality: int, way: _Way) -> Limited:
        """The file of a quality."""
        named = way.named(quality)
        found = Limited(b"", named, named != self.plain)
        metadata = self.metadata
        if self.stamp is not None:
            metadata = replace(metadata, stamp=self.stamp(found.notes))
        data = encode(
            self.pixels,
            self.format,
            self.compress,
            quality=quality,
            full_chroma=way.full_chroma,
            alpha_quality=way.alpha_quality,
            metadata=metadata,
        )
        return replace(found, data=data)


def _search(picture: _Picture, most: int, way: _Way, top: int) -> Limited | int:
    """The best quality that fits, by bisection; or the fewest bytes, where none does."""
    low, found = way.least, picture.at(way.least, way)
    if len(found.data) > most:
        return len(found.data)
    high = top + 1
    while high - low > 1:  # low fits, high does not
        middle = (low + high) // 2
        tried = picture.at(middle, way)
        if len(tried.data) <= most:
            low, found = middle, tried
        else:
            high = middle
    return found


def _too_large(pixels: Pixels, format_: Format, fewest: int, most: int) -> PhotoError:
    height, width = pixels.shape[:2]
    text = (
        f"{fewest:,} bytes at the lowest quality, of {width}×{height} pixels; allowed are {most:,}"
    )
    avif = format_ is not Format.AVIF and can_write_avif()
    ways = Message(
        "allow more, ",
        *(("use ", Option("format", "avif"), ", ") if avif else ()),
        "or make it smaller with ",
        Option("resize"),
        " or a smaller ",
        Option("canvas"),
    )
    error = PhotoError(text, hint=ways)
    error.option = "max_bytes"  # which the text need not begin with
    return error


def has_flat_colour(pixels: Pixels) -> bool:
    """Whether a picture shows a flat colour that is no grey: H×W×3 or H×W×4 of uint8.

    With colour for every second pixel alone, the edge between such a background and the subject
    shows a fringe of one in the other, which no quality takes away.
    """
    step = max(1, round((pixels.shape[0] * pixels.shape[1] / SAMPLES) ** 0.5))
    sample = pixels[::step, ::step, :3].reshape(-1, 3).astype(np.uint32)
    spread = sample.max(1) - sample.min(1)
    coloured = sample[spread > COLOURED]
    if len(coloured) < FLAT * len(sample):
        return False
    packed = coloured[:, 0] << 16 | coloured[:, 1] << 8 | coloured[:, 2]
    return bool(np.unique(packed, return_counts=True)[1].max() >= FLAT * len(sample))
