"""How far a count has come: a bar on a terminal, now and then a line elsewhere. On stderr."""

import time

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from birefcli.cli.bar import INTERVAL, Bar


class Ticker(Bar):
    """Counts to ``total``."""

    def __init__(self, total: int, verb: str, *, bar: bool) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            wanted=bar,
        )
        self.total, self.done = total, 0
        self.told = time.monotonic()
        if self.progress is not None:
            self.task = self.progress.add_task(verb, total=total)
        self.lines = bar and self.progress is None

    def __enter__(self) -> "Ticker":
        if self.progress is not None:
            self.progress.start()
        return self

    def advance(self) -> None:
        """One more is done."""
        self.done += 1
        now = time.monotonic()
        if self.progress is not None:
            self.progress.update(self.task, advance=1)
        elif self.lines and now - self.told >= INTERVAL:
            self.told = now
            self.say(f"{self.done} of {self.total}")
