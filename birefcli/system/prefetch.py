"""Calls on a pool of threads, some of them ahead of what is asked for."""

import math
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
    *,
    eager: bool = True,
    cost: Callable[[In], float] = lambda _: 0,
    budget: float = math.inf,
) -> Generator[Future[Out], None, None]:
    """Call on a pool, results in order, with at most ``ahead`` calls in flight.

    ``eager`` gives what has ended at once, however few calls then are in flight; without it there
    are always as many as may be. The ``cost`` of all calls in flight stays within ``budget``, where
    whoever takes a result waits for it; an item that costs more is called alone.
    """

    def submit(item: In) -> Future[Out]:
        return pool.submit(call, item)

    return prefetch_by(submit, items, ahead, eager=eager, cost=cost, budget=budget)


def prefetch_by(
    submit: Callable[[In], Future[Out]],
    items: Iterable[In],
    ahead: int,
    *,
    eager: bool = True,
    cost: Callable[[In], float] = lambda _: 0,
    budget: float = math.inf,
) -> Generator[Future[Out], None, None]:
    """As :func:`prefetch`, with calls that ``submit`` begins, in whatever pool."""
    running: deque[Future[Out]] = deque()
    costs: deque[float] = deque()
    for item in items:
        price = cost(item)
        while costs and sum(costs) + price > budget:
            yield running[0]
            running.popleft()
            costs.popleft()
        running.append(submit(item))
        costs.append(price)
        # What has ended is given at once: a photo is reported when it is written.
        while running and (len(running) >= ahead or (eager and running[0].done())):
            yield running[0]
            running.popleft()
            costs.popleft()
    while running:
        yield running[0]
        running.popleft()
