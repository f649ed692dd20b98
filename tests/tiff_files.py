"""TIFF files of any tags, with directories inside directories, as cameras and editors write."""

import struct


def page(tags, strips=(), *, inner=(), tiles=False):
    """A picture of a TIFF file: ``tags`` are numbers, tuples of numbers, or bytes.

    ``strips``: bytes of each strip, or of each tile. ``inner``: pages that this one refers to.
    """
    return tags, tuple(strips), tuple(inner), tiles


def tiff_file(*pages, order="<", magic=None, head=b"", big=False):
    """Bytes of a file; ``head`` stands between the header and all else, as in some raw files."""
    start = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    place = "Q" if big else "I"
    out = bytearray((magic or start) + (struct.pack(order + "HH", 8, 0) if big else b""))
    link = len(out)
    out += bytes(8 if big else 4) + head
    for one in pages:
        at, link_after = _write(out, one, order, big)
        out[link : link + struct.calcsize(place)] = struct.pack(order + place, at)
        link = link_after
    return bytes(out)


def _write(out, one, order, big):
    tags, strips, inner, tiles = one
    table = dict(tags)
    places = []
    for strip in strips:
        places.append(len(out))
        out += strip + bytes(len(strip) % 2)
    if strips:
        table[324 if tiles else 273] = tuple(places)
        table[325 if tiles else 279] = tuple(map(len, strips))
    if inner:
        table[330] = tuple(_write(out, each, order, big)[0] for each in inner)
    entries, place = b"", "Q" if big else "I"
    for tag, value in sorted(table.items()):
        numbers = (value,) if isinstance(value, int) else value
        if isinstance(numbers, bytes):
            kind, count, packed = 7, len(numbers), numbers
        else:
            kind, count = 4, len(numbers)
            packed = struct.pack(f"{order}{count}I", *numbers)
        if len(packed) > (8 if big else 4):
            out += bytes(len(out) % 2)
            field = struct.pack(order + place, len(out))
            out += packed
        else:
            field = packed.ljust(8 if big else 4, b"\0")
        entries += struct.pack(order + "HH" + place, tag, kind, count) + field
    out += bytes(len(out) % 2)
    at = len(out)
    out += struct.pack(order + ("Q" if big else "H"), len(table)) + entries
    out += bytes(8 if big else 4)
    return at, len(out) - (8 if big else 4)


def grey(width, height, *, bits=8, pixels=None, **tags):
    """Tags and strips of a grey picture; ``tags`` by number as ``t254=1``."""
    body = bytes(width * height * bits // 8) if pixels is None else pixels
    table = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 277: 1, 278: height}
    return {**table, **{int(name[1:]): value for name, value in tags.items()}}, (body,)


def tiff_pages(count, first_again=False):
    """Pages that share their pixels."""
    table, _ = grey(4, 4)
    table |= {273: 8, 279: 16}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, n) for tag, n in sorted(table.items()))
    size = 2 + len(entries) + 4
    parts = [b"II*\0\x18\0\0\0" + bytes(16)]
    for n in range(count):
        following = 24 + size * (n + 1) if n < count - 1 else 24 if first_again else 0
        parts.append(struct.pack("<H", len(table)) + entries + struct.pack("<I", following))
    return b"".join(parts)
