"""A bar on a terminal, lines elsewhere: what every command shows of long work. On stderr."""

import contextlib
import sys
from types import TracebackType

from rich.console import Console
from rich.progress import Progress, ProgressColumn

from birefcli.errors import printable

INTERVAL = 30.0  # seconds between progress lines where there is no terminal


class Bar:
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
