"""Photos as files: which names are tried, and what a path leads to."""

import os
import stat
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from birefcli.errors import Message, PhotoError

if TYPE_CHECKING:
    from birefcli.images.photo import Photo

PHOTO_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".tif", ".tiff", ".bmp"),
        *(".gif", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".avif"),
    }
)
"""Names that are tried when a folder is searched, lower case."""


def open_photo(path: Path, max_pixels: int) -> "Photo":
    """Read and decode a regular file. Raises PhotoError, which names the file."""
    from birefcli.images.decode import decode_photo  # help and completion want names alone
    from birefcli.images.reading import read_file

    try:
        return decode_photo(read_file(path, max_pixels), max_pixels)
    except OSError as error:
        raise PhotoError(f"{path}: {error.strerror or error}") from error
    except PhotoError as error:
        raise PhotoError(Message(f"{path}: ", error.message)) from error


def has_photo_name(name: str) -> bool:
    """Whether a file of a folder is a photo by its name; hidden ones are not.

    macOS leaves ``._a.jpg`` beside ``a.jpg`` on foreign disks.
    """
    return not name.startswith(".") and Path(name).suffix.lower() in PHOTO_SUFFIXES


def _raise(error: OSError) -> None:
    raise error


def walk_folder(
    root: Path,
    *,
    recursive: bool = True,
    follow_links: bool = True,
    skip: Path | None = None,
    on_error: Callable[[OSError], None] = _raise,
) -> Iterator[Path]:
    """Entries below a folder that are no folders, in name order, whatever they are.

    Hidden folders are left out, and so is ``skip``, given without links. A folder that links lead
    to twice is walked once. ``on_error`` is called for folders that cannot be read, which are left
    out where it does not raise.
    """
    walked: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(root, onerror=on_error, followlinks=follow_links):
        here = Path(folder)
        try:
            status = here.stat()
        except OSError as error:  # it has just gone
            on_error(error)
            folders.clear()
            continue
        if (status.st_dev, status.st_ino) in walked:  # a symlink led back
            folders.clear()
            continue
        walked.add((status.st_dev, status.st_ino))
        folders[:] = sorted(
            name
            for name in folders
            if recursive
            and not name.startswith(".")
            and (skip is None or real_path(here / name) != skip)
        )
        for name in sorted(names):
            yield here / name


def is_folder(path: Path) -> bool:
    """Whether a path leads to a folder, whatever its name is."""
    # Path.is_dir raises where a name is too long, or lies in a folder that may not be read.
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def entry_key(path: Path) -> str:
    """Name a file by its folder without links, and its name: equal for equal directory entries."""
    return str(_real_folder(path.parent.absolute()) / path.name)


@lru_cache(maxsize=4096)
def _real_folder(folder: Path) -> Path:
    # Resolving 100,000 paths one by one takes minutes, their folders a moment.
    return real_path(folder)


def real_path(path: Path) -> Path:
    """The path without links."""
    # Path.resolve raises RuntimeError for a link that leads to itself, before Python 3.13.
    return Path(os.path.realpath(path))
