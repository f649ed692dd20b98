"""Work that one photo can share among cores that would idle."""

import math
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from birefcli.system import cgroup

In = TypeVar("In")
Out = TypeVar("Out")


_sharers = 1
_shared: int | None = None


def set_sharers(sharers: int, cores: int | None = None) -> None:
    """From now on this process is one of so many that have the cores between them.

    ``cores``: that they have at most, by whoever deals them out; None: all.
    """
    global _sharers, _shared
    _sharers, _shared = sharers, cores


def count() -> int:
    """Cores that this process may use, at least 1.

    Those it may run on, but no more than the time that its control groups allow it in a second:
    a part of a core counts as one, which would otherwise lie idle.
    """
    allowed = cgroup.limits().cores
    cores = admitted() if allowed is None else min(admitted(), math.ceil(allowed))
    return max(1, (cores if _shared is None else min(cores, _shared)) // _sharers)


def admitted() -> int:
    """Cores that this process may run on, however much of their time it gets."""
    # From Python 3.13, also what its option -X cpu_count says.
    count = getattr(os, "process_cpu_count", None)
    if count is not None:
        return count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parallel_map(call: Callable[[In], Out], items: Iterable[In]) -> list[Out]:
    """Results of calls that let other threads run (zlib, NumPy), in order.

    All photos share one thread a core, however many are being written: no more calls are at work,
    and hold memory for it, than there are cores. What is called must not spread work itself.
    """
    parts = list(items)
    if len(parts) == 1:
        return [call(parts[0])]
    return list(_pool().map(call, parts))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count(), "core")
