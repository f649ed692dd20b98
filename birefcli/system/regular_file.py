"""Files that end: opened without waiting for whatever else a name may lead to."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

KINDS = (
    (stat.S_ISDIR, "is a folder, not a file"),
    (stat.S_ISFIFO, "is a named pipe, not a regular file"),
    (stat.S_ISSOCK, "is a socket, not a regular file"),
    (stat.S_ISCHR, "is a device, not a regular file"),
    (stat.S_ISBLK, "is a device, not a regular file"),
)


class NotRegularError(OSError):
    """A folder, a pipe or a device has the name of a file."""

    is_pipe = False


def why_not_regular(mode: int) -> str | None:
    """What a file is instead of a regular one, by its ``st_mode``; None for a regular one."""
    return next((text for is_kind, text in KINDS if is_kind(mode)), None)


ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})
"""What is said of a name under which nothing is, or can be."""


def regular_status(path: Path) -> os.stat_result | None:
    """Status of a regular file, without opening it; None where nothing has the name.

    Raises OSError where that cannot be told, and for anything else that has it: for whoever is
    about to write there, that is no answer.
    """
    try:
        status = path.stat()
    except OSError as error:
        if error.errno in ABSENT:
            return None
        raise
    refuse_irregular(status.st_mode, path)
    return status


def is_free(path: Path) -> bool:
    """Whether a file of ours may go there whatever it is: nothing is there, or an empty file.

    Nobody's work is in that: ``mktemp`` makes it. Raises OSError where that cannot be told, and for
    anything else that has the name.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return True
    refuse_irregular(status.st_mode, path)
    return status.st_size == 0


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading, where it is a regular one.

    A named pipe would wait for somebody to write, a device may never end. Raises OSError, also for
    those, with the path; ValueError for a name with a zero byte.
    """
    # Looked at first: to open some devices does something. And again once it is open, without
    # waiting, as another file may have taken the name.
    refuse_irregular(path.stat().st_mode, path)
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _binary())
    file = os.fdopen(descriptor, "rb")
    try:
        refuse_irregular(os.fstat(descriptor).st_mode, path)
    except OSError:
        file.close()
        raise
    return file


def _binary() -> int:
    return getattr(os, "O_BINARY", 0)  # Windows would change line ends


def refuse_irregular(mode: int, path: Path) -> None:
    """Raise NotRegularError, with the path, for a file's ``st_mode`` that is no regular file's."""
    if (text := why_not_regular(mode)) is not None:
        error = NotRegularError(errno.EINVAL, text, str(path))
        error.is_pipe = stat.S_ISFIFO(mode)
        raise error
