"""Files that appear whole or not at all.

What is at a target is looked at before it is replaced, and never opened: another file is, and takes
its permissions along. A symbolic link is replaced by a file, and what it leads to stays. A pipe, a
device or a folder is never replaced; :func:`write_file` alone writes into pipes and devices.
"""

import contextlib
import errno
import hashlib
import os
import platform
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import BinaryIO

from birefcli.system.exclusive_rename import rename_to_new
from birefcli.system.paths import is_folder
from birefcli.system.regular_file import regular_status

PART = ".birefcli-"
"""How the name of a file that is being written begins."""
PART_END = ".part"
OPEN_FILES = re.compile(r"/dev(/fd)?|/proc/\w+(/task/\w+)?/fd")
"""Folders that have names for what a process has open."""
HOST = 17  # characters of a machine's name
STALE = 24 * 3600.0  # seconds after which a part file is nobody's, whatever its process number says


def check_writable(folder: Path, part: Path | None = None) -> None:
    """See that files can be made in a folder: ``part``, or one of a new name. Raises OSError."""
    part = part or folder / part_name()
    part.touch()
    part.unlink()


def look_writable(folder: Path) -> None:
    """See, by looks alone, that a folder could be made and files in it. Raises OSError.

    For a dry run, which makes nothing; a disk may still be full.
    """
    there = next((path for path in (folder, *folder.parents) if os.path.lexists(path)), folder)
    if not is_folder(there):
        code = errno.EEXIST if there == folder else errno.ENOTDIR
    elif not os.access(there, os.W_OK | os.X_OK):
        code = errno.EROFS if _is_read_only(there) else errno.EACCES
    else:
        return
    raise OSError(code, os.strerror(code), str(there))


def _is_read_only(folder: Path) -> bool:
    """Whether a folder is on a disk that is mounted so; False where that cannot be said."""
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except (AttributeError, OSError):  # Windows has no such call
        return False


def part_name(mark: str = "") -> str:
    """A new name for a file that is being written, or that tries something out; with a ``mark``."""
    # Short, whatever the target's name is: that may already be as long as names can be.
    return f"{PART}{writer(os.getpid())}-{secrets.token_hex(4)}{mark}{PART_END}"


def writer(process: int) -> str:
    """What the names of part files have for a process of this machine."""
    return f"{_host()}-{process}"


@contextlib.contextmanager
def probe(folder: Path) -> Iterator[Path]:
    """An empty part file that is there within the block, for others to see. Raises OSError.

    Their answers (:func:`answer_to`) go with it, also of those that have ended meanwhile.
    """
    part = folder / part_name()
    _writing.add(part)
    try:
        part.touch()
        yield part
    finally:
        _remove(part)
        _remove(answer_to(part))
        _writing.discard(part)


def answer_to(probe: Path) -> Path:
    """The file that another process makes beside a probe, to try whether it can."""
    return probe.with_name(f"{probe.name.removesuffix(PART_END)}w{PART_END}")


@cache
def _host() -> str:
    """Name what process numbers are those of, for part files: this machine, or this container.

    Machines that share a folder may have one name, like ``localhost``; containers of one machine
    number their processes each by itself.
    """
    name = re.sub(r"[^A-Za-z0-9_.]", "_", platform.node())
    whole = "\0".join((name, _machine_id(), _process_namespace()))
    return f"{name[:HOST] or 'host'}.{hashlib.sha256(whole.encode()).hexdigest()[:6]}"


def _machine_id() -> str:
    """What systemd and others tell machines apart by; nothing where there is none."""
    with contextlib.suppress(OSError):
        return Path("/etc/machine-id").read_text(errors="replace")
    return ""


def _process_namespace() -> str:
    """What Linux calls the set of processes that a process number is one of."""
    with contextlib.suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return ""


_writing: set[Path] = set()
_folders: set[Path] = set()


def write_file(target: Path, data: bytes) -> None:
    """Write a list or a page: into a pipe or a device, or else as :func:`replace_file` does.

    Nobody is waited for who may come to read a pipe: without a reader there is none. Raises
    OSError.
    """
    if is_stream(target):
        _write_into(target, data)
    else:
        replace_file(target, data)


def replace_file(target: Path, data: bytes, check: Callable[[], object] = lambda: None) -> None:
    """Write a file so that readers see the old one or the whole new one.

    ``check`` is called when the new one is about to take the name; where it raises, the old one
    stays. Raises OSError, and where something that is no regular file has the name.
    """
    earlier = regular_status(target)
    with _part_beside(target) as part:
        with _new_file(part, private=earlier is not None) as file:
            _keep_permissions(part, earlier)
            file.write(data)
        check()
        part.replace(target)


def create_file(target: Path, data: bytes) -> None:
    """Write a file under a name that nothing has, so that readers see all of it or nothing.

    Raises FileExistsError where a file has the name when it is written, but replaces a link to
    nothing; OSError.
    """
    with _part_beside(target) as part:
        with _new_file(part, private=False) as file:
            file.write(data)
        try:
            rename_to_new(part, target)
        except FileExistsError:
            if regular_status(target) is not None:
                raise
            part.replace(target)


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give the path of a part file to write, which becomes ``target`` where nothing is raised.

    For what a library writes; :func:`replace_file` is for bytes. Raises OSError.
    """
    earlier = regular_status(target)
    with _part_beside(target) as part:
        yield part
        _keep_permissions(part, earlier)
        part.replace(target)


@contextlib.contextmanager
def _part_beside(target: Path) -> Iterator[Path]:
    """The name of a part file, which is to have another when the block ends."""
    part = target.parent / part_name()
    _writing.add(part)
    try:
        yield part
    except BaseException:
        _remove(part)
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


def check_replaceable(target: Path, *, make: bool = True) -> None:
    """See that nothing but a regular file has the name, and that files can be made beside it.

    By looks alone where nothing may be made. Raises OSError.
    """
    regular_status(target)
    if make:
        check_writable(target.parent)
    else:
        mode = target.parent.stat().st_mode
        if not stat.S_ISDIR(mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(target))
        look_writable(target.parent)


def check_writes(target: Path, *, make: bool = True) -> None:
    """See that :func:`write_file` could write it, as far as that can be known. Raises OSError.

    By looks alone where nothing may be made.
    """
    if not is_stream(target):
        check_replaceable(target, make=make)


def is_stream(target: Path) -> bool:
    """Whether a name is that of a pipe or a device, or of what a process has open (/dev/stderr).

    Raises OSError where it cannot be looked at.
    """
    try:
        mode = target.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    # What a process has open may be a regular file; the name would be replaced, in /dev.
    is_open_file = OPEN_FILES.fullmatch(os.path.realpath(target.parent)) is not None
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or is_open_file


def _write_into(target: Path, data: bytes) -> None:
    how = os.O_WRONLY | os.O_APPEND | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(target, how)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "nobody reads from this pipe", str(target)) from None
        raise
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        if hasattr(os, "set_blocking"):
            os.set_blocking(descriptor, True)  # a reader who is there may take their time
        left = memoryview(data)
        while left:
            left = left[file.write(left) or 0 :]


def _new_file(path: Path, *, private: bool) -> BinaryIO:
    # mkstemp would leave the result readable by its owner alone; but what replaces a file must not
    # be readable by more than that was, not for a moment.
    mode = 0o600 if private else 0o666
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, mode), "wb")


def _keep_permissions(part: Path, earlier: os.stat_result | None) -> None:
    """Give a part file the permissions of what it replaces; and its owner, who may do that.

    A disk may know of neither.
    """
    if earlier is None:
        return
    now = part.stat()
    if (now.st_uid, now.st_gid) != (earlier.st_uid, earlier.st_gid) and hasattr(os, "chown"):
        for owner in ((earlier.st_uid, earlier.st_gid), (-1, earlier.st_gid)):
            with contextlib.suppress(OSError):
                os.chown(part, *owner)
                break
    if stat.S_IMODE(now.st_mode) != (mode := earlier.st_mode & 0o777):
        with contextlib.suppress(OSError):
            part.chmod(mode)


def _remove(part: Path) -> None:
    with contextlib.suppress(OSError):  # what went wrong before is what counts
        part.unlink()


def drop_unfinished() -> None:
    """Remove what is unfinished or temporary, for a process about to end without waiting."""
    for part in list(_writing):
        _remove(part)
    for folder in list(_folders):
        import shutil

        shutil.rmtree(folder, ignore_errors=True)


def clear_of(writer: str, folders: Iterable[Path]) -> None:
    """Remove the part files of a process that is gone, maybe with its machine; see writer()."""
    for folder in folders:
        with contextlib.suppress(OSError):  # not there yet, or not ours to change
            for entry in list(os.scandir(folder)):
                if _is_part(entry.name) and entry.name.startswith(f"{PART}{writer}-"):
                    _remove(Path(entry.path))


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
