"""One input of a watch: what is there, what is known of it, and what was said of it."""

from birefcli.batch.reporter import WatchReporter
from birefcli.batch.watch.folder_look import Look
from birefcli.batch.watch.settling import Settling
from birefcli.images.files import left_out_text


class WatchedInput:
    """An input, also while it is away: nothing of it is forgotten then."""

    def __init__(self, look: Look, settle: float, grace: float, reporter: WatchReporter) -> None:
        """``settle`` and ``grace``: of :class:`Settling`."""
        self.settling = Settling(settle, grace)
        self.is_there = True
        """Whether it could be looked at, the last time."""
        self._reporter = reporter
        self.look_at = look
        self._unreadable: set[str] = set()
        self._kinds: set[str] = set()

    def look(self, now: float) -> set[str]:
        """Take in what is there; returns the photos that have vanished."""
        try:
            gone = self.settling.look(now, self.look_at())
        except OSError as error:
            if self.is_there:
                why = error.strerror or str(error)
                name = self.look_at.name
                self._reporter.on_trouble(f"{name}: {why}; waits until it is there again")
            self.is_there = False
            return set()
        if not self.is_there:
            self._reporter.on_notice(f"{self.look_at.name}: is there again")
        self.is_there = True
        self._tell()
        return gone

    def _tell(self) -> None:
        """Say what cannot be looked into, and what is left out, once each."""
        unreadable = self.look_at.unreadable
        for name in unreadable.keys() - self._unreadable:
            self._reporter.on_trouble(f"{name}: {unreadable[name]}")
        self._unreadable = set(unreadable)
        others = self.look_at.others
        new = {kind: count for kind, count in others.items() if kind not in self._kinds}
        if new:
            self._reporter.on_notice(f"{self.look_at.name}: {left_out_text(new)}")
            self._kinds |= new.keys()
