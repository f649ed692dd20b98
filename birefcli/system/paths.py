"""What a path leads to, asked without an exception, and ``~`` in paths that no shell has read."""

import os
import re
import stat
from pathlib import Path

from birefcli.system.regular_file import why_not_regular

# Path.is_dir, is_file and exists raise for some names and not for others, and for which differs
# from one Python to the next: too long a name, one that a folder which may not be entered holds.


def is_folder(path: Path) -> bool:
    """Whether a path leads to a folder; False where that cannot be said."""
    return stat.S_ISDIR(_mode(path))


def is_file(path: Path) -> bool:
    """Whether a path leads to a regular file; False where that cannot be said."""
    return stat.S_ISREG(_mode(path))


def is_pipe(path: Path) -> bool:
    """Whether a path leads to a named pipe; False where that cannot be said."""
    return stat.S_ISFIFO(_mode(path))


def exists(path: Path) -> bool:
    """Whether a path leads to anything; False where that cannot be said."""
    return _mode(path) != 0


def is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file; False where that cannot be said."""
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False


def is_link(path: Path) -> bool:
    """Whether a path is a symbolic link; False where that cannot be said."""
    try:
        return stat.S_ISLNK(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def obstacle(path: Path) -> str | None:
    """Why it cannot be said what a path leads to, or what is in a folder, in the system's words.

    None where it can, and where nothing is there.
    """
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            os.scandir(path).close()
    except FileNotFoundError:
        return None
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:  # a zero byte
        return str(error)
    return None


def absence(path: Path, wanted: str = "file or folder") -> str:
    """Why a path is not what is ``wanted``: none is there, something else is, or is in the way."""
    mode = _mode(path)
    if mode and not stat.S_ISDIR(mode):
        return why_not_regular(mode) or f"is a file, and no {wanted}"
    return obstacle(path) or f"no such {wanted}"


def names_in(folder: Path) -> list[str]:
    """Names in a folder, in order; none where it cannot be read."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names are wanted
    except (OSError, ValueError):
        return []


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0


def real_path(path: Path) -> Path:
    """The path without links, as far as those can be followed."""
    # Path.resolve raises RuntimeError for a link that leads to itself, before Python 3.13; both
    # raise where the working folder has been deleted.
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):
        return path


def absolute(path: Path) -> Path:
    """The path from the root, links kept; itself where the working folder has been deleted."""
    try:
        return path.absolute()
    except OSError:
        return path


def with_home(text: str) -> str:
    """A path with its first ``~`` or ``~user`` as a shell expands it; a file ``./~`` stays one.

    A shell does not do so in a variable that cron sets, nor in a word after ``=``.
    """
    named = re.match(r"~[^/\\]*(?=[/\\])|~$", text)
    return os.path.expanduser(text) if named else text  # noqa: PTH111 - keeps the / at the end


def expanded(text: str) -> Path:
    """The path that is meant by a text of the user's: :func:`with_home`."""
    return Path(with_home(text))


def named(text: str) -> str:
    """What a shell has left of a file's name: ``~`` is a folder where there is one."""
    if not text.startswith("~") or exists(Path(text)):
        return text
    return with_home(text)
