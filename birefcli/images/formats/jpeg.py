"""JPEG files that lack their end."""

import io
import re
from collections.abc import Iterator

import numpy as np
from PIL import Image

from birefcli.images.photo import Pixels

END = b"\xff\xd9"
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # but those within pixels


def _garbage(seed: int) -> bytes:
    """Values that mean anything but the end, without a marker and then after each restart."""
    values = np.random.default_rng(seed).integers(0, 255, (17, 1024), np.uint8)
    lines: list[bytes] = [line.tobytes() for line in values]
    restarts = (b"\xff%c" % (0xD0 + n % 8) for n in range(len(lines) - 1))
    return lines[0] + b"".join(map(b"".join, zip(restarts, lines[1:], strict=True)))


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
    """Markers of a file's first picture, and what they hold; its end holds nothing."""
    at = 2
    while (found := _MARKER.search(data, at)) is not None:
        marker = data[found.end() - 1]
        if marker == END[1]:
            yield marker, b""
            return
        length = int.from_bytes(data[found.end() : found.end() + 2], "big")
        yield marker, data[found.end() + 2 : found.end() + length]
        at = found.end() + max(2, length)
