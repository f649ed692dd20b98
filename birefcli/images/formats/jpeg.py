"""JPEG files that lack their end, or say far too much."""

import io
import re
from collections import Counter
from collections.abc import Iterator
from typing import IO

import numpy as np
from PIL import Image

from birefcli.errors import PhotoError
from birefcli.images.photo import Pixels

START = b"\xff\xd8\xff"
SCAN = b"\xff\xda"
END = b"\xff\xd9"
MOST_SCANS = 100
"""Of one picture: an encoder writes some ten, those that try for the smallest file a few dozen. A
decoder goes through all pixels for each, of however few bytes."""
MOST_SEGMENTS = 10_000
"""Of one picture, of 64 KB each: the largest profiles and depth maps need hundreds."""
MOST_FILL = 1 << 18
"""Bytes before the first scan that belong to no segment."""
_COSTLY = {b"\xe1Exif\0\0": ("EXIF", 64), b"\xed": ("Photoshop", 128), b"\xdb": ("table", 16)}
"""Segments before the first scan that take more than their length to read, what they hold, and how
many there may be: 4 MB of EXIF, which Pillow joins one by one, and 8 MB of Photoshop's resources; a
picture has four quantization tables at most."""
_EMPTY = (0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE))
"""Markers that have no length, to Pillow."""
_WINDOW = 512  # bytes that are searched for the next marker
_ANY_MARKER = re.compile(rb"\xff[^\x00\xff]")
_MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")  # but those that hold nothing


def _garbage(seed: int) -> bytes:
    """Values that mean anything but the end, without a marker and then after each restart."""
    values = np.random.default_rng(seed).integers(0, 255, (17, 1024), np.uint8)
    lines: list[bytes] = [line.tobytes() for line in values]
    restarts = (b"\xff%c" % (0xD0 + n % 8) for n in range(len(lines) - 1))
    return lines[0] + b"".join(map(b"".join, zip(restarts, lines[1:], strict=True)))


def check_header(file: IO[bytes] | io.BufferedIOBase) -> None:
    """Refuse a JPEG with more before its first scan than any picture has: Pillow reads on for long.

    Raises PhotoError.
    """
    counts: Counter[str] = Counter()
    at, fill = 2, 0
    for _ in range(MOST_SEGMENTS):
        file.seek(at)
        window = file.read(_WINDOW)
        found = _ANY_MARKER.search(window)
        if found is None or found.start():
            passed = len(window) if found is None else found.start()
            at, fill = at + passed, fill + passed
            if not passed:
                return
            if fill > MOST_FILL:
                raise PhotoError("damaged image: its header does not end")
            continue
        if window.startswith(SCAN):
            return
        empty = window[1] in _EMPTY
        at += 2 if empty else 2 + max(2, int.from_bytes(window[2:4], "big"))
        _count_costly(window[1:2] + window[4:10], counts)
    raise PhotoError(f"damaged image: more than {MOST_SEGMENTS} segments")


def _count_costly(start: bytes, counts: Counter[str]) -> None:
    """Count a segment by its marker and first bytes. Raises PhotoError for one too many."""
    for kind, (name, most) in _COSTLY.items():
        if start.startswith(kind):
            counts[name] += 1
            if counts[name] > most:
                raise PhotoError(f"damaged image: more than {most} {name} segments")


def check_scans(data: bytes) -> None:
    """Refuse a file whose first picture has more than :data:`MOST_SCANS`. Raises PhotoError."""
    # Within pixels a value of 255 is followed by a zero; thumbnails may hold a few.
    if data.count(SCAN) <= MOST_SCANS:
        return
    scans = sum(marker == SCAN[1] for marker, _ in _segments(data))
    if scans > MOST_SCANS:
        raise PhotoError(f"damaged image: {scans} scans, more than {MOST_SCANS}")


def lacks_end(data: bytes) -> bool:
    """Whether no end marker follows the last pixels. Some decoders need none, and say nothing."""
    if data.rfind(END) > data.rfind(b"\xff\xda"):
        return False
    # What follows a picture, as the film of a motion photo, may hold any bytes.
    return all(marker != END[1] for marker, _ in _segments(data))


def with_end(data: bytes) -> bytes | None:
    """The file with its end marker, where nothing else is missing; None for one that is cut off.

    A decoder makes grey of what is missing, and says so to nobody. So it is given more than there
    is: where the picture then is another, it lacked something.
    """
    body = data.rstrip(b"\0")
    if body.endswith(b"\xff"):  # of a value, which a zero follows, or of the marker
        body = body + b"\0" if len(body) < len(data) else body[:-1]
    if not _has_all_scans(body):
        return None
    try:
        pixels = _decoded(body + END)
        same = all(np.array_equal(pixels, _decoded(body + _garbage(n) + END)) for n in (1, 2))
    except OSError:
        return None
    return body + END if same else None


def _decoded(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return np.asarray(image)


def _has_all_scans(data: bytes) -> bool:
    """Whether scans give all bits of all 64 frequencies of each channel."""
    missing: dict[int, set[int]] = {}
    for marker, body in _segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and len(body) > 5:
            missing = {channel: set(range(64)) for channel in body[6::3][: body[5]]}
        elif marker == 0xDA and body:
            count = body[0]
            first, last, bits = (*body[1 + 2 * count : 4 + 2 * count], 0, 0, 0)[:3]
            for channel in body[1 : 1 + 2 * count : 2]:
                if bits & 15 == 0 and channel in missing:
                    missing[channel] -= set(range(first, last + 1))
    return bool(missing) and not any(missing.values())


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Markers of a file's first picture, and what they hold; its end holds nothing.

    Raises PhotoError for too many.
    """
    at = 2
    for _ in range(MOST_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None:
            return
        marker = data[found.end() - 1]
        if marker == END[1]:
            yield marker, b""
            return
        length = int.from_bytes(data[found.end() : found.end() + 2], "big")
        yield marker, data[found.end() + 2 : found.end() + length]
        at = found.end() + max(2, length)
    raise PhotoError(f"damaged image: more than {MOST_SEGMENTS} segments")
