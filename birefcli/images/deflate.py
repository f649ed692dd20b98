"""Deflate in parts that know nothing of each other, so that cores can share a picture."""

import zlib
from collections.abc import Iterable
from functools import reduce
from types import ModuleType
from typing import NamedTuple, TypeAlias

Data: TypeAlias = bytes | memoryview


def _fastest() -> ModuleType:
    """ISA-L where the extra ``fast`` is installed: four times zlib's speed at level 1."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib
    return isal_zlib


FASTEST = _fastest()
BASE = 65521  # of Adler-32, RFC 1950
HEAD = b"\x78\x01"  # of a zlib stream: deflate, window of 32 KB
LAST = b"\x03\x00"  # an empty block that says that it is the last one


class Part(NamedTuple):
    """One part of a zlib stream (RFC 1950)."""

    packed: bytes
    """Whole deflate blocks, none of them the last, ending at a byte."""
    adler: int
    """Adler-32 of what was packed."""
    length: int
    """Bytes that were packed."""


def _library(level: int) -> ModuleType:
    # Above level 1 zlib makes the smaller files; ISA-L has nothing to offer there.
    return FASTEST if level == 1 else zlib


def part(data: Data, level: int) -> Part:
    """Pack one part; ``level``: zlib's, 1 to 9."""
    library = _library(level)
    packer = library.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
    return Part(packed, library.adler32(data), len(data))


def whole(data: Data, level: int) -> bytes:
    """Pack one zlib stream."""
    packed: bytes = _library(level).compress(data, level)
    return packed


def tail(parts: Iterable[Part]) -> bytes:
    """What ends a stream of :data:`HEAD` and these parts."""
    _, adler, _ = reduce(_joined, parts, Part(b"", 1, 0))
    return LAST + adler.to_bytes(4, "big")


def _joined(left: Part, right: Part) -> Part:
    """Adler-32 and length of two parts together."""
    low = (left.adler & 0xFFFF) + (right.adler & 0xFFFF) - 1
    high = (left.adler >> 16) + (right.adler >> 16) + right.length * ((left.adler & 0xFFFF) - 1)
    return Part(b"", (high % BASE) << 16 | low % BASE, left.length + right.length)
