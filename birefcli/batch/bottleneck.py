"""Which stage a run waits for: loading, matting or saving photos."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager


class StageTimer:
    """How the thread that mattes spends its time; both other stages run beside it.

    It waits for photos where loading is the slowest stage, and for room to put results where saving
    is. The rest of its time it mattes.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waited = {"load": 0.0, "save": 0.0}
        self._started: float | None = None

    def start(self) -> None:
        """A run begins; what was counted before is forgotten."""
        self._waited = dict.fromkeys(self._waited, 0.0)
        self._started = self._clock()

    @contextmanager
    def waiting(self, stage: str) -> Iterator[None]:
        """Count what is spent within as waiting for ``load`` or ``save``."""
        begun = self._clock()
        try:
            yield
        finally:
            self._waited[stage] += self._clock() - begun

    def bottleneck(self) -> tuple[str, float] | None:
        """The stage that took most of the time, and its share of it, 0..1; None before a start."""
        return largest(self.shares())

    def shares(self) -> dict[str, float]:
        """Share of the time that each stage took, 0..1; empty before a start."""
        spent = 0.0 if self._started is None else self._clock() - self._started
        if spent <= 0:
            return {}
        times = {**self._waited, "matte": spent - sum(self._waited.values())}
        return {stage: took / spent for stage, took in times.items()}


def largest(shares: Mapping[str, float]) -> tuple[str, float] | None:
    """The stage with the largest share, and that; None where there is none."""
    return max(shares.items(), key=lambda item: item[1], default=None)
