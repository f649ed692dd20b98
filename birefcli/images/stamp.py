"""What a product says of its own making: enough to know later whether it is up to date.

Beside that it holds what its run found out, see :mod:`.findings`.

The stamp lies inside the file, so it is written in the same instant as the pixels, survives copying
single files and killed runs, and two runs at once cannot tear it. A list in the output folder could
do none of that.

It is read at its place in the format alone: text that looks like one elsewhere, as in a photo's
description, is nobody's stamp.

- PNG: all of the ``Software`` text, before the pixels; or behind them, among the file's last bytes,
  where ImageMagick moves it.
- JPEG: all of the comment that follows the JFIF header.
- TIFF: right behind the header, and once more where the file ends.
- WebP: a chunk of our own, :func:`webp_chunk`, which ends the file.
- AVIF: a box of our own, :func:`avif_box`, which ends the file.
"""

import errno
import os
import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from birefcli.images import findings, image_data
from birefcli.images.findings import Findings
from birefcli.images.formats import png
from birefcli.images.image_data import ImageData
from birefcli.system.regular_file import open_regular

# Of one length: it is known before its numbers.
_CHECKSUM = rb"(?P<file>\d{12}) (?P<data>\d{12}) (?P<crc>[0-9a-f]{8})"
# The semicolon ends it: whatever byte a format puts next may look like one digit more.
_PATTERN = re.compile(
    rb"birefcli:3 (?P<fingerprint>[0-9a-f]{16}) (?P<precision>\w{1,8}) (?P<product>\w{1,12})"
    rb" (?P<size>\d{1,20}) (?P<mtime_ns>-?\d{1,20})(?P<reframed> reframed)?(?: "
    + findings.PATTERN
    + rb")? "
    + _CHECKSUM
    + b";"
)
END = b"end of "  # what a TIFF of ours closes with, before its stamp once more
# Of another version: ours, and out of date. From the third on, every one ends with its checksum.
_OTHER = re.compile(rb"birefcli:\d+ [^;]{1,1100}?(?: " + _CHECKSUM + b")?;")
WINDOW = 4096  # bytes at either end of a file in which its stamp lies
AT_END = frozenset({".webp", ".avif", ".tif", ".tiff"})
_CHUNK, _MOST_ZEROS = 1 << 16, 1 << 28  # bytes read at once, and together, of zeros
PNG_KEY = b"Software\0"
_PNG_KEY = re.compile(PNG_KEY)
_RIFF, _TIFF = b"RIFF", (b"II*\0", b"MM\0*")
_LENGTHS = range(160, 1200, 32)  # bytes that a stamp takes which is found from the end


class Checksum(NamedTuple):
    """What a file was when it was written: by which it is known whether somebody changed it."""

    file_length: int
    """Bytes of the file: a look tells them, and most programs that write it anew change them."""
    data: ImageData
    """Of its encoded pixels."""


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
    reframed: bool = False
    """Whether it does not show the matte itself: it was cropped, lies on a canvas, or its alpha has
    a shadow. Products of versions that did not tell have it not."""
    found: Findings | None = field(default=None, compare=False)
    """What its run found out about the photo; None in one of a version that did not tell."""
    checksum: Checksum | None = field(default=None, compare=False)
    """Of the file that it was found in; None in one of a version that wrote none."""

    def text(self) -> str:
        """ASCII, as encoders take it, which add the checksum: :func:`with_checksum`."""
        made = f"{self.fingerprint} {self.precision} {self.product}"
        reframed = " reframed" if self.reframed else ""
        found = "" if self.found is None else f" {self.found.text(self.product)}"
        return f"birefcli:3 {made} {self.size} {self.mtime_ns}{reframed}{found}"


def with_checksum(text: str, rest: int, data: ImageData, times: int = 1) -> str:
    """A stamp's text as it is written into a file.

    ``rest``: bytes of the file beside this text, which is in it so many ``times``.
    """
    numbers = f" {data.length:012d} {data.crc:08x};"
    return f"{text} {rest + times * (len(text) + 13 + len(numbers)):012d}{numbers}"


@dataclass(frozen=True)
class StampedFile:
    """What lies at a target.

    ``whole``: its end is there and says so; ``stamp``: that of a product of ours, or an empty one
    where another version of birefcli made it; ``blank``: it holds nothing of anybody's, being empty
    or zeros throughout, as a power cut leaves it; ``length``: its bytes.
    """

    whole: bool
    stamp: Stamp | None
    blank: bool = field(default=False, compare=False)
    length: int = field(default=0, compare=False)


def read(path: Path) -> StampedFile:
    """Look at a product without decoding it: two short reads, and more of zeros alone.

    Raises OSError, also for what is no regular file or gives fewer bytes than it has.
    """
    with open_regular(path) as file:
        return of_file(file, path)


def of_file(file: BinaryIO, path: Path) -> StampedFile:
    """As :func:`read`, of a regular file that is open; ``path``: its name, for errors."""
    length = file.seek(0, os.SEEK_END)
    head = _window(file, 0, length, path)
    tail = _window(file, max(0, length - WINDOW), length, path)
    blank = not head.strip(b"\0") and not tail.strip(b"\0") and _is_zeros(file, length)
    text = _text_at_its_place(head, tail)
    return StampedFile(_is_whole(head, tail, length, text), _parsed(text), blank, length)


def of_bytes(data: bytes) -> Stamp | None:
    """The stamp of a whole file."""
    return _parsed(_text_at_its_place(data[:WINDOW], data[-WINDOW:]))


def has_own_pixels(file: BinaryIO, written: Checksum) -> bool:
    """Whether a file holds the encoded pixels that it was written with. Raises OSError."""
    try:
        return image_data.measure(file, written.data.length) == written.data
    except ValueError:
        return False


def has_own_length(file: BinaryIO, length: int, written: Checksum) -> bool:
    """The same as far as lengths tell; ``length``: of the file. Raises OSError.

    Of a file that is as long as it was, nothing is read; of one that is longer or shorter, as a
    title makes it, only how long its pixels are.
    """
    if length == written.file_length:
        return True
    try:
        return image_data.length(file) == written.data.length
    except ValueError:
        return False


def findings_of(file: BinaryIO, there: StampedFile) -> Findings | None:
    """What the run that made a product found out about its photo.

    ``file``: open, and what :func:`of_file` says of it. None where it does not tell, or where its
    pixels are known by their length to be others; titles change none. Raises OSError.
    """
    made = there.stamp
    if made is None or made.found is None or made.checksum is None:
        return None
    return made.found if has_own_length(file, there.length, made.checksum) else None


def is_at_end(suffix: str) -> bool:
    """Whether files with this suffix, in lower case, can be told by their last bytes alone."""
    return suffix in AT_END


def may_be_at_end(head: bytes) -> bool:
    """Whether a file with no stamp in its first bytes may have one in its last: a PNG."""
    return head.startswith(png.SIGNATURE)


def of_window(window: bytes, *, at_end: bool) -> Stamp | None:
    """The stamp that is in the first bytes of a file, or in its last ones: :data:`WINDOW` of them.

    ``at_end``: whether its end is among them; what has both in it is taken for the whole.
    """
    found = _parsed(_text_at_its_place(window, window if at_end else b""))
    return found or (_parsed(_text_at_end(window)) if at_end else None)


def _parsed(text: bytes) -> Stamp | None:
    if match := _PATTERN.fullmatch(text):
        product = match["product"].decode()
        return Stamp(
            match["fingerprint"].decode(),
            match["precision"].decode(),
            product,
            int(match["size"]),
            int(match["mtime_ns"]),
            match["reframed"] is not None,
            findings.parse(product, match),
            _checksum(match),
        )
    if match := _OTHER.fullmatch(text):
        known = None if match["crc"] is None else _checksum(match)
        return Stamp("", "", "", 0, 0, checksum=known)
    return None


def _checksum(match: re.Match[bytes]) -> Checksum:
    return Checksum(int(match["file"]), ImageData(int(match["data"]), int(match["crc"], 16)))


def _text_at_end(tail: bytes) -> bytes:
    """What stands where a file of ours ends with its stamp: anything, or nothing."""
    at = tail.rfind(END + b"birefcli:")  # a note may have the words alone
    if at >= 0 and tail.endswith(b";"):
        return tail[at + len(END) :]
    found = _last_text(tail, _webp_head) or _last_text(tail, _avif_head)
    return found or _png_software_at_end(tail)


def _window(file: BinaryIO, at: int, length: int, path: Path) -> bytes:
    file.seek(at)
    window = file.read(WINDOW)
    if len(window) < min(WINDOW, length - at):
        raise OSError(errno.EIO, "gives fewer bytes than it has", str(path))
    return window


def _is_zeros(file: BinaryIO, length: int) -> bool:
    """Whether a file holds nothing but zeros, as far as that can be told quickly."""
    at = 0
    for _ in range(_MOST_ZEROS // _CHUNK):
        at = _next_data(file, at, length)
        file.seek(at)
        part = file.read(_CHUNK)
        if part.strip(b"\0"):
            return False
        at += len(part)
        if at >= length or not part:
            return at >= length
    return False


def _next_data(file: BinaryIO, at: int, length: int) -> int:
    """Where a file's next bytes lie that are stored; its end where there are none."""
    if not hasattr(os, "SEEK_DATA"):
        return at
    try:
        return os.lseek(file.fileno(), at, os.SEEK_DATA)
    except OSError as error:
        return length if error.errno == errno.ENXIO else at  # a disk may not know


def _text_at_its_place(head: bytes, tail: bytes) -> bytes:
    """What stands where a product of ours has its stamp: anything, or nothing."""
    if head.startswith(png.SIGNATURE):
        return _png_software(png.chunks(head)) or _png_software_at_end(tail)
    if head.startswith(b"\xff\xd8"):
        return _jpeg_comment(head)
    if head.startswith(_RIFF) and head[8:12] == b"WEBP":
        return _last_text(tail, _webp_head)
    if head[4:8] == b"ftyp":
        return _last_text(tail, _avif_head)
    found = _PATTERN.match(head, 8) or _OTHER.match(head, 8)
    return found[0] if found and head.startswith(_TIFF) else b""


def _last_text(tail: bytes, head: Callable[[int], bytes]) -> bytes:
    """What a chunk or box of ours says that ends a file; ``head``: how one of a length begins."""
    for length in _LENGTHS:
        start = head(length)
        at = len(tail) - length - len(start)
        if at >= 0 and tail.startswith(start, at):
            return tail[at + len(start) :].rstrip(b"\0")
    return b""


def _png_software(chunks: Iterable[png.Chunk]) -> bytes:
    """The text of the first ``Software`` chunk before any pixels."""
    for chunk in chunks:
        if chunk.name in png.TEXTS and chunk.body.startswith(PNG_KEY):
            return png.text_of(chunk, WINDOW)
        if chunk.name == b"IDAT":
            break
    return b""


def _png_software_at_end(tail: bytes) -> bytes:
    """The same, behind the pixels, as far as it is in ``tail``."""
    starts = (found.start() - 8 for found in _PNG_KEY.finditer(tail))
    texts = (_png_software(png.last_chunks(tail, at)) for at in starts if at >= 0)
    return next(filter(None, texts), b"")


def _jpeg_comment(head: bytes) -> bytes:
    """The comment that follows a JPEG's start, or its JFIF header."""
    at = jpeg_place(head)
    if head[at : at + 2] != b"\xff\xfe":
        return b""
    return head[at + 4 : at + 2 + int.from_bytes(head[at + 2 : at + 4], "big")]


def jpeg_place(data: bytes) -> int:
    """Where in a JPEG its stamp is: behind the JFIF header, which must come first."""
    return 4 + int.from_bytes(data[4:6], "big") if data[2:4] == b"\xff\xe0" else 2


def webp_chunk(text: str) -> bytes:
    """A chunk that holds a stamp, to stand behind all others of an extended WebP file.

    Readers skip chunks that they do not know. XMP would be the other place; but that is the
    photo's, as long as it likes to be, and programs that edit it write it anew.
    """
    return _padded(text, _webp_head)


def avif_box(text: str) -> bytes:
    """A box that holds a stamp, to stand behind all others of an AVIF file: readers skip it."""
    return _padded(text, _avif_head)


def _padded(text: str, head: Callable[[int], bytes]) -> bytes:
    length = next(length for length in _LENGTHS if length >= len(text))
    return head(length) + text.encode("ascii").ljust(length, b"\0")


def _webp_head(length: int) -> bytes:
    return b"BRFC" + struct.pack("<I", length)


def _avif_head(length: int) -> bytes:
    kind = bytes.fromhex("6269726566636c69a8d17374616d7031")
    return struct.pack(">I", 24 + length) + b"uuid" + kind


SHEET = "sheet"
"""A page of a contact sheet: no photo, and no matte, for anybody."""


def is_sheet(path: Path) -> bool:
    """Whether a file is a page of a contact sheet. Raises OSError."""
    found = read(path).stamp
    return found is not None and found.product == SHEET


def _is_whole(head: bytes, tail: bytes, length: int, text: bytes) -> bool:
    """Whether a picture's file ends where its format says; ``text``: what its stamp says."""
    if head.startswith(png.SIGNATURE):
        return tail.endswith(b"IEND\xaeB`\x82")
    if head.startswith(b"\xff\xd8"):
        return tail.endswith(b"\xff\xd9")
    if head.startswith(_RIFF) and head[8:12] == b"WEBP":
        return int.from_bytes(head[4:8], "little") + 8 == length
    if head[4:8] == b"ftyp":
        return bool(text)
    if head.startswith(_TIFF):
        if text:
            return tail.endswith(END + text)
        offset = int.from_bytes(head[4:8], "little" if head.startswith(b"II") else "big")
        return 8 <= offset < length
    return False
