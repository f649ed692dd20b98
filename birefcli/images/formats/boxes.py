"""Boxes of ISO media files (AVIF, HEIF, JPEG 2000), as far as they tell colours and EXIF."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from birefcli.images.profiles.cicp import Cicp

LOOKED_INTO = (b"jp2h", b"meta", b"pitm", b"iprp", b"ipco", b"ipma", b"colr", b"iinf", b"iloc",
               b"infe", b"idat")  # fmt: skip
MOST = 40_000  # boxes side by side; 32,767 properties can be told apart


def media_colour(data: bytes) -> bytes | Cicp | None:
    """What the main picture of an AVIF, HEIF or JPEG 2000 file says of its colours.

    A profile is preferred to code points. None where it says neither.
    """
    try:
        stated = [_colour(body) for body in _colour_boxes(data)]
    except (struct.error, IndexError):  # a damaged box is no reason to lose the photo
        return None
    known = [each for each in stated if each is not None]
    return min(known, key=lambda each: isinstance(each, Cicp), default=None)


def _colour(body: bytes) -> bytes | Cicp | None:
    """One ``colr`` box: of ISO 23001-8 with its type in letters, or of JPEG 2000 with a number."""
    if body[:4] == b"nclx":
        primaries, transfer = struct.unpack_from(">HH", body, 4)
        return Cicp(primaries, transfer)  # the decoder has seen to matrix and range
    if body[:4] in (b"prof", b"rICC"):
        return body[4:]
    return body[3:] if body[:1] in (b"\2", b"\3") and len(body) > 128 else None


def _colour_boxes(data: bytes) -> list[bytes]:
    for kind, body in _boxes(data):
        if kind == b"jp2h":
            return [inner for name, inner in _boxes(body) if name == b"colr"]
        if kind == b"meta":
            return _of_main_item(body[4:])
    return []


def _of_main_item(meta: bytes) -> list[bytes]:
    parts = dict(_boxes(meta))
    properties = dict(_boxes(parts.get(b"iprp", b"")))
    stored = list(_boxes(properties.get(b"ipco", b"")))
    main = parts.get(b"pitm", b"")
    item = int.from_bytes(main[4 : 6 if main[:1] == b"\0" else 8], "big")
    used = _associated(properties.get(b"ipma", bytes(8)), item)
    return [stored[n - 1][1] for n in used if 0 < n <= len(stored) and stored[n - 1][0] == b"colr"]


def _associated(table: bytes, wanted: int) -> list[int]:
    """Numbers of the properties of an item."""
    wide_item, wide_number = table[0] > 0, table[3] & 1
    (items,) = struct.unpack_from(">I", table, 4)
    at = 8
    for _ in range(items):
        (item,) = struct.unpack_from(">I" if wide_item else ">H", table, at)
        at += 4 if wide_item else 2
        count = table[at]
        numbers = struct.unpack_from(f">{count}{'H' if wide_number else 'B'}", table, at + 1)
        if item == wanted:
            return [n & (0x7FFF if wide_number else 0x7F) for n in numbers]
        at += 1 + count * (2 if wide_number else 1)
    return []


def media_exif(data: bytes, limit: int) -> bytes | None:
    """EXIF block of an AVIF or HEIF file as it stands there, up to ``limit`` bytes.

    None where it has none, or one that is damaged.
    """
    try:
        for kind, body in _boxes(data):
            if kind == b"meta":
                return _item(data, dict(_boxes(body[4:])), b"Exif", limit)
    except (struct.error, IndexError):  # a damaged box is no reason to lose the photo
        pass
    return None


def _item(data: bytes, meta: dict[bytes, bytes], kind: bytes, limit: int) -> bytes | None:
    items = _numbers_of(meta.get(b"iinf", b"\0" * 6), kind)
    for number, inside, extents in _locations(meta.get(b"iloc", bytes(8))):
        if number in items:
            store = meta.get(b"idat", b"") if inside else data
            found = bytearray()
            for place, length in extents:
                found += store[place : place + min(length or limit, limit - len(found))]
            # The first four bytes say how much stands before the block.
            return bytes(found[4 + int.from_bytes(found[:4], "big") :])
    return None


def _numbers_of(table: bytes, kind: bytes) -> set[int]:
    """Numbers of the items of a kind."""
    found = set()
    for name, body in _boxes(table[6 if table[0] == 0 else 8 :]):
        form = {2: ">HH4s", 3: ">IH4s"}.get(body[0]) if name == b"infe" else None
        if form is not None:
            number, _, what = struct.unpack_from(form, body, 4)
            found |= {number} if what == kind else set()
    return found


def _locations(table: bytes) -> Iterator[tuple[int, bool, list[tuple[int, int]]]]:
    """Each item's number, whether it stands in ``idat``, and place and length of its parts."""
    version = table[0]
    sizes = [table[4] >> 4, table[4] & 15, table[5] >> 4, table[5] & 15 if version else 0]
    at = 6

    def take(size: int) -> int:
        nonlocal at
        at += size
        if at > len(table):
            raise IndexError("the table ends too early")
        return int.from_bytes(table[at - size : at], "big")

    for _ in range(take(4 if version == 2 else 2)):
        number = take(4 if version == 2 else 2)
        inside = bool(version and take(2) & 15 == 1)
        take(2)
        base = take(sizes[2])
        extents = []
        for _ in range(take(2)):
            take(sizes[3])
            extents.append((base + take(sizes[0]), take(sizes[1])))
        yield number, inside, extents


class Box(NamedTuple):
    """Where the content of a box lies in its file; ``end`` may lie behind the file's."""

    name: bytes
    start: int
    end: int


def walk(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """Boxes side by side from one place to another, or to the first that is none.

    Raises struct.error where the file ends within the length of a box.
    """
    end = len(data) if end is None else min(end, len(data))
    for _ in range(MOST):
        if start + 8 > end:
            return
        length, name = struct.unpack_from(">I4s", data, start)
        head = 8
        if length == 1:
            (length,), head = struct.unpack_from(">Q", data, start + 8), 16
        elif length == 0:
            length = end - start
        if length < head:
            return
        yield Box(name, start + head, start + length)
        start += length


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Boxes side by side: name and content, of those that are looked into."""
    for name, start, end in walk(data):
        # Any other may be as large as the file, and is not copied.
        yield name, data[start:end] if name in LOOKED_INTO else b""
