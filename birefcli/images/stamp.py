"""What a product says of its own making: enough to know later whether it is up to date.

The stamp lies inside the file (PNG text, TIFF tag, WebP XMP, JPEG comment), so it is written in
the same instant as the pixels, survives copying single files and killed runs, and two runs at once
cannot tear it. A list in the output folder could do none of that.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

# The semicolon ends it: whatever byte a format puts next may look like one digit more.
_PATTERN = re.compile(rb"birefcli:2 ([0-9a-f]{16}) (\w{1,8}) (\w{1,12}) (\d{1,20}) (-?\d{1,20});")
END = b"end of "  # what a TIFF of ours closes with, before its stamp once more
_OTHER = re.compile(rb"birefcli:\d+ [^;]{1,80};")  # of another version: ours, and out of date
_WINDOW = 4096  # bytes at either end of a file in which its stamp lies


@dataclass(frozen=True)
class Stamp:
    """Of one product: by what it was made, and of which version of the photo."""

    fingerprint: str
    """Digest of the model and of every option that shows in this product."""
    precision: str
    """Of the run, like ``fp16``; a photo that overflowed and was done again in fp32 keeps it."""
    product: str
    """Which product it is, like ``cutout``; or :data:`SHEET`."""
    size: int
    """Bytes of the photo's file."""
    mtime_ns: int
    """When the photo's file was last modified, in nanoseconds."""

    def text(self) -> str:
        """ASCII, as it is written into the file."""
        made = f"{self.fingerprint} {self.precision} {self.product}"
        return f"birefcli:2 {made} {self.size} {self.mtime_ns};"


@dataclass(frozen=True)
class StampedFile:
    """What lies at a target.

    ``whole``: its end is there and says so; ``stamp``: that of a product of ours, or an empty one
    where another version of birefcli made it.
    """

    whole: bool
    stamp: Stamp | None


def read(path: Path) -> StampedFile:
    """Look at a product without decoding it: two short reads. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(_WINDOW)
        length = file.seek(0, os.SEEK_END)
        file.seek(max(0, length - _WINDOW))
        tail = file.read()
    match = _PATTERN.search(head) or _PATTERN.search(tail)
    stamp = None
    if match is None:
        if _OTHER.search(head) or _OTHER.search(tail):
            stamp = Stamp("", "", "", 0, 0)
    else:
        fingerprint, precision, product = (match[i].decode() for i in (1, 2, 3))
        stamp = Stamp(fingerprint, precision, product, int(match[4]), int(match[5]))
    return StampedFile(_is_whole(head, tail, length), stamp)


SHEET = "sheet"
"""A page of a contact sheet: no photo, and no matte, for anybody."""


def is_sheet(path: Path) -> bool:
    """Whether a file is a page of a contact sheet. Raises OSError."""
    found = read(path).stamp
    return found is not None and found.product == SHEET


def _is_whole(head: bytes, tail: bytes, length: int) -> bool:
    """Whether a picture's file ends where its format says."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return tail.endswith(b"IEND\xaeB`\x82")
    if head.startswith(b"\xff\xd8"):
        return tail.endswith(b"\xff\xd9")
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return int.from_bytes(head[4:8], "little") + 8 == length
    if head[:4] in (b"II*\0", b"MM\0*"):
        ours = _PATTERN.search(head)
        if ours is not None:
            return tail.endswith(END + ours[0])
        offset = int.from_bytes(head[4:8], "little" if head.startswith(b"II") else "big")
        return 8 <= offset < length
    return False
