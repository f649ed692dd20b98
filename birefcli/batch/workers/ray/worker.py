"""A worker on another machine as the run sees it: an actor, and threads that talk to it."""

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import ray
from ray.exceptions import ActorUnavailableError, RayActorError

from birefcli.batch.workers.protocol import Refused, Shutdown, ToWorker, WorkerLost
from birefcli.batch.workers.ray.actor import ActorMessage, Ended
from birefcli.batch.workers.ray.cluster import end_actor
from birefcli.batch.workers.source import LEAVE, Gone, Receive
from birefcli.errors import BirefcliError, Message
from birefcli.system import atomic

SILENT = "its machine does not answer any more"
DIED = "its machine, or Ray's process there, is gone"
Failure = TypeVar("Failure", bound=BirefcliError)


class RayWorker:
    """A worker, from the start of its process to its end. Its actor is there, and checked."""

    def __init__(
        self,
        name: str,
        actor: Any,  # noqa: ANN401 - Ray's handle
        start_process: Callable[[], object],
        receive: Receive,
        gone: Gone,
        *,
        late: bool = False,
    ) -> None:
        """``start_process``: asks the actor for it, and gives what will name its files.

        ``receive`` is called in the thread that listens, ``gone`` (with why) once at the end.
        ``late``: others are at work already; where it cannot start, the run goes on without it.
        """
        self._name, self._actor, self._late = name, actor, late
        self._start_process = start_process
        self._receive, self._gone = receive, gone
        self.heard = 0
        """Messages that have come."""
        self._lost: WorkerLost | None = None
        self._once = threading.Lock()
        self._over = threading.Event()
        self._writer: str | None = None
        # The run's main thread never calls Ray: a signal may interrupt it anywhere.
        self._outbox: SimpleQueue[ToWorker | None] = SimpleQueue()
        self._sender = threading.Thread(target=self._send_all, daemon=True)
        self._listener = threading.Thread(target=self._listen, daemon=True)

    def start(self) -> None:
        """Have the actor start the worker's process."""
        self._listener.start()

    def send(self, message: ToWorker) -> None:
        """Send a message; the listener notices a worker that is gone."""
        self._outbox.put(message)

    def stop(self) -> None:
        """Ask the worker to end."""
        self.send(Shutdown())

    @property
    def over(self) -> bool:
        """Whether nothing is waited for: it is gone, or never began."""
        return self._listener.ident is None or self._over.is_set()

    def join(self) -> None:
        """Wait until the worker has said all, and is gone."""
        if not self.over:
            self._over.wait()

    def kill(self, why: WorkerLost) -> None:
        """End a worker that does not answer; what it has said before still counts."""
        self._lost = self._lost or why
        with suppress(Exception):
            self._actor.kill.options(concurrency_group="kill").remote()
        if not self._over.wait(LEAVE):  # nor does its machine
            self._end()

    def abandon(self) -> None:
        """End it without waiting: its process ends when the actor does."""
        # A thread of its own: this may be a signal handler of the main thread, and where the
        # cluster's head is gone, Ray waits for it.
        threading.Thread(target=end_actor, args=(self._actor,), daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Wait for its last word, at most so long."""
        self._over.wait(seconds)

    def clear_parts(self, folders: Iterable[Path]) -> None:
        """Remove what it left half-written; its machine may be another, or gone."""
        if self._writer is not None:
            atomic.clear_of(self._writer, folders)

    def _send_all(self) -> None:
        with suppress(Exception):  # the listener sees it as well
            while (message := self._outbox.get()) is not None:
                self._actor.send.options(concurrency_group="send").remote(message)

    def _listen(self) -> None:
        try:
            self._writer = ray.get(self._start_process())
            self._sender.start()
            while not self._over.is_set():
                for message in ray.get(
                    self._actor.listen.options(concurrency_group="listen").remote()
                ):
                    self._hear(message)
        except Exception as error:
            self._lost = self._lost or why_lost(error)
        self._end()

    def _hear(self, message: ActorMessage) -> None:
        self.heard += 1
        if isinstance(message, Ended):
            self._lost = self._lost or message.why
            self._end()
            return
        if isinstance(message, Refused) and self._late:
            message = WorkerLost(str(message.error), "")
        if isinstance(message, WorkerLost):
            self._lost = message
        if isinstance(message, Refused):  # the user is to mend something on that machine
            message = Refused(at(self._name, message.error))
        self._receive(message)

    def _end(self) -> None:
        with self._once:
            if not self._over.is_set():
                self._outbox.put(None)
                self.abandon()
                self._gone(self._lost or WorkerLost(DIED, ""))
                self._over.set()


def why_lost(error: Exception) -> WorkerLost:
    """Why a worker counts as lost, by what Ray raised."""
    if isinstance(error, ActorUnavailableError):
        return WorkerLost(SILENT, str(error))
    if isinstance(error, RayActorError):
        return WorkerLost(DIED, str(error))
    return WorkerLost(
        f"{type(error).__name__}: {str(error).strip().rpartition(chr(10))[2]}", str(error)
    )


def at(name: str, error: Failure) -> Failure:
    """A failure that says on which machine."""
    return type(error)(Message(f"{name}: ", error.message))
