"""Files that appear whole or not at all."""

import contextlib
import os
import platform
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from birefcli.system.paths import exists, is_file

PART = ".birefcli-"
"""How the name of a file that is being written begins."""
PART_END = ".part"
HOST = 24  # characters of a machine's name
STALE = 24 * 3600.0  # seconds after which a part file is nobody's, whatever its process number says


def check_writable(folder: Path) -> None:
    """See that files can be made in a folder. Raises OSError."""
    part = folder / _part_name()
    part.touch()
    part.unlink()


def _part_name() -> str:
    # Short, whatever the target's name is: that may already be as long as names can be.
    return f"{PART}{_host()}-{os.getpid()}-{secrets.token_hex(4)}{PART_END}"


@cache
def _host() -> str:
    """This machine's name as part files have it: what a folder is shared with has another."""
    return re.sub(r"[^A-Za-z0-9_.]", "_", platform.node())[:HOST] or "host"


_writing: set[Path] = set()
_folders: set[Path] = set()


def write_file(target: Path, data: bytes) -> None:
    """Write a file so that readers see the old one or the whole new one. Raises OSError.

    What is no regular file (``/dev/null``, a pipe) is written into, and not replaced.
    """
    if exists(target) and not is_file(target):
        target.write_bytes(data)
        return
    part = target.parent / _part_name()
    _writing.add(part)
    try:
        # An ordinary open: mkstemp would leave the result readable by its owner alone.
        with part.open("xb") as file:
            file.write(data)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        _writing.discard(part)


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give the path of a part file to write, which becomes ``target`` where nothing is raised.

    For what a library writes; :func:`write_file` is for bytes. Raises OSError.
    """
    part = target.parent / _part_name()
    _writing.add(part)
    try:
        yield part
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        _writing.discard(part)


@contextlib.contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A folder of this process alone, which is removed afterwards. Raises OSError."""
    import tempfile  # takes its time, and help needs none

    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        folder = Path(name)
        _folders.add(folder)
        try:
            yield folder
        finally:
            _folders.discard(folder)


def drop_unfinished() -> None:
    """Remove what is unfinished or temporary, for a process about to end without waiting."""
    for part in list(_writing):
        part.unlink(missing_ok=True)
    for folder in list(_folders):
        import shutil

        shutil.rmtree(folder, ignore_errors=True)


def clear_stale(folders: Iterable[Path]) -> int:
    """Remove part files that a killed run left in these folders; returns how many."""
    cleared = 0
    for folder in folders:
        try:
            parts = [Path(e.path) for e in os.scandir(folder) if _is_part(e.name)]
        except OSError:
            continue  # not there yet, or not ours to read
        for part in parts:
            if _is_stale(part):
                with contextlib.suppress(OSError):  # somebody else's
                    part.unlink()
                    cleared += 1
    return cleared


def _is_part(name: str) -> bool:
    return name.startswith(PART) and name.endswith(PART_END)


def _is_stale(part: Path) -> bool:
    """Whether nobody is writing a part file any more: its process is gone, or a day has passed.

    Of a process on another machine nothing is known; a name without a machine is of this one.
    """
    *host, number, _ = ["", *part.name.removeprefix(PART).removesuffix(PART_END).split("-")]
    try:
        old = time.time() - part.stat().st_mtime > STALE
        here = "".join(host) in ("", _host())
        # Signal 0 asks only on POSIX; on Windows it would be Ctrl-C.
        if os.name == "posix" and here and number.isdecimal() and not old:
            os.kill(int(number), 0)  # asks whether it lives
            return False
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return old
