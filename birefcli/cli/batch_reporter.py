"""What a person sees while a batch runs. Everything here goes to stderr."""

import sys
import time
from collections.abc import Callable

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from birefcli.batch.freshness import EXISTS, MISSING
from birefcli.batch.inputs import MADE_BY_US
from birefcli.batch.outcome import Outcome, Status, Summary
from birefcli.cli.terminal import INTERVAL, Terminal
from birefcli.errors import printable


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Photos a second."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.2f}/s", style="progress.data.speed")


def _columns() -> list[ProgressColumn]:
    return [
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("·"),
        TimeRemainingColumn(),
        TextColumn("left {task.fields[limit]}"),
    ]


class ProgressDisplay(Terminal):
    """Progress: a bar on a terminal, now and then a line elsewhere; failures always."""

    def __init__(self, *, quiet: bool, verbose: bool, bar: bool) -> None:
        super().__init__(*_columns(), wanted=bar and not quiet)
        self.total, self.quiet, self.verbose = 0, quiet, verbose
        self.done = self.failed = 0
        self.started = self.told = time.monotonic()
        self.limit: Callable[[], tuple[str, float] | None] = lambda: None

    def __enter__(self) -> "ProgressDisplay":
        return self

    def begin(self, total: int) -> None:
        """From now on ``total`` photos are matted; what was told before is not counted."""
        self.total, self.done, self.failed = total, 0, 0
        self.started = self.told = time.monotonic()
        if self.progress is not None:
            self.task = self.progress.add_task("matting", total=total, limit="")
            self.progress.start()

    def add(self, outcome: Outcome) -> None:
        """Tell of one photo that ended."""
        self.done += 1
        self.failed += outcome.status is Status.FAILED
        if outcome.status is Status.FAILED:
            self.say(f"{outcome.input}: {outcome.error}")
        elif not self.quiet and self._worth_a_line(outcome):
            self.say(_line(outcome))
        if self.progress is not None and self.total:
            self.progress.update(self.task, advance=1, limit=self._limit())
        elif not self.quiet and self.total:
            self._now_and_then()

    def _worth_a_line(self, outcome: Outcome) -> bool:
        # The results of a dry run go to stdout, and what is up to date is counted: a log that is
        # written every night would name all photos that were ever done.
        if outcome.status in (Status.PENDING, Status.CURRENT):
            return False
        left = outcome.status is Status.SKIPPED and outcome.reason not in (EXISTS, MADE_BY_US)
        return self.verbose or left or _notable(outcome)

    def _now_and_then(self) -> None:
        now = time.monotonic()
        if now - self.told < INTERVAL or self.done == self.total:
            return
        self.told = now
        rate = self.done / (now - self.started)
        left = (self.total - self.done) / rate
        failed = f", {self.failed} failed" if self.failed else ""
        self.say(
            f"{self.done} of {self.total} photos{failed}, {rate:.2f} photos/s, {span(left)} left"
            + (f" {limit}" if (limit := self._limit()) else "")
        )

    def _limit(self) -> str:
        """Which stage the run waits for most, in words."""
        found = self.limit()
        return "" if found is None else f"· {found[0]} {found[1]:.0%}"

    def state(self, text: str) -> None:
        """Tell what the photos wait for, ``""`` for nothing, where a bar shows that they do."""
        if self.progress is not None and self.total:
            self.progress.update(self.task, description=text or "matting")

    def result(self, outcome: Outcome) -> None:
        """One line of what was asked for, on stdout."""
        # Not every terminal can show every name.
        encoding = sys.stdout.encoding
        print(printable(_line(outcome)).encode(encoding, "backslashreplace").decode(encoding))

    def summary(self, report: Summary) -> None:
        """Print the last line."""
        if not self.quiet:
            self.say(report.summary())


def _notable(outcome: Outcome) -> bool:
    """Whether its owner should hear of a photo that did not fail."""
    return any("no subject" in note or "first of" in note for note in outcome.notes)


def _line(outcome: Outcome) -> str:
    targets = ", ".join("stdout" if t is None else str(t) for t in outcome.outputs.values())
    # That a photo was not there before goes without saying.
    new = outcome.status is Status.WRITTEN and outcome.reason == MISSING
    told = [text for text in (None if new else outcome.reason, *outcome.notes) if text]
    why = f" ({'; '.join(told)})" if told else ""
    arrow = f" -> {targets}" if targets else ""
    return f"{outcome.input}: {outcome.status.value}{arrow}{why}"


def span(seconds: float) -> str:
    """Time as one says it: ``40 s``, ``12 min``, ``2.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
