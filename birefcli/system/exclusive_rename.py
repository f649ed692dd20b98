"""A file takes a name that nothing has: where something has it, that stays, whoever was first.

``rename`` of POSIX replaces what has the name, and to look before leaves a moment for others.
"""

import ctypes
import errno
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

_AT_FDCWD, _NOREPLACE = -100, 1  # of Linux's fcntl.h and fs.h


def rename_to_new(part: Path, target: Path) -> None:
    """Rename a file, in one step as far as the file system can.

    By ``renameat2`` of Linux, or by a hard link that is made first; on a disk that knows neither
    (FAT without the first, some network disks), after a look. Raises FileExistsError, also where a
    link to nothing has the name; OSError.
    """
    for way in (_by_flag, _by_link):
        if way(part, target):
            return
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    part.replace(target)


def _by_flag(part: Path, target: Path) -> bool:
    """Whether it is done; not where the system or the disk does not know how."""
    call = _renameat2()
    if call is None:
        return False
    number = call(os.fsencode(part), os.fsencode(target))
    if number == errno.EEXIST:
        raise FileExistsError(number, os.strerror(number), str(target))
    return number == 0


@cache
def _renameat2() -> Callable[[bytes, bytes], int] | None:
    """The call of Linux's C library, from old and new name to ``errno``; None where there is none.

    https://man7.org/linux/man-pages/man2/rename.2.html
    """
    if sys.platform != "linux":
        return None
    try:
        plain = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None
    plain.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)

    def call(old: bytes, new: bytes) -> int:
        failed = plain(_AT_FDCWD, old, _AT_FDCWD, new, _NOREPLACE)
        return ctypes.get_errno() if failed else 0

    return call


def _by_link(part: Path, target: Path) -> bool:
    """Whether it is done; not where the disk knows no second name of a file."""
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:
        return False  # whatever else is wrong, a plain rename meets it too
    part.unlink()
    return True
