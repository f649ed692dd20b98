"""What a file holds beside the picture that is read: more frames, a gain map."""

import re
from typing import BinaryIO, NamedTuple, cast

from PIL import Image

from birefcli.images.formats.tiff import count_pages

MOST_FRAMES = 100  # counted
_GAIN_MAP = "HDR gain map left out"
_IN_JPEG = re.compile(
    rb"urn:com:apple:photo:2020:aux:hdrgainmap"
    rb"|urn:iso:std:iso:ts:21496:-1\0"
    rb"|ns\.adobe\.com/hdr-gain-map/|hdrgm:Version"  # Ultra HDR
)
_IN_HEIF = re.compile(  # an item of ISO 21496-1, or what an item is for
    rb"infe[\2\3].{7,9}tmap|auxC.{4}urn:com:(?:apple:)?photo:(?:2020:)?aux:hdrgainmap", re.DOTALL
)
_HEIF_BEGINNING = 1 << 20  # bytes, in which items are listed
_GIF_BLOCKS = 500_000  # looked at, which takes a part of a second


class LeftOut(NamedTuple):
    """What is not read of a file."""

    notes: list[str]
    """All of it, in words."""
    pictures: bool
    """Whether there are more frames or pages than the first."""


def left_out(image: Image.Image, data: bytes) -> LeftOut:
    """What is left out of a file; ``data``: the file, where there is one."""
    notes = [_GAIN_MAP] if _has_gain_map(image, data) else []
    frames = count_frames(image)
    # A gain map is the second of the pictures that a JPEG lists.
    if frames <= 1 + (len(notes) if image.format == "MPO" else 0):
        return LeftOut(notes, pictures=False)
    count = f"more than {MOST_FRAMES}" if frames > MOST_FRAMES else frames
    return LeftOut([*notes, f"first of {count} frames or pages"], pictures=True)


def count_frames(image: Image.Image) -> int:
    """How many frames or pages a file has, counted a little beyond :data:`MOST_FRAMES`.

    Pillow decodes what is before a frame or page to find it, of all that there are.
    """
    if image.format not in ("TIFF", "GIF"):
        return int(getattr(image, "n_frames", 1))
    file = cast("BinaryIO | None", getattr(image, "fp", None))
    if file is None:  # a picture without further ones is closed once it is read
        return 1
    place = file.tell()
    try:
        return (count_pages if image.format == "TIFF" else _count_gif)(file, MOST_FRAMES + 1)
    finally:
        file.seek(place)


def _count_gif(file: BinaryIO, limit: int) -> int:
    """Frames of a GIF, up to ``limit``."""
    file.seek(10)
    _skip_colours(file, file.read(3)[:1])
    frames, left = 0, _GIF_BLOCKS
    while frames < limit and left > 0:
        kind = file.read(1)
        if kind == b"\x2c":
            frames += 1
            _skip_colours(file, file.read(9)[8:])
        elif kind == b"\0":  # some writers leave one between two blocks
            left -= 1
            continue
        elif kind != b"\x21":
            break
        file.seek(1, 1)
        while left > 0 and (length := file.read(1)) not in (b"", b"\0"):
            file.seek(length[0], 1)
            left -= 1
        left -= 1
    return max(1, frames)


def _skip_colours(file: BinaryIO, flags: bytes) -> None:
    """Pass by the palette that may follow a header."""
    if flags and flags[0] & 128:
        file.seek(3 << ((flags[0] & 7) + 1), 1)


def _has_gain_map(image: Image.Image, data: bytes) -> bool:
    """Whether a second picture says how much brighter the first may be shown."""
    if image.format in ("JPEG", "MPO"):
        segments = getattr(image, "applist", ())
        several = any(name == "APP2" and body.startswith(b"MPF\0") for name, body in segments)
        return several and _IN_JPEG.search(data) is not None
    if image.format in ("HEIF", "AVIF"):
        return _IN_HEIF.search(data, 0, _HEIF_BEGINNING) is not None
    return False
