"""Calls on a pool of threads, some of them ahead of what is asked for."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


def prefetch(
    pool: ThreadPoolExecutor,
    call: Callable[[In], Out],
    items: Iterable[In],
    ahead: int,
    running: "deque[Future[Out]] | None" = None,
) -> Generator[Future[Out], None, None]:
    """Call on a pool, results in order, with at most ``ahead`` calls in flight.

    ``running`` is filled with the calls that are; the first is the last that was given.
    """
    running = deque() if running is None else running
    for item in items:
        running.append(pool.submit(call, item))
        # What has ended is given at once: a photo is told of when it is written.
        while running and (len(running) >= ahead or running[0].done()):
            yield running[0]
            running.popleft()
    while running:
        yield running[0]
        running.popleft()
