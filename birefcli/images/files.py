"""Photos as files: which names are tried, and what a path leads to."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from functools import lru_cache
from operator import attrgetter
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from birefcli.errors import Message, NoPictureError, PhotoError, printable
from birefcli.system.paths import absolute, real_path

if TYPE_CHECKING:
    from birefcli.images.photo import Photo

PHOTO_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".tif", ".tiff", ".bmp"),
        *(".gif", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".avif"),
    }
)
"""Names that are tried when a folder is searched, lower case."""

OTHER_SUFFIXES = frozenset(
    {
        # what cameras store unfinished
        *(".3fr", ".ari", ".arw", ".bay", ".cap", ".cr2", ".cr3", ".crw", ".dcr", ".dcs", ".dng"),
        *(".drf", ".eip", ".erf", ".fff", ".gpr", ".iiq", ".k25", ".kdc", ".mdc", ".mef", ".mos"),
        *(".mrw", ".nef", ".nrw", ".orf", ".ori", ".pef", ".ptx", ".pxn", ".raf", ".raw", ".rw2"),
        *(".rwl", ".rwz", ".sr2", ".srf", ".srw", ".x3f"),
        # what programs store, with layers or as drawings
        *(".psd", ".psb", ".xcf", ".kra", ".clip", ".ora", ".afphoto", ".afdesign", ".procreate"),
        *(".svg", ".svgz", ".eps", ".ai", ".ps", ".pdf", ".indd", ".cdr", ".wmf", ".emf"),
        # other formats of photos
        *(".jxl", ".jxr", ".wdp", ".hdp", ".hif", ".heics", ".heifs", ".avifs", ".j2k", ".j2c"),
        *(".jpf", ".jpx", ".jpm", ".mpo", ".jps", ".exr", ".hdr", ".pfm", ".dpx", ".tga", ".dds"),
        *(".pcx", ".qoi", ".ico", ".icns", ".bpg", ".flif", ".fits"),
    }
)
"""Pictures that are not tried when a folder is searched: they are counted. Lower case."""

SYSTEM_FOLDERS = (
    *("@eaDir", "#recycle", "#snapshot", "@Recycle", "@Recently-Snapshot", "lost+found"),
    *("$RECYCLE.BIN", "System Volume Information", "__MACOSX"),
)
"""What file systems, network disks and archives put beside the photos: no search enters these,
however their letters are written."""
_SYSTEM = frozenset(name.casefold() for name in SYSTEM_FOLDERS)


def open_photo(path: Path, max_pixels: int) -> "Photo":
    """Read and decode a regular file. Raises PhotoError, which names the file."""
    from birefcli.images.decode import decode_photo  # help and completion want names alone
    from birefcli.images.reading import read_file

    try:
        data = read_file(path, max_pixels)
    except OSError as error:
        raise PhotoError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:  # no file can have such a name: it holds a NUL, or no letters
        raise NoPictureError(f"{printable(str(path))}: {error}") from None
    except PhotoError as error:
        raise PhotoError(Message(f"{path}: ", error.message)) from error
    try:
        return decode_photo(data, max_pixels)
    except OSError as error:
        raise PhotoError(f"{path}: {error.strerror or error}") from error
    except PhotoError as error:
        raise PhotoError(Message(f"{path}: ", error.message)) from error


def has_photo_name(name: str) -> bool:
    """Whether a file of a folder is a photo by its name; hidden ones are not.

    macOS leaves ``._a.jpg`` beside ``a.jpg`` on foreign disks.
    """
    return not name.startswith(".") and Path(name).suffix.lower() in PHOTO_SUFFIXES


def other_kind(name: str) -> str | None:
    """The suffix, in lower case, of a picture that is not tried in a folder; None for the rest."""
    suffix = Path(name).suffix.lower()
    return suffix if suffix in OTHER_SUFFIXES and not name.startswith(".") else None


def left_out_text(counts: Mapping[str, int]) -> str:
    """``3 files of other kinds left out: 2 .nef, 1 .psd``, and the next step; counts by suffix."""
    total = sum(counts.values())
    listed = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    each = ", ".join(f"{count} {suffix}" for suffix, count in listed)
    files, them = ("file", "it") if total == 1 else ("files", "them")
    kinds = "kind" if len(counts) == total == 1 else "kinds"
    return f"{total} {files} of other {kinds} left out: {each}; develop or convert {them} first"


def left_out_below(folder: Path, *, recursive: bool = True) -> str:
    """What a folder without photos holds instead, to follow that sentence; ``""`` for nothing."""
    paths = walk_folder(folder, recursive=recursive, on_error=lambda _: None)
    counts = Counter(kind for path in paths if (kind := other_kind(path.name)))
    return f"; {left_out_text(counts)}" if counts else ""


def matches(relative: PurePath, patterns: Sequence[str], *, folder: bool = False) -> bool:
    """Whether a pattern is that of a name, or of its path below the folder that is searched.

    A ``folder`` is also one by ``raw/`` and by ``raw/*``, which is all that lies in it.
    """
    name, path = relative.name, relative.as_posix()
    if folder and any(fnmatch(f"{path}/", pattern) for pattern in patterns):
        return True
    plain = [pattern.removesuffix("/") for pattern in patterns] if folder else patterns
    return any(fnmatch(name, pattern) or fnmatch(path, pattern) for pattern in plain)


def _raise(error: OSError) -> None:
    raise error


def walk_folder(
    root: Path,
    *,
    recursive: bool = True,
    follow_links: bool = True,
    skip: Path | None = None,
    exclude: Sequence[str] = (),
    on_error: Callable[[OSError], None] = _raise,
) -> Iterator[Path]:
    """Entries below a folder that are no folders, in name order, whatever they are.

    What is entered, and what ``on_error`` is for, says :func:`walk_entries`.
    """
    walked = walk_entries(
        root,
        recursive=recursive,
        follow_links=follow_links,
        skip=skip,
        exclude=exclude,
        on_error=on_error,
    )
    for here, entries in walked:
        for entry in entries:
            yield here / entry.name


def walk_entries(
    root: Path,
    *,
    recursive: bool = True,
    follow_links: bool = True,
    skip: Path | None = None,
    exclude: Sequence[str] = (),
    on_error: Callable[[OSError], None] = _raise,
) -> Iterator[tuple[Path, list["os.DirEntry[str]"]]]:
    """Every folder, and its entries that are no folders, in name order.

    Folders are not entered that are hidden, a system's (:data:`SYSTEM_FOLDERS`), fit a pattern of
    ``exclude``, or are ``skip``, given without links; ``root`` always is. A folder that links lead
    to twice is walked once. ``on_error`` is called for folders that cannot be read, which are left
    out where it does not raise.
    """
    walked: set[tuple[int, int]] = set()
    waiting = [root]
    while waiting:
        here = waiting.pop()
        try:
            status = here.stat()
            if (status.st_dev, status.st_ino) in walked:  # a symlink led back
                continue
            folders, entries = _listed(here, follow_links=follow_links)
        except OSError as error:
            on_error(error)
            continue
        walked.add((status.st_dev, status.st_ino))
        yield here, entries
        if recursive:
            inner = [here / name for name in reversed(folders)]
            waiting += [
                folder
                for folder in inner
                if is_entered(folder.relative_to(root), exclude)
                and (skip is None or real_path(folder) != skip)
            ]


def is_entered(folder: PurePath, exclude: Sequence[str] = ()) -> bool:
    """Whether a walk enters a folder, by its path below the one that is searched."""
    return not (_is_left_out(folder.name) or (exclude and matches(folder, exclude, folder=True)))


@lru_cache(maxsize=4096)
def is_reached(folder: PurePath, exclude: tuple[str, ...] = ()) -> bool:
    """Whether a walk comes to a folder: it enters that and all above it, below its start."""
    return folder.name == "" or (is_entered(folder, exclude) and is_reached(folder.parent, exclude))


def _listed(folder: Path, *, follow_links: bool) -> tuple[list[str], list["os.DirEntry[str]"]]:
    """Names of the folders to enter in a folder, and all that is no folder. Raises OSError."""
    folders, others = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not _is_folder(entry):
                others.append(entry)
            elif follow_links or not entry.is_symlink():
                folders.append(entry.name)
    return sorted(folders), sorted(others, key=attrgetter("name"))


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link into a folder that may not be entered, or to itself
        return False


def _is_left_out(name: str) -> bool:
    """Whether a folder is never entered unless the user names it."""
    return name.startswith(".") or name.casefold() in _SYSTEM


def entry_key(path: Path) -> str:
    """Name a file by its folder without links, and its name: equal for equal directory entries."""
    return str(_real_folder(absolute(path.parent)) / path.name)


@lru_cache(maxsize=4096)
def _real_folder(folder: Path) -> Path:
    # Resolving 100,000 paths one by one takes minutes, their folders a moment.
    return real_path(folder)
