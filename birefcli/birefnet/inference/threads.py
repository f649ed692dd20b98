"""Work of a network beside other work of it, each in a thread of its own.

A small network's operators are many and short: threads that share each of them wait for each other
most of the time. A thread that computes a photo, or a long part of one, waits once.
"""

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from functools import lru_cache
from typing import TypeVar

import torch

Given = TypeVar("Given")
Made = TypeVar("Made")


class Team:
    """Threads whose operators keep to one thread each."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def each(self, function: Callable[[Given], Made], given: Iterable[Given]) -> list[Made]:
        """What ``function`` makes of each, beside each other, in their order.

        Raises the first one's error, when all have ended.
        """
        futures = [self._executor.submit(_inferring, function, one) for one in given]
        wait(futures)
        return [future.result() for future in futures]

    def begin(self, function: Callable[[Given], Made], given: Given) -> Callable[[], Made]:
        """Have a thread that is free compute it; what is returned gives the result.

        Where none was free until then, the calling thread computes it.
        """
        future = self._executor.submit(_inferring, function, given)
        return lambda: function(given) if future.cancel() else future.result()


def team() -> Team | None:
    """As many threads as torch's operators share in this one; None where that is one.

    Also where torch's own threads are not OpenMP's: only those are counted thread by thread.
    """
    count = torch.get_num_threads()
    return _made(count, os.getpid()) if count > 1 and _counted_by_thread() else None


@lru_cache(maxsize=1)
def _made(count: int, process: int) -> Team:
    """A team of one process: threads do not outlive a fork."""
    started = threading.Barrier(count)

    def keep_to_one() -> None:
        torch.get_num_threads()  # a thread's first use of torch sets its number, also after us
        torch.set_num_threads(1)
        started.wait()

    executor = ThreadPoolExecutor(count, "network", keep_to_one)
    wait([executor.submit(int) for _ in range(count)])
    torch.set_num_threads(count)  # that of threads to come, which those above have changed
    return Team(executor)


@lru_cache(maxsize=1)
def _counted_by_thread() -> bool:
    return "ATen parallel backend: OpenMP" in torch.__config__.parallel_info()


def _inferring(function: Callable[[Given], Made], given: Given) -> Made:
    with torch.inference_mode():  # a thread's own setting
        return function(given)
