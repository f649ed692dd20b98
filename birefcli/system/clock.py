"""Time as whoever waits sees it: it may be woken, and a test may have another."""

import threading
import time


class Clock:
    """The seconds of this machine since some moment."""

    def __init__(self) -> None:
        self._woken = threading.Event()

    def now(self) -> float:
        """Seconds, which no setting of the time changes."""
        return time.monotonic()

    def wait(self, seconds: float, at_least: float = 0.0) -> None:
        """Wait so long, or until :meth:`wake` is called, in which case ``at_least`` so long."""
        begun = self.now()
        if self._woken.wait(seconds):
            left = at_least - (self.now() - begun)
            if left > 0:
                time.sleep(left)
        self._woken.clear()

    def wake(self) -> None:
        """End the wait, from whatever thread."""
        self._woken.set()
