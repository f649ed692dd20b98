"""Work that may never end: what is at work, and a thread that sees when it no longer moves."""

import sys
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

Who = TypeVar("Who", bound=Hashable)


@dataclass(frozen=True)
class Sign:
    """What somebody who is waited for shows."""

    moves: int
    """Changes whenever something moved."""
    limit: float
    """Seconds that nothing may move."""


class Activity:
    """What is at work in this process at the moment; any thread may say so."""

    def __init__(self) -> None:
        self._beats = 0
        self._lock = threading.Lock()
        self._at_work: Counter[str] = Counter()

    @property
    def moves(self) -> int:
        """Changes whenever something began, ended, or went on.

        That a library is imported on the way, module by module, is progress too.
        """
        return self._beats + len(sys.modules)

    @property
    def names(self) -> list[str]:
        """What is at work."""
        with self._lock:
            return [name for name, times in self._at_work.items() if times > 0]

    def beat(self) -> None:
        """Something moved."""
        self._beats += 1  # two threads at once may count as one, and it has changed all the same

    @contextmanager
    def on(self, names: Iterable[str]) -> Iterator[None]:
        """These are at work within the block."""
        names = list(names)
        self._change(names, 1)
        try:
            yield
        finally:
            self._change(names, -1)

    @contextmanager
    def waiting(self, name: str) -> Iterator[None]:
        """Within the block, what is at work waits for something that may take as long as it likes.

        For whoever writes to a pipe, or for its turn.
        """
        self._change([name], -1)
        try:
            yield
        finally:
            self._change([name], 1)

    def _change(self, names: list[str], by: int) -> None:
        with self._lock:
            for name in names:
                self._at_work[name] += by
                if not self._at_work[name]:
                    del self._at_work[name]
        self.beat()


class Watchdog(Generic[Who]):
    """Looks at signs every ``step`` seconds, and tells who has not moved for too long.

    Seconds are counted in steps: where this process was stopped (Ctrl-Z) for an hour, one has
    passed.
    """

    def __init__(
        self,
        step: float,
        signs: Callable[[], Mapping[Who, Sign]],
        overdue: Callable[[Who, Sign], object],
    ) -> None:
        """``signs``: of everybody who is waited for; ``overdue`` is called in the watching thread.

        Whoever is overdue is told again at every look, until ``signs`` leaves it out.
        """
        self.step = step
        self._signs, self._overdue = signs, overdue
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog[Who]":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        # Its thread may be there a little longer, and must not be the last to hold a network: to
        # free one while Python ends aborts the process.
        self._signs, self._overdue = dict, lambda *_: None

    def _watch(self) -> None:
        quiet: dict[Who, tuple[int, float]] = {}
        while not self._over.wait(self.step):
            signs = self._signs()
            quiet = {who: self._counted(sign, quiet.get(who)) for who, sign in signs.items()}
            for who, sign in signs.items():
                if quiet[who][1] >= sign.limit:
                    self._overdue(who, sign)

    def _counted(self, sign: Sign, before: tuple[int, float] | None) -> tuple[int, float]:
        """How often somebody has moved, and for how many seconds not since."""
        if before is None or before[0] != sign.moves:
            return sign.moves, 0.0
        return sign.moves, before[1] + self.step
