"""Where in a file its encoded pixels lie, and their checksum: by it a retouched file is known.

What is said beside the pixels is no part of it: titles, EXIF, XMP, a colour profile. So a picture
that somebody described is the same picture, and one that somebody encoded anew is another.

- PNG: what IHDR, PLTE, tRNS, IDAT and the frames of an animation hold.
- JPEG: every segment but APPn and comments, and all from the first scan to the file's end.
- WebP: what VP8, VP8L, ALPH and ANMF chunks hold.
- TIFF: the strips or tiles of every page.
- AVIF: what ``mdat`` boxes hold, EXIF and XMP among it.
"""

import io
import math
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

from birefcli.images.formats import png, tiff

_PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"acTL", b"fcTL", b"fdAT")
_WEBP_CHUNKS = (b"VP8 ", b"VP8L", b"ALPH", b"ANMF")
_SCAN, _COMMENT = 0xDA, 0xFE  # markers of a JPEG
_MOST_PARTS = 500_000  # chunks, segments, boxes or strips of a file
_MOST_PAGES = 1000
_NUMBERS = {3: "H", 4: "I"}  # types of a TIFF's whole numbers
_PIECE = 1 << 18  # bytes that are read at once
_END_OF_JPEG = b"\xff\xd9"  # nothing within a scan is like it
_ZEROS = 16  # bytes at a file's end: no picture of ours ends in so many


class Extent(NamedTuple):
    """A part of a file, in bytes."""

    start: int
    length: int


class EndsEarlyError(ValueError):
    """A file ends before its picture does."""


class ImageData(NamedTuple):
    """What the parts of a file with its pixels come to."""

    length: int
    """Bytes of all of them."""
    crc: int
    """CRC-32 (ISO 3309) of all of them, in their order."""


def extents(file: BinaryIO) -> Iterator[Extent]:
    """Parts of a file that hold its pixels, in the file's order; little else is read.

    Raises ValueError for a file of another kind, or with more parts than any has; OSError.
    """
    file.seek(0)
    head = file.read(12)
    if head.startswith(png.SIGNATURE):
        return _of_png(file)
    if head.startswith(b"\xff\xd8"):
        return _of_jpeg(file)
    if head.startswith(b"RIFF") and head[8:] == b"WEBP":
        return _of_webp(file)
    if head[4:8] == b"ftyp":
        return _of_boxes(file)
    if head[:4] in tiff.START and not tiff.START[head[:4]][1]:
        return _of_tiff(file, tiff.START[head[:4]][0])
    raise ValueError("no picture whose parts are known")


def length(file: BinaryIO) -> int:
    """Bytes of a file's parts with pixels, as it says. Raises as :func:`extents` does."""
    return sum(part.length for part in extents(file))


def measure(file: BinaryIO, most: float = math.inf) -> ImageData:
    """Read a file's parts with pixels, each once.

    Raises as :func:`extents` does, also for a part that is not all there, and for more than
    ``most`` bytes: parts of a file that was made to cost time may all be one.
    """

    def pieces() -> Iterator[bytes]:
        left = most
        for part in extents(file):
            left -= part.length
            if left < 0:
                raise ValueError("more pixels than there may be")
            yield from _pieces(file, part)

    return of_parts(pieces())


def is_cut_short(file: BinaryIO) -> bool:
    """Whether a file ends before its picture does, as a full disk or a power cut leaves it.

    The latter may leave zeros in the place of its end. What stands behind a whole picture is no
    sign of that, nor is what cannot be followed as a picture, but for zeros. Raises OSError.
    """
    file.seek(0)
    start = file.read(len(png.SIGNATURE))
    ended = False
    try:
        for part in extents(file):
            ended = _holds_end(file, part)
    except EndsEarlyError:
        return True
    except ValueError:
        return _ends_in_zeros(file)
    if start.startswith(b"\xff\xd8"):
        return not ended
    return start != png.SIGNATURE and _ends_in_zeros(file)


def _holds_end(file: BinaryIO, part: Extent) -> bool:
    """Whether a part holds the mark with which a JPEG ends; all of it is read."""
    found, before = False, b""
    for piece in _pieces(file, part):
        found = found or _END_OF_JPEG in before + piece
        before = piece[-1:]
    return found


def _ends_in_zeros(file: BinaryIO) -> bool:
    file.seek(max(0, file.seek(0, io.SEEK_END) - _ZEROS))
    return not file.read(_ZEROS).strip(b"\0")


def of_bytes(data: bytes) -> ImageData:
    """Those of a whole file."""
    return measure(io.BytesIO(data))


def of_parts(parts: Iterable[bytes]) -> ImageData:
    """Those of parts with pixels that are at hand."""
    total = crc = 0
    for part in parts:
        total, crc = total + len(part), zlib.crc32(part, crc)
    return ImageData(total, crc)


def _pieces(file: BinaryIO, part: Extent) -> Iterator[bytes]:
    """Bytes of a part, a few at once. Raises ValueError where the file ends before."""
    left = part.length
    while left > 0:
        file.seek(part.start + part.length - left)
        piece = file.read(min(left, _PIECE))
        if not piece:
            raise EndsEarlyError("the file ends within its pixels")
        left -= len(piece)
        yield piece


def _of_png(file: BinaryIO) -> Iterator[Extent]:
    at = len(png.SIGNATURE)
    for _ in range(_MOST_PARTS):
        size, name = _unpacked(file, at, ">I4s")
        if name in _PNG_CHUNKS:
            yield Extent(at + 8, size)
        elif name == b"IEND":
            _read(file, at + 8, 4)  # its checksum
            return
        at += 12 + size
    raise ValueError("too many chunks")


def _of_jpeg(file: BinaryIO) -> Iterator[Extent]:
    at = 2
    for _ in range(_MOST_PARTS):
        start, marker, size = _unpacked(file, at, ">BBH")
        if start != 0xFF:
            raise ValueError("no segment where one must be")
        if marker == _SCAN:
            # To the end: whatever follows a picture was put there by somebody.
            yield Extent(at, file.seek(0, io.SEEK_END) - at)
            return
        if not 0xE0 <= marker <= 0xEF and marker != _COMMENT:
            yield Extent(at, 2 + size)
        at += 2 + size
    raise ValueError("too many segments")


def _of_webp(file: BinaryIO) -> Iterator[Extent]:
    at, end = 12, file.seek(0, io.SEEK_END)
    for _ in range(_MOST_PARTS):
        if at >= end:
            return
        name, size = _unpacked(file, at, "<4sI")
        if name in _WEBP_CHUNKS:
            yield Extent(at + 8, size)
        at += 8 + size + size % 2
    raise ValueError("too many chunks")


def _of_boxes(file: BinaryIO) -> Iterator[Extent]:
    at, end = 0, file.seek(0, io.SEEK_END)
    for _ in range(_MOST_PARTS):
        if at >= end:
            return
        (size, name), head = _unpacked(file, at, ">I4s"), 8
        if size == 1:
            (size,), head = _unpacked(file, at + 8, ">Q"), 16
        elif size == 0:  # the last one, up to the end
            size = end - at
        if size < head:
            raise ValueError("no box where one must be")
        if name == b"mdat":
            yield Extent(at + head, size - head)
        at += size
    raise ValueError("too many boxes")


def _of_tiff(file: BinaryIO, order: str) -> Iterator[Extent]:
    (at,) = _unpacked(file, 4, order + "I")
    for _ in range(_MOST_PAGES):
        (count,) = _unpacked(file, at, order + "H")
        table = _read(file, at + 2, 12 * count + 4)
        entries = {entry[0]: entry for entry in struct.iter_unpack(order + "HHI4s", table[:-4])}
        for places, lengths in ((tiff.STRIPS, tiff.STRIP_BYTES), (tiff.TILES, tiff.TILE_BYTES)):
            numbers = [_numbers(file, order, entries.get(tag)) for tag in (places, lengths)]
            yield from map(Extent, *numbers)
        (at,) = struct.unpack(order + "I", table[-4:])
        if at == 0:
            return
    raise ValueError("too many pages")


def _numbers(file: BinaryIO, order: str, entry: tuple[Any, ...] | None) -> tuple[int, ...]:
    """Whole numbers of a TIFF's entry: tag, type, their count, and their bytes or their place."""
    if entry is None:
        return ()
    _, kind, count, value = entry
    if kind not in _NUMBERS or count > tiff.MOST_PLACES:
        raise ValueError("no numbers where some must be")
    form = f"{order}{count}{_NUMBERS[kind]}"
    size = struct.calcsize(form)
    if size > len(value):
        (place,) = struct.unpack(order + "I", value)
        value = _read(file, place, size)
    return struct.unpack(form, value[:size])


def _unpacked(file: BinaryIO, at: int, form: str) -> tuple[Any, ...]:
    return struct.unpack(form, _read(file, at, struct.calcsize(form)))


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    """Bytes from a place on. Raises ValueError where the file ends before."""
    file.seek(at)
    found = file.read(size)
    if len(found) < size:
        raise EndsEarlyError("the file ends too early")
    return found
