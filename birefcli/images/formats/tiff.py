"""Directories of TIFF files: pages, layouts that no library reads, and what they are called."""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO

from birefcli.errors import PhotoError

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIPS, SAMPLES, STRIP_ROWS, STRIP_BYTES, PLANAR = 273, 277, 278, 279, 284
PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 317, 322, 323, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT = 338, 339
START = {
    b"II*\0": ("<", False),
    b"MM\0*": (">", False),
    b"II+\0": ("<", True),
    b"MM\0+": (">", True),
}
_TYPES = {
    1: "B",
    3: "H",
    4: "I",
    6: "b",
    7: "B",
    8: "h",
    9: "i",
    13: "I",
    16: "Q",
    18: "Q",
}
_MOST_ENTRIES = 4096
MOST_PLACES = 1 << 20
"""Strips or tiles of a picture that are looked at."""
_COMPRESSIONS = {
    **{
        1: "no",
        2: "CCITT",
        3: "CCITT",
        4: "CCITT",
        5: "LZW",
        6: "old JPEG",
        7: "JPEG",
        8: "deflate",
    },
    **{32773: "PackBits", 32946: "deflate", 34661: "JBIG", 34676: "SGI LogLuv", 34712: "JPEG 2000"},
    **{34887: "LERC", 34925: "LZMA", 50000: "ZSTD", 50001: "WebP", 50002: "JPEG XL"},
}
_COLOURS = {8: "Lab", 9: "Lab", 10: "Lab", 5: "CMYK", 6: "YCbCr", 3: "palette"}
BY_PILLOW = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34925, 50000)
BY_OPENCV = (1, 5, 8, 32773, 32946)
"""Compressions of 16 bits that OpenCV is built with everywhere."""


@dataclass(frozen=True)
class Directory:
    """One picture's tags, as they lie in the file."""

    data: bytes
    order: str
    """``<`` or ``>``."""
    big: bool
    """Whether offsets have 8 bytes (BigTIFF)."""
    entries: dict[int, bytes]
    """Whole entries by their tags: 12 bytes, or 20."""
    next: int
    """Where the next page's directory lies; 0 after the last."""

    def numbers(self, tag: int, most: int = 64) -> tuple[int, ...]:
        """Whole numbers of a tag, up to ``most``; none where it is missing or not in the file."""
        entry = self.entries.get(tag)
        if entry is None:
            return ()
        kind, count = struct.unpack_from(self.order + ("HQ" if self.big else "HI"), entry, 2)
        place = entry[12:] if self.big else entry[8:]
        if kind not in _TYPES:
            return ()
        size = struct.calcsize(f"={_TYPES[kind]}")
        form = f"{self.order}{min(count, most)}{_TYPES[kind]}"
        if count * size <= len(place):
            return struct.unpack_from(form, place)
        (offset,) = struct.unpack(self.order + ("Q" if self.big else "I"), place)
        if offset + count * size > len(self.data):
            return ()
        return struct.unpack_from(form, self.data, offset)

    def number(self, tag: int, default: int = 0) -> int:
        """The first whole number of a tag."""
        return next(iter(self.numbers(tag, 1)), default)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height as stored; 0 where they are missing."""
        return self.number(WIDTH), self.number(HEIGHT)

    @cached_property
    def samples(self) -> int:
        """Values a pixel."""
        return self.number(SAMPLES, 1)

    @cached_property
    def bits(self) -> int:
        """Bits of a value, of the largest where they differ."""
        return max(self.numbers(BITS), default=1)

    @cached_property
    def grey(self) -> bool:
        """Whether the first value of a pixel is all of its colour."""
        return self.number(PHOTOMETRIC) in (0, 1)

    @cached_property
    def extra_count(self) -> int:
        """How many values of a pixel are none of its colours."""
        colours = {2: 3, 5: 4, 6: 3, 8: 3}.get(self.number(PHOTOMETRIC), 1)
        return self.samples - colours

    @cached_property
    def compression(self) -> int:
        """How values are packed: 1 where they are not."""
        return self.number(COMPRESSION, 1)

    @cached_property
    def extra(self) -> tuple[int, ...]:
        """What each value after the colours is: 1 alpha that colours are multiplied by, 2 alpha."""
        said = self.numbers(EXTRA_SAMPLES)
        # Some writers do not say what a fourth value is, and mean alpha.
        return said[: self.extra_count] if said else (2,) * (self.samples == 4 and not self.grey)

    @property
    def is_deep(self) -> bool:
        """Whether it is grey or RGB of 16 bits, which is read here whatever comes after them."""
        plain = set(self.numbers(BITS)) == {16} and set(self.numbers(SAMPLE_FORMAT)) <= {1}
        colours = 1 if self.grey else 3 if self.number(PHOTOMETRIC) == 2 else 99
        return plain and colours <= self.samples <= 5


def read_directory(data: bytes, offset: int | None = None) -> Directory | None:
    """Tags of the first picture, or of the one at an offset; None where no directory lies."""
    if data[:4] not in START:
        return None
    order, big = START[data[:4]]
    try:
        if offset is None:
            (offset,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, offset)
        start, size = offset + (8 if big else 2), 20 if big else 12
        entries: dict[int, bytes] = {}
        for at in range(start, start + size * min(count, _MOST_ENTRIES), size):
            (tag,) = struct.unpack_from(order + "H", data, at)
            entries.setdefault(tag, data[at : at + size])
        if any(len(entry) < size for entry in entries.values()):
            return None
        end = start + size * count
        after = data[end : end + (8 if big else 4)]
        following = int.from_bytes(after, "little" if order == "<" else "big")
    except (struct.error, OverflowError):
        return None
    return Directory(data, order, big, entries, following)


def read_size(file: BinaryIO) -> tuple[int, int] | None:
    """Width and height of the first picture, of which the directory alone is read; 0 for none.

    None where the directory is not in the file, or not yet.
    """
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(16).ljust(16, b"\0")
    order, big = START[head[:4]]
    (place,) = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)
    if place + 8 > length:
        return None
    file.seek(place)
    table = file.read(8 + 20 * _MOST_ENTRIES)
    # As if it stood at the beginning: both numbers stand in their entries.
    start = struct.pack(order + ("HHQ" if big else "I"), *((8, 0, 16) if big else (8,)))
    found = read_directory(head[:4] + start + table)
    return None if found is None else found.size


def count_pages(file: BinaryIO, limit: int) -> int:
    """How many pages a file has, counted to ``limit`` and no further."""
    file.seek(0)
    head = file.read(16)
    if head[:4] not in START:
        return 1
    order, big = START[head[:4]]
    count_form, place_form = (order + "Q", order + "Q") if big else (order + "H", order + "I")
    (place,) = struct.unpack_from(place_form, head.ljust(16, b"\0"), 8 if big else 4)
    seen: set[int] = set()
    while place and place not in seen and len(seen) < limit:
        file.seek(place)
        found = file.read(struct.calcsize(count_form))
        if len(found) < struct.calcsize(count_form):
            break
        seen.add(place)
        try:
            file.seek(struct.unpack(count_form, found)[0] * (20 if big else 12), io.SEEK_CUR)
        except (OverflowError, ValueError):
            break
        after = file.read(struct.calcsize(place_form))
        place = (
            struct.unpack(place_form, after)[0] if len(after) == struct.calcsize(place_form) else 0
        )
    return max(1, len(seen))


def unread_kind(found: Directory) -> str | None:
    """What a picture is that is not read here, and the next step; None where nothing is odd."""
    kind, bits = found.number(SAMPLE_FORMAT, 1), found.bits
    colour = found.number(PHOTOMETRIC)
    if found.big and found.order == ">":  # Pillow takes its header for that of a small one
        return "big-endian BigTIFF; save it as TIFF"
    if bits > 128:
        return None  # and Pillow finds nothing in it
    if kind in (2, 3, 5, 6) or bits > 16 or bits not in (1, 2, 4, 8, 12, 16):
        name = {2: "signed ", 3: "float ", 5: "complex ", 6: "complex "}.get(kind, "")
        return f"{bits}-bit {name}TIFF; save 8 or 16 bits"
    if found.compression not in (BY_OPENCV if found.is_deep else BY_PILLOW):
        return _packed_by(found)
    if bits == 12 and (not found.grey or found.samples > 1 or found.compression != 1):
        return "12-bit TIFF; save 8 or 16 bits"
    if bits == 16 and not found.is_deep and colour in _COLOURS and colour != 5:
        return f"16-bit {_COLOURS[colour]} TIFF; save it as RGB"
    if colour in (9, 10):
        return f"{_COLOURS[colour]} TIFF of an unusual kind ({colour}); save it as RGB"
    if colour > 10 or colour in (4, 7):
        return f"TIFF of an unusual kind of colour ({colour}); save it as RGB"
    return None


@contextmanager
def codec_named(found: Directory) -> Iterator[None]:
    """Decoding by a Pillow that may be built without what the pixels are packed with.

    Raises PhotoError with its name for what else is an OSError of no meaning.
    """
    try:
        yield
    except OSError:
        if found.compression not in (34925, 50000):
            raise
        raise PhotoError(_packed_by(found)) from None


def _packed_by(found: Directory) -> str:
    named = _COMPRESSIONS.get(found.compression, f"unknown ({found.compression})")
    deep = " of 16 bits" if found.is_deep else ""
    return f"{named} compression in a TIFF{deep} cannot be read; save it with LZW or deflate"


def check_whole(found: Directory) -> None:
    """Raises OSError where packed pixels lie outside the file: libtiff would print that."""
    tiled = TILES in found.entries
    starts = found.numbers(TILES if tiled else STRIPS, MOST_PLACES)
    lengths = found.numbers(TILE_BYTES if tiled else STRIP_BYTES, MOST_PLACES)
    if found.compression == 1:
        lengths = (1,) * len(starts)
    if any(a + n > len(found.data) for a, n in zip(starts, lengths, strict=False)):
        raise OSError("image file is truncated")


def with_directory(found: Directory, changes: dict[int, tuple[int, ...] | None]) -> bytes:
    """The file with another first directory, whose tags are changed or (None) left out."""
    entries = {
        tag: entry for tag, entry in found.entries.items() if changes.get(tag, 1) is not None
    }
    end = len(found.data) + len(found.data) % 2
    values, at = b"", end
    place = "Q" if found.big else "I"
    for tag, numbers in changes.items():
        if numbers is None:
            continue
        packed = struct.pack(f"{found.order}{len(numbers)}{place}", *numbers)
        kind = 16 if found.big else 4
        if len(packed) > (8 if found.big else 4):
            field = struct.pack(found.order + place, at + len(values))
            values += packed
        else:
            field = packed
        entries[tag] = struct.pack(found.order + "HH" + place, tag, kind, len(numbers)) + field
    table = struct.pack(found.order + ("Q" if found.big else "H"), len(entries))
    table += b"".join(entry for _, entry in sorted(entries.items()))
    after = struct.pack(found.order + place, 0)
    start = struct.pack(found.order + place, at + len(values))
    cut = 8 if found.big else 4
    head = found.data[:cut] + start
    parts = (head, memoryview(found.data)[len(head) :], b"\0" * (end - len(found.data)))
    return b"".join((*parts, values, table, after))


def openable(found: Directory) -> bytes | None:
    """The same file as Pillow opens it, of 16 bits whose layout Pillow does not know.

    Its pixels are those of :func:`.tiff_samples.read_samples` alone.
    """
    if not found.is_deep or unread_kind(found):
        return None
    channels = 1 if found.grey else 3
    changes: dict[int, tuple[int, ...] | None] = {
        **{BITS: (16,) * channels, SAMPLES: (channels,), PHOTOMETRIC: (1 if found.grey else 2,)},
        **{EXTRA_SAMPLES: None, PLANAR: (1,), SAMPLE_FORMAT: None},
    }
    return with_directory(found, changes)
