"""One run at a time on an output folder, or shards of one beside each other.

The lock is on the folder itself (``flock``): nothing is left behind, and the system lets go of it
when a run is killed. A second run, of a crontab that overtook itself, would do the same photos
again; no file would be torn, only time lost.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from birefcli.batch.places import PIPE
from birefcli.batch.targets import names_a_file, output_folder, remove_empty
from birefcli.errors import BusyError, Message, Option, OutputError
from birefcli.options import Lock, Selection
from birefcli.system.object_url import is_url
from birefcli.system.paths import exists

try:
    import fcntl
except ImportError:  # Windows: no locks on folders there
    fcntl = None  # type: ignore[assignment]

POLL = 0.5  # seconds between two tries of a run that waits


@contextlib.contextmanager
def hold_output(
    selection: Selection,
    lock: Lock,
    made: Iterable[Path],
    on_wait: Callable[[str], object] = lambda _: None,
) -> Iterator[None]:
    """Hold the output folder; one file, which is replaced in one step, needs no lock.

    Of the folders that were ``made`` none is left behind empty. ``on_wait`` is called once, with a
    line, where another run has to be waited for. Raises BusyError.
    """
    shared = selection.shard is not None
    held = (
        hold_folder(output_folder(selection), lock, shared=shared, on_wait=on_wait)
        if _is_folder(selection)
        else contextlib.nullcontext()
    )
    with held:
        try:
            yield
        finally:
            clear_made(selection, lock, made)


def clear_made(selection: Selection, lock: Lock, made: Iterable[Path]) -> None:
    """Remove folders into which nothing came.

    Of folders that are locked, only who holds the lock alone removes them: others may be about to
    write there. Whoever writes one file makes its folder.
    """
    if lock is not Lock.NONE and selection.shard is None:
        remove_empty(made)


def _is_folder(selection: Selection) -> bool:
    """Whether the output is a folder of this machine: stores have no locks, and need none."""
    is_here = selection.output != PIPE and not is_url(selection.output)
    return is_here and not names_a_file(selection)


@contextlib.contextmanager
def hold_folder(
    folder: Path,
    lock: Lock,
    *,
    shared: bool = False,
    on_wait: Callable[[str], object] = lambda _: None,
) -> Iterator[None]:
    """Hold the folder for a run; ``shared``: beside others that hold it so.

    ``on_wait`` is called once, with a line, where another run has to be waited for.

    Raises BusyError when another run has it and ``lock`` is leave, OutputError where it cannot be
    made or opened.
    """
    if lock is Lock.NONE or fcntl is None:
        yield
        return
    try:
        descriptor = _held(folder, lock, shared, on_wait)
    except PermissionError:  # a folder that may be written to and not read cannot be locked
        yield
        return
    except OSError as error:
        raise OutputError(f"{folder}: cannot be opened: {error.strerror}") from None
    try:
        yield
    finally:
        os.close(descriptor)


def _held(folder: Path, lock: Lock, shared: bool, on_wait: Callable[[str], object]) -> int:
    """Descriptor of the folder, locked. Whoever held it before us may have removed it empty."""
    while True:
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            folder.mkdir(parents=True, exist_ok=True)
            continue
        try:
            _acquire(descriptor, folder, lock, shared, on_wait)
            if exists(folder) and os.path.samestat(os.fstat(descriptor), folder.stat()):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _acquire(
    descriptor: int, folder: Path, lock: Lock, shared: bool, on_wait: Callable[[str], object]
) -> None:
    told = False
    while not _try(descriptor, shared=shared):
        if lock is Lock.LEAVE:
            raise BusyError(
                Message(
                    f"{folder}: another run is writing here; use ",
                    Option("lock", "wait"),
                    " to wait for it",
                )
            )
        if not told:
            on_wait(f"{folder}: another run is writing here; waits for it")
            told = True
        time.sleep(POLL)


def _try(descriptor: int, *, shared: bool) -> bool:
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks: files are written whole all the same
    return True
