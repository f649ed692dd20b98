"""Photos as files: which names are tried, and what a path leads to."""

import os
import stat
from functools import lru_cache
from pathlib import Path

PHOTO_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".tif", ".tiff", ".bmp"),
        *(".gif", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".avif"),
    }
)
"""Names that are tried when a folder is searched, lower case."""


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
