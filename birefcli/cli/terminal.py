"""What every command shows of long work, on stderr; tables on stdout."""

import contextlib
import sys
import time
from types import TracebackType

import rich.console
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from birefcli.errors import printable

INTERVAL = 30.0  # seconds between progress lines where there is no terminal


class Terminal:
    """Stops its bar when it is left, however that happens."""

    def __init__(self, *columns: ProgressColumn, wanted: bool) -> None:
        console = Console(stderr=True, soft_wrap=True, highlight=False)
        self.progress = (
            Progress(*columns, console=console, transient=True)
            if wanted and console.is_terminal
            else None
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.progress is not None:
            with contextlib.suppress(OSError):
                self.progress.stop()

    def say(self, text: str) -> None:
        """One line, above the bar where there is one, exactly as it is.

        A terminal that was closed hears nothing any more, and the work is ended all the same.
        """
        shown = printable(text)
        with contextlib.suppress(OSError):
            if self.progress is not None:
                self.progress.console.print(shown, markup=False)
            else:
                print(shown, file=sys.stderr, flush=True)


class TableConsole(rich.console.Console):
    """Rich's, which ends with 1 where its reader has gone: as if photos had failed."""

    def on_broken_pipe(self) -> None:
        """Let the command end as every other does whose reader has gone."""
        raise BrokenPipeError


class ProgressBar(Terminal):
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

    def __enter__(self) -> "ProgressBar":
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
