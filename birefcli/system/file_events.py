"""What the system tells of changes in folders: it only wakes whoever looks. Needs watchfiles."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

STEP = 200  # milliseconds between two looks at whether something was told
GATHER = 400  # milliseconds in which further changes are one event


def available() -> bool:
    """Whether events can be had at all: whether the package is installed."""
    return find_spec("watchfiles") is not None


@contextlib.contextmanager
def wake_on_changes(
    folders: Iterable[Path], wake: Callable[[], object], failed: Callable[[str], object]
) -> Iterator[None]:
    """Call ``wake`` whenever something changes below the folders, in a thread of its own.

    And once when it has begun to listen: what came before that is seen by a look, and nothing is
    missed between the two.

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
        stop_event=_Asked(over, wake),
        raise_interrupt=False,
        force_polling=False,
        ignore_permission_denied=not strict,
    )
    for _ in told:
        wake()


class _Asked:
    """An event that is asked for as soon as somebody listens, and calls ``listening`` then."""

    def __init__(self, over: threading.Event, listening: Callable[[], object]) -> None:
        self._over, self._listening = over, listening
        self._was_asked = False

    def is_set(self) -> bool:
        """Whether it is over."""
        if not self._was_asked:
            self._was_asked = True
            self._listening()
        return self._over.is_set()
