"""Photos fetched from a store ahead of their turn: many at once hide how long each takes.

Photos of this machine, which may come between them, are left to whoever decodes them.
"""

from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count

from birefcli.batch import stages
from birefcli.batch.freshness import Decision
from birefcli.batch.memory import MemoryBudget, RunClosedError
from birefcli.batch.places import State
from birefcli.options import BatchOptions
from birefcli.system.prefetch import prefetch_by

SHARE = 4
"""Of the memory of photos in flight, one part in so many is for files that wait to be decoded."""


@dataclass
class Fetched:
    """A photo's file, or why there is none."""

    number: int
    decision: Decision
    reserved: int = 0
    """Bytes of the fetcher's budget."""
    data: bytes | None = None
    """None where it was not fetched: it is a file of this machine."""
    state: State = (0, 0)
    error: Exception | None = None

    def take(self) -> tuple[bytes, State]:
        """Bytes of the photo, and its state. Raises what reading did."""
        if self.error is not None:
            raise self.error
        assert self.data is not None, "it was not fetched"
        data, self.data = self.data, b""
        return data, self.state


class Fetcher:
    """Fetches photo after photo, in their order, many beside each other.

    Whoever takes one gives its memory back by :meth:`release`. Those before a photo need none of
    this memory to be decoded: so whoever waits for some can always go on.
    """

    def __init__(self, options: BatchOptions, of: MemoryBudget) -> None:
        """``options``: how many at once; ``of``: whose share they take, once there are any."""
        self._options, self._of = options, of
        self._budget = MemoryBudget(options.max_memory // SHARE)
        self._turns = count()
        self._pool = ThreadPoolExecutor(options.connections, "fetch")

    def __call__(self, todo: Iterable[Decision]) -> Generator[Future[Fetched], None, None]:
        """Photos in order, fetched or about to be."""
        return prefetch_by(self._submit, enumerate(todo), self._options.connections)

    def _submit(self, numbered: tuple[int, Decision]) -> Future[Fetched]:
        number, decision = numbered
        if decision.job.source.is_remote:
            turn = next(self._turns)
            if turn == 0:
                self._of.give_away(self._options.max_memory // SHARE)
            return self._pool.submit(self._fetch, turn, number, decision)
        local: Future[Fetched] = Future()
        local.set_result(Fetched(number, decision))
        return local

    def release(self, fetched: Fetched) -> None:
        """Give back what a photo's file took."""
        self._budget.release(fetched.reserved)

    def close(self) -> None:
        """Drop what has not begun, and wait for what has."""
        self._budget.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _fetch(self, turn: int, number: int, decision: Decision) -> Fetched:
        with self._budget.ticket(turn) as ticket:
            size, _ = decision.job.source.state() or (0, 0)
            if size:
                ticket.take(size)
            fetched = Fetched(number, decision, ticket.taken)
            try:
                fetched.data, fetched.state = stages.read_source(
                    decision.job, self._options.max_pixels
                )
            except RunClosedError:
                raise
            except Exception as error:
                fetched.error = error  # told by whoever takes it, as every other failure is
        return fetched
