"""Bytes of a photo's file: no more of them than a photo may have, and none before its header."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from birefcli.errors import Message, Option, PhotoError, PhotoTooLargeError
from birefcli.images.opening import (
    LongHeaderError,
    decoding_errors,
    read_header,
    refuse_bomb,
    stated_size,
)
from birefcli.system.regular_file import open_regular

LARGE = 1 << 26  # bytes; of files above this the header is read first
FILE_PER_PIXEL = 16  # bytes; no file of one picture needs more
CHUNK = 1 << 24  # bytes read at once of what has no known end


def read_file(path: Path, max_pixels: int) -> bytes:
    """Bytes of a photo's file. Raises PhotoError, and OSError also for what is no regular file."""
    with open_regular(path) as file:
        return read_photo(file, max_pixels)


def read_photo(
    file: BinaryIO, max_pixels: int, before_large: Callable[[int, int], object] = lambda *_: None
) -> bytes:
    """Bytes of a photo in an open regular file.

    ``before_large`` is called with the pixels and the bytes of a large file before it is read, and
    may wait; where a header does not say how many pixels, they are as many as are allowed. Raises
    PhotoError for what is no photo or has more than ``max_pixels``, and OSError.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if size > LARGE:
        _refuse_length(size, LARGE + FILE_PER_PIXEL * max_pixels, max_pixels)
        pixels, limit = _read_limits(file, max_pixels)
        _refuse_length(size, limit, pixels)
        before_large(pixels, size)
    return file.read()


def read_stream(stream: BinaryIO, max_pixels: int, start: bytes = b"") -> bytes:
    """Bytes of a photo that comes through a pipe or from a device, to its end.

    ``start``: what was read of it already. What does not begin as a photo is not read any further.
    Raises PhotoError where it is none, or goes on beyond what its number of pixels can need;
    OSError.
    """
    collected = io.BytesIO(start)
    collected.seek(0, io.SEEK_END)
    limits: tuple[int, int] | None = None
    while part := stream.read(CHUNK):
        collected.write(part)
        if limits is None and collected.tell() > LARGE:
            collected.seek(0)
            limits = _read_limits(collected, max_pixels)
            collected.seek(0, io.SEEK_END)
        if limits is not None:
            _refuse_length(collected.tell(), limits[1], limits[0])
    return collected.getvalue()


def stated_pixels(data: bytes, max_pixels: int) -> int:
    """Pixels of a picture by its header alone; as many as are allowed where it does not say.

    Raises PhotoError for what is no picture or has more than ``max_pixels``.
    """
    if not data:
        raise PhotoError("the file is empty")
    return _read_limits(io.BytesIO(data), max_pixels)[0]


def _read_limits(file: BinaryIO, max_pixels: int) -> tuple[int, int]:
    """Pixels by a header, and the bytes that its file may have. Raises PhotoError, OSError."""
    start = file.read(512)
    file.seek(0)
    most = LARGE + FILE_PER_PIXEL * max_pixels
    size = None
    try:
        with decoding_errors(start):
            size = stated_size(file)
            file.seek(0)
            refuse_bomb(*(size or (0, 0)), max_pixels)
            header = read_header(file)
    except LongHeaderError:
        return (size[0] * size[1] if size else max_pixels), most
    refuse_bomb(header.width, header.height, max_pixels)
    # Layers and pages make a TIFF longer than its first picture needs.
    layered = header.format == "TIFF"
    return header.pixels, most if layered else LARGE + FILE_PER_PIXEL * header.pixels


def _refuse_length(length: int, limit: int, pixels: int) -> None:
    if length > limit:
        raise PhotoTooLargeError(
            Message(
                f"{length / 1e9:.1f} GB are no photo of {pixels / 1e6:g} megapixels (see ",
                Option("max_megapixels"),
                ")",
            )
        )
