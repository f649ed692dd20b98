"""How far a count has come: a bar on a terminal, now and then a line elsewhere. On stderr."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from birefcli.cli.display import INTERVAL
from birefcli.errors import printable


class Ticker:
    """Counts to ``total``."""

    def __init__(self, total: int, verb: str, *, bar: bool) -> None:
        self.total, self.done = total, 0
        self.told = time.monotonic()
        console = Console(stderr=True, soft_wrap=True, highlight=False)
        self.progress: Progress | None = None
        if bar and console.is_terminal:
            self.progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self.task = self.progress.add_task(verb, total=total)
        self.lines = bar and self.progress is None

    def __enter__(self) -> "Ticker":
        if self.progress is not None:
            self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.progress is not None:
            self.progress.stop()

    def advance(self) -> None:
        """One more is done."""
        self.done += 1
        now = time.monotonic()
        if self.progress is not None:
            self.progress.update(self.task, advance=1)
        elif self.lines and now - self.told >= INTERVAL:
            self.told = now
            self.say(f"{self.done} of {self.total}")

    def say(self, text: str) -> None:
        """One line, above the bar where there is one."""
        shown = printable(text)
        if self.progress is not None:
            self.progress.console.print(shown, markup=False)
        else:
            print(shown, file=sys.stderr, flush=True)
