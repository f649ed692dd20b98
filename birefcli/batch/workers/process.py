"""Workers of this machine as the run sees them: a process for each, with a thread that listens."""

import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from multiprocessing import get_context, resource_tracker
from multiprocessing.process import _children  # type: ignore[attr-defined]
from pathlib import Path

from birefcli.batch.interrupts import CODES
from birefcli.batch.workers.protocol import FromWorker, Shutdown, ToWorker, WorkerConfig, WorkerLost
from birefcli.batch.workers.source import LEAVE, Gone, Join, NewWorker, Notify, Receive
from birefcli.batch.workers.worker import work
from birefcli.matting.device import Placement
from birefcli.models.weights import Checkpoint
from birefcli.options import BatchOptions
from birefcli.system import atomic


class LocalWorkers:
    """A source of workers: a process for each device of this machine."""

    def __init__(
        self, options: BatchOptions, checkpoint: Checkpoint, devices: Mapping[str, Placement]
    ) -> None:
        """``devices``: by the names that messages have for them."""
        self._options, self._checkpoint, self._devices = options, checkpoint, devices

    def open(self, photos: int, join: Join, notify: Notify) -> list[NewWorker]:
        """All of them; none joins later."""
        sharers, options = len(self._devices), self._options
        workers = []
        for i, (name, placement) in enumerate(self._devices.items()):
            own = replace(
                options,
                threads=max(1, (options.threads + i) // sharers),
                max_memory=options.max_memory // sharers,
            )
            config = WorkerConfig(own, self._checkpoint, placement, sharers, -(-photos // sharers))
            workers.append(NewWorker(name, partial(WorkerProcess, config)))
        return workers

    def close(self) -> None:
        """Nothing is held but by the workers."""


class WorkerProcess:
    """A worker, from its start to its end."""

    def __init__(self, config: WorkerConfig, receive: Receive, gone: Gone) -> None:
        """``receive`` is called in the thread that listens, ``gone`` (with why) once at the end."""
        # Spawned: a process with CUDA or threads in it cannot be forked.
        context = get_context("spawn")
        self._line, self._theirs = context.Pipe()
        self._sending = threading.Lock()
        self._receive, self._gone = receive, gone
        self.heard = 0
        """Messages that have come."""
        self._lost: WorkerLost | None = None
        self._once = threading.Lock()
        self._over = threading.Event()
        # Should this process end in some other way, its workers are not waited for.
        self.process = context.Process(target=work, args=(self._theirs, config), daemon=True)
        self._listener = threading.Thread(target=self._listen, daemon=True)

    def start(self) -> None:
        """Start the process; whatever interrupts this finds it started, or not at all."""
        with _signals_blocked():
            self.process.start()
            self._theirs.close()  # so that the line ends with the worker
            self._listener.start()

    def send(self, message: ToWorker) -> None:
        """Send a message; the listener notices a worker that is gone."""
        with self._sending, suppress(OSError):
            self._line.send(message)

    def stop(self) -> None:
        """Ask the worker to end."""
        self.send(Shutdown())

    @property
    def over(self) -> bool:
        """Whether nothing is waited for: it is gone, cannot even be killed, or never began."""
        return self._listener.ident is None or self._over.is_set()

    def join(self) -> None:
        """Wait until the worker has said all, and is gone."""
        if not self.over:
            self._over.wait()
        if not self._listener.is_alive():
            self._line.close()

    def kill(self, why: WorkerLost) -> None:
        """End a worker that does not answer; what it has said before still counts."""
        self._lost = self._lost or why
        self.process.kill()
        self._listener.join(LEAVE)
        if self._listener.is_alive():
            # The system does not let it go, as where a driver hangs. Nor would this process end:
            # multiprocessing waits for its children.
            _children.discard(self.process)
            self._end()

    def abandon(self) -> None:
        """End it, and wait for nothing."""
        self.process.kill()

    def wait(self, seconds: float) -> None:
        """Wait until the process is gone, at most so long."""
        self.process.join(seconds)

    def clear_parts(self, folders: Iterable[Path]) -> None:
        """Half-written files of a process that is gone are nobody's."""
        atomic.clear_stale(folders)

    def _listen(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                message: FromWorker = self._line.recv()
                self.heard += 1
                if isinstance(message, WorkerLost):
                    self._lost = message
                self._receive(message)
        self._reap()
        self._end()

    def _end(self) -> None:
        with self._once:
            if not self._over.is_set():
                why = _ending(self.process.exitcode or 0)
                self._gone(self._lost or WorkerLost(why, ""))
                self._over.set()

    def _reap(self) -> None:
        self.process.join(LEAVE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _ending(code: int) -> str:
    if code >= 0:
        return f"its process ended with code {code}"
    with suppress(ValueError):
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process was ended by signal {-code}"


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Let a process start that no Ctrl-C, SIGTERM or SIGHUP can end, not even while it begins."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    # Python 3.11 lets signals through again after it has started this process of its own.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, CODES)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
