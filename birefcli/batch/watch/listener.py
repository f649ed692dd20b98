"""What a watch makes of its runs: photos that end, photos that are tried again, and one summary."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from birefcli.batch.outcome import Outcome, Status, Summary
from birefcli.batch.pace import Pace
from birefcli.batch.reporter import Bottleneck, DeviceLost, WatchReporter
from birefcli.batch.run import NO_DEVICE
from birefcli.batch.watch.settling import Settling
from birefcli.errors import ExitCode, Message
from birefcli.options import Shard

Expected: TypeAlias = tuple[Settling, str]
"""A photo that is to be done: what waits for it, and what it is called there."""


class RunListener:
    """Hears of every run of a watch, and passes on what concerns the whole."""

    def __init__(
        self,
        reporter: WatchReporter,
        shard: Shard | None = None,
        waiting: Callable[[], int] = lambda: 0,
    ) -> None:
        """``waiting``: how many photos were seen and not done, at the end."""
        self._waiting = waiting
        self.total = Summary(shard=shard)
        """Of all runs; its seconds are those in which there was work."""
        self.obstacle: Message | None = None
        """What kept the last run from writing."""
        self.shows_progress = reporter.shows_progress
        self._reporter = reporter
        self._expected: dict[str, Expected] = {}
        self._ended = False

    def expect(self, photos: Mapping[str, Expected]) -> None:
        """These photos are to be done now, each by its label."""
        self._expected = dict(photos)
        self.obstacle = None

    def left(self) -> Iterator[Expected]:
        """Photos of which nothing was heard."""
        yield from self._expected.values()

    def end(self, code: ExitCode | None) -> None:
        """Report the whole, once."""
        if not self._ended:
            self._ended = True
            self.total.stopped = code
            self.total.leave(self._waiting())
            self._reporter.on_end(self.total)

    # What a run reports

    def on_outcome(self, outcome: Outcome) -> None:
        """Pass on what is the end of a photo."""
        if outcome.fatal:  # of the disk, and not of the photo
            self.obstacle = outcome.error
            return
        settling, label = self._expected.pop(outcome.input)
        if outcome.status is Status.FAILED and outcome.unread and not settling.unread(label):
            why = outcome.error or "cannot be read"
            self._reporter.on_detail(Message(f"{outcome.input}: not yet: ", why))
            return
        settling.end(label)
        self.total.add(outcome)
        self._reporter.on_outcome(outcome)

    def on_end(self, summary: Summary) -> None:
        """Count a run; the process may end with one that is stopped."""
        total = self.total
        total.seconds += summary.seconds
        total.loading += summary.loading
        total.working += summary.working
        total.device = summary.device or total.device
        total.precision = summary.precision or total.precision
        total.model = summary.model or total.model
        total.lost += summary.lost
        if summary.stopped not in (None, ExitCode.OUTPUT):
            self.end(summary.stopped)

    def on_trouble(self, text: str | Message) -> None:
        """Pass on that no device is left; what else stops a run, a watch waits for."""
        if text == NO_DEVICE:
            self._reporter.on_trouble(text)

    def on_products_skipped(self, count: int) -> None:
        """Nothing: a watch hands no products to its runs."""

    def on_planned(self, outcome: Outcome) -> None:
        """Nothing: there are no dry runs."""

    def on_start(self, pace: Pace) -> None:
        """Nothing: photos have a line each, and no bar."""

    def on_running(self, bottleneck: Bottleneck) -> None:
        """Pass it on."""
        self._reporter.on_running(bottleneck)

    def on_state(self, text: str) -> None:
        """Pass it on."""
        self._reporter.on_state(text)

    def on_notice(self, message: str | Message) -> None:
        """Pass it on."""
        self._reporter.on_notice(message)

    def on_device_lost(self, name: str, lost: DeviceLost, photos: int) -> None:
        """Pass it on."""
        self._reporter.on_device_lost(name, lost, photos)
