"""What keeps a watch from working, and goes by: it is told once, and once when it is over."""

from birefcli.batch.reporter import WatchReporter
from birefcli.errors import Message


class Pause:
    """A time in which nothing is tried; then everything is, again and again."""

    def __init__(self, seconds: float, reporter: WatchReporter) -> None:
        """``seconds``: from one try to the next."""
        self._seconds, self._reporter = seconds, reporter
        self._until: float | None = None
        self._over = ""

    @property
    def until(self) -> float | None:
        """When the next try is due; None where nothing is in the way."""
        return self._until

    def holds(self, now: float) -> bool:
        """Whether nothing is to be tried yet."""
        return self._until is not None and now < self._until

    def begin(self, now: float, why: Message, over: str) -> None:
        """Something is in the way; ``over``, which tells it from others, is said when it goes."""
        if self._until is None or over != self._over:
            often = f"; tries again every {self._seconds:g} s, and goes on when it can"
            self._reporter.on_trouble(Message(why, often))
        self._until, self._over = now + self._seconds, over

    def end(self) -> None:
        """A try has succeeded."""
        if self._until is not None:
            self._until = None
            self._reporter.on_notice(self._over)
