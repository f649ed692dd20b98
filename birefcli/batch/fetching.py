"""Photos fetched from a store ahead of their turn: many at once hide how long each takes."""

from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from birefcli.batch.freshness import Decision
from birefcli.batch.memory import MemoryBudget, RunClosedError
from birefcli.batch.places import State
from birefcli.options import BatchOptions
from birefcli.system.prefetch import prefetch

SHARE = 4
"""Of the memory of photos in flight, one part in so many is for files that wait to be decoded."""


@dataclass
class Fetched:
    """A photo's file, or why there is none."""

    number: int
    decision: Decision
    reserved: int
    """Bytes of the fetcher's budget."""
    data: bytes = b""
    state: State = (0, 0)
    error: Exception | None = None

    def take(self) -> tuple[bytes, State]:
        """Bytes of the photo, and its state. Raises what reading did."""
        if self.error is not None:
            raise self.error
        data, self.data = self.data, b""
        return data, self.state


class Fetcher:
    """Fetches photo after photo, in their order, many beside each other.

    Whoever takes one gives its memory back by :meth:`release`. Those before a photo need none of
    this memory to be decoded: so whoever waits for some can always go on.
    """

    def __init__(self, options: BatchOptions) -> None:
        """``options``: how many at once, and what they may take."""
        self._options = options
        self._budget = MemoryBudget(options.max_memory // SHARE)
        self._pool = ThreadPoolExecutor(options.connections, "fetch")

    def __call__(self, todo: Iterable[Decision]) -> Generator[Future[Fetched], None, None]:
        """Photos in order, fetched or about to be."""
        return prefetch(self._pool, self._fetch, enumerate(todo), self._options.connections)

    def release(self, fetched: Fetched) -> None:
        """Give back what a photo's file took."""
        self._budget.release(fetched.reserved)

    def close(self) -> None:
        """Drop what has not begun, and wait for what has."""
        self._budget.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _fetch(self, numbered: tuple[int, Decision]) -> Fetched:
        number, decision = numbered
        source = decision.job.source
        with self._budget.ticket(number) as ticket:
            size, _ = source.state() or (0, 0)
            if size:
                ticket.take(size)
            fetched = Fetched(number, decision, ticket.taken)
            try:
                fetched.data, fetched.state = source.read(
                    self._options.max_pixels, lambda *_: None, self._options.photo_timeout
                )
            except RunClosedError:
                raise
            except Exception as error:
                fetched.error = error  # told by whoever takes it, as every other failure is
        return fetched
