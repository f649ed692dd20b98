"""Threads for work on photos, and a line of coroutines that wait for one of them."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, NamedTuple, TypeVar

Out = TypeVar("Out")


class Timed(NamedTuple, Generic[Out]):
    """A result, and what it took."""

    result: Out
    waited: float
    """Seconds until a thread was free."""
    seconds: float
    """In the thread."""


class Threads:
    """So many threads. Who gives up while it waits for one leaves nothing behind.

    An executor's own queue would keep what cancelled work was given until a thread comes to it.
    """

    def __init__(self, count: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(count, name)
        self._free = asyncio.Semaphore(count)

    async def run(
        self,
        call: Callable[..., Out],
        *given: Any,  # noqa: ANN401 - what ``call`` takes
        hold: Callable[[Future[Any]], object] = lambda _: None,
    ) -> Timed[Out]:
        """What ``call`` gives in one of the threads. Raises what it raises.

        ``hold`` is given the work when it begins, which ends even if nobody waits for it any more.
        """
        started = time.perf_counter()
        await self._free.acquire()
        waited = time.perf_counter() - started
        loop = asyncio.get_running_loop()
        future = self._executor.submit(_timed, call, given)
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._free.release))
        hold(future)
        result, seconds = await asyncio.wrap_future(future)
        return Timed(result, waited, seconds)

    def close(self) -> None:
        """Begin nothing more; what is at work is not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _timed(call: Callable[..., Out], given: tuple[Any, ...]) -> tuple[Out, float]:
    started = time.perf_counter()
    return call(*given), time.perf_counter() - started
