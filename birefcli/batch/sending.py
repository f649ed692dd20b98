"""Products written to a store while others are encoded: a core must not wait for a network."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

In = TypeVar("In")
Between = TypeVar("Between")
Out = TypeVar("Out")


class TwoStages(Generic[In, Between, Out]):
    """A pool whose calls are ended by another pool, each as soon as the first is done with it.

    Nobody has to take a result for the second stage to begin: what it frees may be what the next
    call waits for.
    """

    def __init__(
        self,
        first: ThreadPoolExecutor,
        second: ThreadPoolExecutor,
        begin: Callable[[In], Between],
        end: Callable[[Between], Out],
        ahead: int,
    ) -> None:
        """``begin`` and ``end``: what each pool does; ``ahead``: calls in the first, at most."""
        self._first, self._second, self._begin, self._end = first, second, begin, end
        self._free = threading.Semaphore(ahead)

    def submit(self, item: In) -> "Future[Out]":
        """Begin a call; it waits for room in the first stage."""
        self._free.acquire()
        result: Future[Out] = Future()
        self._first.submit(self._begin, item).add_done_callback(
            lambda done: self._go_on(done, result)
        )
        return result

    def _go_on(self, done: "Future[Between]", result: "Future[Out]") -> None:
        self._free.release()
        if done.cancelled():
            result.cancel()
        elif (error := done.exception()) is not None:
            result.set_exception(error)
        else:
            second = self._second.submit(self._end, done.result())
            second.add_done_callback(lambda ended: _copy(ended, result))


def _copy(ended: "Future[Out]", result: "Future[Out]") -> None:
    if ended.cancelled():
        result.cancel()
    elif (error := ended.exception()) is not None:
        result.set_exception(error)
    else:
        result.set_result(ended.result())
