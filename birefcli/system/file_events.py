"""What the system tells of changes in folders: it only wakes whoever looks. Needs watchfiles."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

STEP = 200  # milliseconds between two looks at whether something was told
GATHER = 400  # milliseconds in which further changes are one event
ONCE_MORE = 1000  # milliseconds without a change after which one more look is due


def available() -> bool:
    """Whether events can be had at all: whether the package is installed."""
    return find_spec("watchfiles") is not None


@contextlib.contextmanager
def wake_on_changes(
    folders: Iterable[Path], wake: Callable[[], object], failed: Callable[[str], object]
) -> Iterator[None]:
    """Call ``wake`` when something has changed below the folders, in a thread of its own.

    ``failed`` is called once, with the reason, where the system tells no more: its limit of watches
    is reached, or a folder has gone. Whoever looks by itself as well loses nothing.
    """
    over = threading.Event()
    paths = list(folders)

    def listen() -> None:
        try:
            try:
                _listen(paths, over, wake, strict=True)
            except PermissionError:  # of a folder below, which nobody looks into
                _listen(paths, over, wake, strict=False)
        except Exception as error:  # of a library in another language: whatever it raises
            if not over.is_set():
                failed(str(error).partition(" about [")[0].rstrip("."))

    thread = threading.Thread(target=listen, name="file events", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=2.0)


def _listen(
    folders: list[Path], over: threading.Event, wake: Callable[[], object], *, strict: bool
) -> None:
    """Call ``wake`` at every change until it is over.

    ``strict``: raise what keeps a folder from being watched. Else every fault is passed over, also
    that the system's limit is reached.
    """
    import watchfiles  # it may be missing, and takes its time

    told = watchfiles.watch(
        *folders,
        watch_filter=None,
        debounce=GATHER,
        step=STEP,
        stop_event=over,
        raise_interrupt=False,
        force_polling=False,
        ignore_permission_denied=not strict,
        rust_timeout=ONCE_MORE,
        yield_on_timeout=True,
    )
    # What changed before all of it was listened to, at the start or in a folder that is new, tells
    # nothing: so the first silence wakes as well.
    was_change = True
    for changes in told:
        if changes or was_change:
            wake()
        was_change = bool(changes)
