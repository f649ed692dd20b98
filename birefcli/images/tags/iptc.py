"""IPTC-IIM: what agencies and photographers write of a picture, dataset by dataset.

Datasets are copied as bytes, whatever their character set is. JPEG, and TIFF beside its own tag,
keep them among Photoshop's "image resources", and PNG in text that other programs have agreed on.
"""

import binascii
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

MOST_BYTES = 400_000  # of all datasets; more would be too long for the text of a PNG
RESOURCE = 0x0404  # of Photoshop
PHOTOSHOP = b"Photoshop 3.0\0"  # how its segment of a JPEG begins
LAYOUT = frozenset({(2, 131), (2, 200), (2, 201), (2, 202)})  # orientation, preview
PLACE = frozenset(
    {
        *((2, 26), (2, 27), (2, 90), (2, 92)),  # content location, city, sublocation
        *((2, 95), (2, 100), (2, 101)),  # state, country
    }
)


class Datasets(NamedTuple):
    """What is sound of a block, and whether that is all of it."""

    data: bytes | None
    whole: bool


def sound(data: bytes) -> Datasets:
    """Datasets up to the first that is damaged, without orientation, previews and objects."""
    if data[:1] != b"\x1c" and data[3:4] == b"\x1c":  # as words of the other byte order
        data = np.frombuffer(data[: len(data) // 4 * 4], ">u4").astype("<u4").tobytes()
    found = list(_datasets(data))
    end = found[-1][-1] if found else 0
    kept = [
        data[start:stop]
        for record, number, start, stop in found
        if record < 7 and (record, number) not in LAYOUT
    ]
    return Datasets(b"".join(kept) or None, not data[end:].strip(b"\0"))


def without_place(data: bytes) -> bytes | None:
    """Leave out what names the place."""
    kept = [data[start:end] for *key, start, end in _datasets(data) if tuple(key) not in PLACE]
    return b"".join(kept) or None


def _datasets(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Record, dataset, and where it begins and ends, as long as they are sound."""
    at = 0
    while data[at : at + 1] == b"\x1c" and at + 5 <= len(data):
        record, number, size = struct.unpack_from(">BBH", data, at + 1)
        start = at + 5
        if size & 0x8000:  # an extended one: so many bytes tell its size
            digits = size & 0x7FFF
            if digits > 8:
                return
            size = int.from_bytes(data[start : start + digits], "big")
            start += digits
        if start + size > len(data):
            return
        yield record, number, at, start + size
        at = start + size


# Photoshop's image resources


def resource(datasets: bytes) -> bytes:
    """An image resource that holds datasets."""
    head = b"8BIM" + struct.pack(">HHI", RESOURCE, 0, len(datasets))
    return head + datasets + b"\0" * (len(datasets) % 2)


def of_resources(data: bytes) -> bytes | None:
    """Datasets of image resources; None where they have none."""
    at = 0
    while at + 12 <= len(data):
        (number,) = struct.unpack_from(">H", data, at + 4)
        at += 7 + data[at + 6] + (data[at + 6] + 1) % 2
        size = int.from_bytes(data[at : at + 4], "big")
        if number == RESOURCE:
            return data[at + 4 : at + 4 + size]
        at += 4 + size + size % 2
    return None


# Text of a PNG


def raw_profile(name: str, data: bytes) -> bytes:
    """A profile in hexadecimal digits, as ImageMagick began to write them."""
    digits = binascii.hexlify(data)
    lines = [digits[i : i + 72] for i in range(0, len(digits), 72)]
    return b"\n".join([b"", name.encode(), b"%8d" % len(data), *lines, b""])


def of_raw_profile(text: str) -> bytes | None:
    """Bytes of such a profile; None where it is damaged."""
    found = re.match(r"\n[^\n]*\n\s*\d+\n", text)
    if found is None:
        return None
    try:
        return bytes.fromhex(text[found.end() :])
    except ValueError:
        return None
