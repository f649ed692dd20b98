"""The seam between a run and its workers: processes of this machine, or actors of a cluster."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from birefcli.batch.workers.protocol import FromWorker, ToWorker, WorkerLost

LEAVE = 5.0  # seconds a worker may take to be gone once it has said all, before it is killed

Receive: TypeAlias = Callable[[FromWorker], None]
"""Called with each message of a worker, in a thread of that worker's."""
Gone: TypeAlias = Callable[[WorkerLost], None]
"""Called once, after the last message: why the worker is gone."""


class Worker(Protocol):
    """A worker as the run sees it, from its start to its end."""

    heard: int
    """Messages that have come."""

    @property
    def over(self) -> bool:
        """Whether nothing is waited for: it is gone, cannot even be killed, or never began."""

    def start(self) -> None:
        """Have it begin."""

    def send(self, message: ToWorker) -> None:
        """Send a message, and wait for nothing; who is gone is noticed elsewhere."""

    def stop(self) -> None:
        """Ask it to end."""

    def join(self) -> None:
        """Wait until it has said all, and is gone."""

    def kill(self, why: WorkerLost) -> None:
        """End it where it does not answer; what it has said before still counts."""

    def abandon(self) -> None:
        """End it without waiting, and without a word: in a signal handler, too."""

    def wait(self, seconds: float) -> None:
        """Wait until one that was abandoned is gone, at most so long."""

    def clear_parts(self, folders: Iterable[Path]) -> None:
        """Remove what it left half-written in these folders; it is gone."""


@dataclass(frozen=True)
class NewWorker:
    """A worker that is about to join a run."""

    name: str
    """In messages; no two of a run are called the same."""
    make: Callable[[Receive, Gone], Worker]


Join: TypeAlias = Callable[[NewWorker], None]
"""A worker joins a run that goes on; any thread may call it."""
Notify: TypeAlias = Callable[[str], None]
"""The user should know this; any thread may call it."""


class WorkerSource(Protocol):
    """Where the workers of a run come from."""

    def open(self, photos: int, join: Join, notify: Notify) -> list[NewWorker]:
        """Those that are there for a run over so many photos; later ones join.

        Raises BirefcliError where the run cannot begin.
        """

    def close(self) -> None:
        """Let no other join, and hold nothing; it may be called where ``open`` has failed."""
