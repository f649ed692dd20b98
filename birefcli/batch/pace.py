"""How quickly a run does its photos, and how long the others take."""

import time
from collections.abc import Callable


class Pace:
    """Of one run's own work: neither its loading counts, nor photos that needed nothing."""

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        """``total``: photos to be done."""
        self.total, self._clock = total, clock
        self.done = self.written = 0
        self.begin()

    def begin(self) -> None:
        """The first photo can be done: what it needs is loaded."""
        self._began = self._last = self._clock()

    def end(self, *, written: bool) -> None:
        """A photo has ended."""
        self._last = self._clock()
        self.done += 1
        self.written += written

    @property
    def seconds(self) -> float:
        """Of work: until the last photo ended."""
        return self._last - self._began

    @property
    def rate(self) -> float | None:
        """Photos written a second of work; None before any time has passed."""
        return self.written / self.seconds if self.seconds > 0 else None

    @property
    def left(self) -> float | None:
        """Seconds that the other photos take, if they take as long as those before them."""
        if not self.done:
            return None
        each = self.seconds / self.done
        return max(0.0, each * (self.total - self.done) - (self._clock() - self._last))
