"""EXIF blocks (CIPA DC-008): directories of TIFF, whose entries are copied as bytes.

What an entry means is for its readers: here it has a tag, a type, a number of values, and
their bytes in the byte order of its block. That order is kept, for makers' notes and comments.
"""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import NamedTuple, TypeAlias

MAIN = 0
"""Key of the first directory; the others have that of the tag which leads to them."""
EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x8769, 0x8825, 0xA005
LEADS_TO = {MAIN: (EXIF_IFD, GPS_IFD), EXIF_IFD: (INTEROP_IFD,), GPS_IFD: (), INTEROP_IFD: ()}
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, UTF8 = 1, 2, 3, 4, 5, 7, 129
SIZES = {  # bytes of one value of each type; 129 is EXIF 3.0's UTF-8, and BigTIFF's are not EXIF
    **dict.fromkeys((BYTE, ASCII, 6, UNDEFINED, UTF8), 1),
    **dict.fromkeys((SHORT, 8), 2),
    **dict.fromkeys((LONG, 9, 11, 13), 4),
    **dict.fromkeys((RATIONAL, 10, 12), 8),
}
MOST_BYTES = 1_000_000  # of a block; cameras write 64 KB
MOST_TOGETHER = 1 << 26  # bytes of what a TIFF file has beside its pixels, each in a tag of its own
MOST_ENTRIES = 65_535  # of a directory

ORIENTATION, SOFTWARE = 0x0112, 305
MAKER_NOTE = 0x927C
WIDTH, HEIGHT = 0xA002, 0xA003  # of the picture, in EXIF_IFD
# Below 32768 tags are TIFF's own, which tell the layout of the file; these describe the picture.
DESCRIPTIVE = frozenset(
    {
        *(269, 270, 271, 272, 285, SOFTWARE, 306, 315, 316),  # names, description, camera, author
        *(18246, 18249, 32781),  # rating, in stars and in percent; identifier
    }
)
# Above it these are layout, or have a place of their own: sizes, sensors, XMP, IPTC, profiles, the
# layers of Photoshop, how to print, room that was left, and how far a maker's note was moved.
LAYOUT = frozenset(
    {
        *(32932, *range(32953, 32958), *range(32995, 32999), 33421, 33422, 33723, 34232, 34377),
        *(34675, 34750, *range(34908, 34912), 37439, 37724, 50255, 50341, 59932, 59933),
        *(EXIF_IFD, GPS_IFD, INTEROP_IFD, *range(50706, 52600)),  # the last are DNG's
    }
)
GEOGRAPHY = frozenset({33550, 33920, 33922, 34264, 34735, 34736, 34737})  # of GeoTIFF
IN_PICTURE = frozenset({0x9214, 0xA214})  # where the subject is in it, in pixels as stored
OURS = re.compile(rb"birefcli:\d")  # how SOFTWARE of a product of ours begins


class Entry(NamedTuple):
    """One entry of a directory.

    ``kind``: type of its values; ``value``: the bytes of all of them, in the order of its block.
    """

    kind: int
    number: int
    value: bytes


Directory: TypeAlias = dict[int, Entry]
"""Entries by their tags."""
Rule: TypeAlias = Callable[[int, int], bool]
"""Whether an entry of a directory goes: by the directory's key, and the tag."""


@dataclass(frozen=True)
class Block:
    """An EXIF block, as far as it is sound and products may say it too."""

    order: str = "<"
    """Byte order, as :mod:`struct` writes it."""
    directories: dict[int, Directory] = field(default_factory=dict)
    """Those that have entries, by :data:`MAIN` or the tag that leads to them."""
    lost: int = 0
    """Entries that are damaged, or too large."""

    def without(self, goes: Rule) -> "Block":
        """Leave entries out."""
        return self._with({
            key: {tag: entry for tag, entry in directory.items() if not goes(key, tag)}
            for key, directory in self.directories.items()
        })  # fmt: skip

    def sized(self, width: int, height: int) -> "Block":
        """Correct the picture's size where the block tells one."""
        inner = self.directories.get(EXIF_IFD, {})
        true = {WIDTH: width, HEIGHT: height}
        right = {tag: longs(self.order, true[tag]) for tag in true if tag in inner}
        return self._with({**self.directories, EXIF_IFD: inner | right})

    def of_tiff(self) -> "Block":
        """Write texts of the first directory as TIFF knows them: UTF-8 has a type in EXIF alone."""
        plain = {
            tag: entry._replace(kind=ASCII) if entry.kind == UTF8 else entry
            for tag, entry in self.directories.get(MAIN, {}).items()
        }
        return self._with({**self.directories, MAIN: plain})

    def within(self, limit: int) -> tuple["Block", int]:
        """Leave the largest entries out until the rest has no more than ``limit`` bytes.

        Returns how many they are, too.
        """
        rest, out = self, set[tuple[int, int]]()
        by_size = sorted(
            (-len(entry.value), key, tag)
            for key, directory in self.directories.items()
            for tag, entry in directory.items()
        )
        surplus = length(self.tree()) - limit
        for size, key, tag in by_size:
            if surplus <= 0:
                break
            out.add((key, tag))
            surplus -= 12 - (size if size < -4 else 0)
        if out:
            rest = self.without(lambda key, tag: (key, tag) in out)
        return rest, len(out)

    def tree(self, more: Directory | None = None) -> "Tree":
        """All directories with the entries that lead from one to the next.

        ``more``: entries of :data:`MAIN`, in this block's order. The places are those of no file
        yet: :func:`to_bytes` fills them in.
        """
        directories = {**self.directories, MAIN: self.directories.get(MAIN, {}) | (more or {})}
        known: Tree = {}
        for key in (INTEROP_IFD, EXIF_IFD, GPS_IFD, MAIN):
            links = {tag: longs(self.order, 0) for tag in LEADS_TO[key] if tag in known}
            if inner := directories.get(key, {}) | links:
                known[key] = dict(sorted(inner.items()))
        return {key: known[key] for key in (MAIN, EXIF_IFD, INTEROP_IFD, GPS_IFD) if key in known}

    def to_bytes(self) -> bytes | None:
        """The block, beginning with its TIFF header; None where it has no entries."""
        tree = self.tree()
        return header(self.order, 8) + to_bytes(tree, self.order, 8) if tree else None

    def _with(self, directories: dict[int, Directory]) -> "Block":
        return replace(self, directories={key: d for key, d in directories.items() if d})


Tree: TypeAlias = dict[int, Directory]
"""Directories in the order in which they are written, each leading to others."""


# Reading


def parse(data: bytes) -> Block | None:
    """What is sound of an EXIF block or a TIFF file; None where it has no first directory.

    Every entry is looked at once, and all values together are no more than :data:`MOST_BYTES`.
    """
    reader = _Reader.of(data)
    if reader is None or not reader.holds(reader.first):
        return None
    directories: dict[int, Directory] = {}
    places = {MAIN: reader.first}
    while places:
        key, place = places.popitem()
        found, leads = reader.directory(key, place)
        if found:
            directories[key] = found
        places |= {tag: at for tag, at in leads.items() if tag not in directories}
    return Block(reader.order, directories, reader.lost)


def values(data: bytes, tags: tuple[int, ...]) -> dict[int, bytes | None]:
    """Bytes of tags of the first directory, whatever their type; None for one that is damaged."""
    reader = _Reader.of(data, limit=MOST_TOGETHER)
    found: dict[int, bytes | None] = {}
    for raw in reader.entries(reader.first) if reader else ():
        if raw.tag in tags and raw.tag not in found:
            found[raw.tag] = reader.value(raw) if reader else None
    return found


def orientation(data: bytes) -> int | None:
    """The number that a block says of it, whether it means anything; None where it says none."""
    reader = _Reader.of(data)
    for raw in reader.entries(reader.first) if reader else ():
        if raw.tag == ORIENTATION and reader:
            value = reader.value(raw) or b""
            return _whole(Entry(raw.kind, raw.number, value), reader.order)
    return None


def number(block: Block, key: int, tag: int) -> int | None:
    """The first value of an entry of whole numbers; None where there is none."""
    entry = block.directories.get(key, {}).get(tag)
    return None if entry is None else _whole(entry, block.order)


def _whole(entry: Entry, order: str) -> int | None:
    if entry.kind not in (BYTE, SHORT, LONG) or not entry.value:
        return None
    return int.from_bytes(entry.value[: SIZES[entry.kind]], "little" if order == "<" else "big")


class _Raw(NamedTuple):
    """An entry as it stands; ``place``: of its four or eight bytes for a value or its offset."""

    tag: int
    kind: int
    number: int
    place: int


class _Reader:
    """One block, and how much of it was read."""

    def __init__(self, data: bytes, order: str, big: bool, limit: int) -> None:
        self.data, self.order = data, order
        self.lost = 0
        self._left = limit
        self._seen: set[int] = set()
        self._offset = struct.Struct(order + ("Q" if big else "I"))
        self._count = struct.Struct(order + ("Q" if big else "H"))
        self._entry = struct.Struct(order + ("HHQ" if big else "HHI"))
        self.first = self._number(8 if big else 4)

    @classmethod
    def of(cls, data: bytes, limit: int = MOST_BYTES) -> "_Reader | None":
        """None where the header is none; Canon and others write 42 in either order."""
        if data[:2] not in (b"II", b"MM") or data[2:4] not in (b"*\0", b"\0*", b"+\0", b"\0+"):
            return None
        big = b"+" in data[2:4]
        if len(data) < (16 if big else 8):
            return None
        return cls(data, "<" if data[:2] == b"II" else ">", big, limit)

    def holds(self, place: int) -> bool:
        """Whether a directory can stand there."""
        return 8 <= place <= len(self.data) - self._count.size

    def entries(self, place: int) -> Iterator[_Raw]:
        """Entries of the directory there; those that lie behind the end are counted as lost."""
        if not self.holds(place) or place in self._seen:
            self.lost += 1
            return
        self._seen.add(place)
        (said,) = self._count.unpack_from(self.data, place)
        start, step = place + self._count.size, self._entry.size + self._offset.size
        there = min(said, (len(self.data) - start) // step, MOST_ENTRIES)
        self.lost += min(said, MOST_ENTRIES) - there
        for at in range(start, start + there * step, step):
            tag, kind, number = self._entry.unpack_from(self.data, at)
            yield _Raw(tag, kind, number, at + self._entry.size)

    def directory(self, key: int, place: int) -> tuple[Directory, dict[int, int]]:
        """What is kept of a directory, and where it leads to."""
        found: Directory = {}
        leads: dict[int, int] = {}
        for raw in self.entries(place):
            if raw.tag in (EXIF_IFD, GPS_IFD, INTEROP_IFD):
                if raw.tag in LEADS_TO[key]:
                    leads.setdefault(raw.tag, self._place(raw))
            elif _is_kept(key, raw.tag) and raw.number:
                value = None if raw.tag in found else self.value(raw)
                if value is None:
                    self.lost += 1
                elif not (raw.tag == SOFTWARE and OURS.match(value)):
                    found[raw.tag] = Entry(raw.kind, raw.number, value)
        return found, leads

    def value(self, raw: _Raw) -> bytes | None:
        """Bytes of an entry; None where they are not all there, or too many."""
        size = SIZES.get(raw.kind, len(self.data)) * raw.number
        place = raw.place if size <= self._offset.size else self._number(raw.place)
        if size > self._left or place + size > len(self.data):
            return None
        self._left -= size
        return bytes(self.data[place : place + size])

    def _place(self, raw: _Raw) -> int:
        """Where an entry leads to; BigTIFF may say it in four bytes, which stand first of eight."""
        size = SIZES.get(raw.kind, self._offset.size)
        return int.from_bytes(
            self.data[raw.place : raw.place + size], "little" if self.order == "<" else "big"
        )

    def _number(self, place: int) -> int:
        found: tuple[int] = self._offset.unpack_from(self.data, place)
        return found[0]


def _is_kept(key: int, tag: int) -> bool:
    """Whether products may say it: not what another file's layout, orientation or thumbnail is."""
    if tag in LAYOUT:
        return False
    return key != MAIN or tag >= 32768 or tag in DESCRIPTIVE


# Writing


def header(order: str, first: int) -> bytes:
    """Eight bytes of a TIFF; ``first``: place of its first directory."""
    return (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, first)


def length(tree: Tree) -> int:
    """Bytes of directories with all their values, and of the header before them."""
    return 8 + sum(map(_length, tree.values()))


def to_bytes(tree: Tree, order: str, start: int) -> bytes:
    """Directories that stand at ``start`` of a file, an even place, each with its values."""
    places, at = {}, start
    for key, directory in tree.items():
        places[key] = at
        at += _length(directory)
    return b"".join(
        _written(_linked(directory, places, order), order, places[key])
        for key, directory in tree.items()
    )


def longs(order: str, *numbers: int) -> Entry:
    """An entry of whole numbers of 32 bits."""
    return Entry(LONG, len(numbers), struct.pack(f"{order}{len(numbers)}I", *numbers))


def shorts(order: str, *numbers: int) -> Entry:
    """An entry of whole numbers of 16 bits."""
    return Entry(SHORT, len(numbers), struct.pack(f"{order}{len(numbers)}H", *numbers))


def rational(order: str, value: Fraction) -> Entry:
    """An entry of a positive number up to 100,000, to a ten-thousandth."""
    rounded = value.limit_denominator(10_000)
    return Entry(RATIONAL, 1, struct.pack(order + "II", *rounded.as_integer_ratio()))


def plain(kind: int, value: bytes) -> Entry:
    """An entry of single bytes."""
    return Entry(kind, len(value), value)


def _length(directory: Directory) -> int:
    return 6 + sum(12 + _behind(entry) for entry in directory.values())


def _behind(entry: Entry) -> int:
    """Bytes that an entry has behind its directory, an even number."""
    return len(entry.value) + len(entry.value) % 2 if len(entry.value) > 4 else 0


def _linked(directory: Directory, places: dict[int, int], order: str) -> Directory:
    links = {tag: longs(order, places[tag]) for tag in directory.keys() & places.keys() - {MAIN}}
    return directory | links


def _written(directory: Directory, order: str, place: int) -> bytes:
    table, behind = [struct.pack(order + "H", len(directory))], []
    at = place + 6 + 12 * len(directory)
    for tag, entry in directory.items():
        table.append(struct.pack(order + "HHI", tag, entry.kind, entry.number))
        if not (size := _behind(entry)):
            table.append(entry.value.ljust(4, b"\0"))
            continue
        table.append(struct.pack(order + "I", at))
        behind.append(entry.value.ljust(size, b"\0"))
        at += size
    return b"".join([*table, bytes(4), *behind])
