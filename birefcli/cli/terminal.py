"""What every command prints: progress and lines on stderr, tables on stdout."""

import contextlib
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

import rich.console
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from birefcli.errors import printable

INTERVAL = 30.0  # seconds between progress lines where there is no terminal


def say(text: str) -> None:
    """Print one line on stderr.

    A terminal that was closed takes nothing any more, and the work is ended all the same.
    """
    with contextlib.suppress(OSError):
        print(printable(text), file=sys.stderr, flush=True)


class Terminal:
    """A progress bar on stderr, where that is a terminal, and lines above it.

    The bar stops when its block is left, however that happens.
    """

    def __init__(self, *columns: ProgressColumn, wanted: bool) -> None:
        console = Console(stderr=True, soft_wrap=True, highlight=False)
        self.progress: Progress | None = None
        if wanted and console.is_terminal:
            # Rich would take what is printed on stdout to stderr, above the bar: right where both
            # are the terminal, and a loss where stdout is a file.
            self.progress = Progress(
                *columns, console=console, transient=True, redirect_stdout=_is_terminal(sys.stdout)
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
        """Print one line, above the bar where there is one, exactly as it is."""
        if self.progress is None:
            say(text)
            return
        with contextlib.suppress(OSError):
            self.progress.console.print(printable(text), markup=False)


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()  # it may be closed


class TableConsole(rich.console.Console):
    """Rich's, which ends with 1 where its reader has gone: as if photos had failed."""

    def on_broken_pipe(self) -> None:
        """Let the command end as every other does whose reader has gone."""
        raise BrokenPipeError


class ProgressBar(Terminal):
    """Counts to a total: a bar on a terminal, now and then a line elsewhere.

    Work of several parts begins each of them with :meth:`begin`, and counts anew.
    """

    def __init__(
        self, total: int | None, description: str = "", *, bar: bool, lines: bool = True
    ) -> None:
        """``total``: None shows nothing until a part begins. ``lines``: where there is no bar."""
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            wanted=bar,
        )
        self.lines = lines and bar and self.progress is None
        self.total = self.done = 0
        self.last_line = 0.0
        self.task: TaskID | None = None
        if total is not None:
            self.begin(description, total)

    def __enter__(self) -> "ProgressBar":
        if self.progress is not None:
            self.progress.start()
        return self

    def begin(self, description: str, total: int) -> Callable[[], None]:
        """Begin a part of ``total`` steps; returns what is called after each, :meth:`advance`."""
        self.total, self.done, self.last_line = total, 0, time.monotonic()
        if self.progress is not None:
            if self.task is not None:
                self.progress.remove_task(self.task)
            self.task = self.progress.add_task(description, total=total)
        return self.advance

    def advance(self) -> None:
        """Count one more."""
        self.done += 1
        now = time.monotonic()
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, advance=1)
        elif self.lines and now - self.last_line >= INTERVAL:
            self.last_line = now
            self.say(f"{self.done} of {self.total}")
