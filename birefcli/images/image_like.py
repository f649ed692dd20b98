"""A photo as a program gives it: a file's name, its bytes, an open file, a picture, an array."""

import os
import re
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from birefcli.errors import PhotoError
from birefcli.images.decode import decode_photo, decode_pil
from birefcli.images.files import open_photo
from birefcli.images.photo import Photo, photo_from_array
from birefcli.images.reading import read_stream

FileBytes: TypeAlias = "bytes | bytearray | memoryview"

ImageLike: TypeAlias = "str | os.PathLike[str] | FileBytes | BinaryIO | Image.Image | NDArray[Any]"
"""A photo: the name of a file; a file's bytes; a file that is open in binary mode, read from where
it stands to its end; a picture of Pillow's; or an array of H×W (grey), H×W×3 (RGB) or H×W×4 (RGBA,
straight alpha) of uint8 or uint16."""

Snapshot: TypeAlias = "Photo | Path | bytes | PhotoError"
"""What is left to be read or decoded, and may be in another thread."""

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
NOT_FETCHED = (
    "URLs are not fetched in Python: download it and give the file's name or bytes "
    "(birefcli serve fetches http and https, birefcli matte s3, gs and az)"
)

IN_MEMORY = (bytes, bytearray, memoryview)
ONE = (str, os.PathLike, Image.Image, np.ndarray, *IN_MEMORY)


class Given(NamedTuple):
    """A photo that is taken, and where it is from."""

    snapshot: Snapshot
    file: Path | None
    """As :func:`file_of` finds it."""

    def decode(self, max_pixels: int) -> Photo:
        """The photo itself. Raises PhotoError."""
        return decode(self.snapshot, max_pixels)


def snapshot(photo: ImageLike, max_pixels: int) -> Snapshot:
    """Take a photo as it is now: its owner may close, or change, what was given at once.

    Files that are open are read, and pictures decoded; all else is left to :func:`decode`. A photo
    that cannot be had is returned as its error. Raises TypeError for what can be none.
    """
    try:
        if isinstance(photo, str) and URL.match(photo):
            return PhotoError(f"{photo}: {NOT_FETCHED}")
        if isinstance(photo, (str, os.PathLike)):
            return Path(photo)
        if isinstance(photo, Image.Image):
            return decode_pil(photo)
        if isinstance(photo, np.ndarray):
            return photo_from_array(photo)
        if isinstance(photo, IN_MEMORY):
            return bytes(photo)
        if _is_file(photo):
            return _contents(photo, max_pixels)
    except PhotoError as error:
        return error
    # Not everybody uses a type checker.
    kinds = "a file's name, its bytes, a file open in binary mode, a PIL image or a NumPy array"
    raise TypeError(f"a photo is {kinds}, not {type(photo).__name__}")


def decode(seen: Snapshot, max_pixels: int) -> Photo:
    """The photo itself. Raises PhotoError."""
    if isinstance(seen, Photo):
        return seen
    if isinstance(seen, PhotoError):
        raise seen
    if isinstance(seen, bytes):
        return decode_photo(seen, max_pixels)
    return open_photo(seen, max_pixels)


def file_of(photo: object) -> Path | None:
    """The file that a photo is of, as far as that is known, wherever the process goes then."""
    name = photo if isinstance(photo, (str, os.PathLike)) else None
    if isinstance(photo, Image.Image):
        name = getattr(photo, "filename", None)
    elif _is_file(photo):
        name = getattr(photo, "name", None)
    if not name or not isinstance(name, (str, os.PathLike)):  # an open file may have a number
        return None
    try:
        return Path(name).absolute()
    except OSError:  # this process's own folder is gone
        return None


def is_image_like(given: object) -> bool:
    """Whether it is one photo, and not several: also a file, which Python can iterate over."""
    return isinstance(given, ONE) or _is_file(given)


def _is_file(given: object) -> bool:
    """Whether it is read as a file is: libraries have many types of those."""
    return callable(getattr(given, "read", None))


def _contents(file: BinaryIO, max_pixels: int) -> bytes:
    """What is left to read of a file, as far as a photo may be so long.

    Raises PhotoError, TypeError for one that gives no bytes.
    """
    if getattr(file, "closed", False):
        raise PhotoError("the file is closed")
    try:
        start = file.read(0)
        if not isinstance(start, bytes):
            raise TypeError("a photo's file gives no bytes: open it in binary mode, as by 'rb'")
        data = read_stream(file, max_pixels)
        if not data and file.seekable() and file.tell():
            raise PhotoError("nothing is left to read; seek(0) goes to the file's start")
    except OSError as error:
        raise PhotoError(error.strerror or str(error)) from error
    return data
