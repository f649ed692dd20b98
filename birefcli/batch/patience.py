"""How long a device may take for a photo without any sign that it goes on."""

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from birefcli.system.watchdog import Activity, Sign, Watchdog

START = 30.0  # seconds that a device may at least take to begin: libraries and weights are loaded
LOADING = ""
"""What is at work while a network is loaded; no photo is called so."""
STEPS = 8  # looks within a limit
STEP = 1.0  # seconds between two looks, at most


@dataclass(frozen=True)
class Silence:
    """A device of this process that does not answer."""

    reason: str
    trace: str


def step(limit: float) -> float:
    """Seconds between two looks at whether ``limit`` have passed."""
    return min(STEP, limit / STEPS)


def to_begin(limit: float) -> float:
    """Seconds that a device may take to begin, where a photo may take ``limit``."""
    return max(limit, START)


@contextmanager
def watched(
    activity: Activity, limit: float | None, overdue: Callable[[Sign], object]
) -> Iterator[None]:
    """Call ``overdue``, in a thread of its own, where what is at work has not moved for too long.

    ``limit``: seconds; None waits for ever.
    """
    if limit is None:
        yield
        return
    allowed = limit

    def signs() -> dict[Activity, Sign]:
        names = activity.names
        now = to_begin(allowed) if LOADING in names else allowed
        return {activity: Sign(activity.moves, now)} if names else {}

    with Watchdog(step(allowed), signs, lambda _, sign: overdue(sign)):
        yield


def no_answer(limit: float, device: str = "") -> str:
    """Why a device counts as lost, or a photo on it."""
    return f"no answer{f' from {device}' if device else ''} within {limit:g} s"


def silence(limit: float) -> Silence:
    """Why this process's own device counts as lost, and what every thread is in the middle of."""
    stacks = [traceback.format_stack(frame) for frame in sys._current_frames().values()]
    return Silence(no_answer(limit), "\n".join("".join(stack) for stack in stacks))
