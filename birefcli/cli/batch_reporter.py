"""What a person sees while a batch runs. Lines go to stderr; JSON and the
results of a dry run to stdout."""

import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from birefcli.batch.outcome import Outcome, Status, Summary
from birefcli.batch.pace import Pace
from birefcli.batch.places import Stdout, Target
from birefcli.batch.reporter import Bottleneck, DeviceLost
from birefcli.cli.terminal import INTERVAL, Terminal
from birefcli.errors import Message, Spell, printable
from birefcli.images.files import left_out_text
from birefcli.options import Existing

LOADING, WORKING = "loading the model", "matting"


class _Told(ProgressColumn):
    """What the run itself says: rich knows neither when its work began, nor of hours a photo."""

    def __init__(self, text: Callable[[], str]) -> None:
        super().__init__()
        self._text = text

    def render(self, task: Task) -> Text:
        """As it is now."""
        return Text(self._text(), style="progress.data.speed")


@dataclass(frozen=True)
class Verbosity:
    """How much of a batch is reported."""

    json_lines: bool = False
    quiet: bool = False
    verbose: bool = False
    progress: bool = True
    debug: bool = False


class TerminalReporter(Terminal):
    """Progress: a bar on a terminal, now and then a line elsewhere; failures always."""

    def __init__(
        self, verbosity: Verbosity, spell: Spell, existing: Existing = Existing.UPDATE
    ) -> None:
        """``spell``: how the command line writes options; ``existing``: the run's."""
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            _Told(self._pace_text),
            TextColumn("{task.fields[limit]}"),
            wanted=verbosity.progress and not verbosity.quiet,
        )
        self.verbosity, self.spell = verbosity, spell
        self._stays = existing in (Existing.UPDATE, Existing.SKIP)
        """Whether the same command leaves what is done, and says what its run found out."""
        self.shows_progress = verbosity.progress and not verbosity.quiet
        self.failed, self.pace = 0, Pace(0)
        self.last_line = time.monotonic()
        self._waits_for = LOADING
        self._bottleneck: Bottleneck = lambda: None

    def __enter__(self) -> "TerminalReporter":
        return self

    def on_start(self, pace: Pace) -> None:
        """Count from here; what was reported before needed no work."""
        self.failed, self.pace = 0, pace
        self.last_line = time.monotonic()
        if self.progress is not None:
            self.task = self.progress.add_task(LOADING, total=pace.total, limit="")
            self.progress.start()

    def on_running(self, bottleneck: Bottleneck) -> None:
        """Measure from now on, and show the slowest stage."""
        self._bottleneck, self._waits_for = bottleneck, WORKING
        self.on_state("")

    def on_products_skipped(self, count: int) -> None:
        """Say how many; with every detail they are named one by one."""
        if not self.verbosity.verbose and not self.verbosity.quiet:
            self.say(f"{count} file{'s' * (count != 1)} made by birefcli: not taken for photos")

    def on_outcome(self, outcome: Outcome) -> None:
        """Report one photo that ended."""
        self.failed += outcome.status is Status.FAILED
        if outcome.status is Status.FAILED:
            self.say(f"{outcome.input}: {self._spelled(outcome.error)}")
        elif not self.verbosity.quiet and self.is_worth_a_line(outcome):
            self.say(self._line(outcome))
        if self.progress is not None and self.pace.total:
            self.progress.update(self.task, advance=1, limit=self._limit())
        elif self.shows_progress and self.pace.total:
            self._progress_line()
        if outcome.bug is not None and self.verbosity.debug:
            traceback.print_exception(outcome.bug)
        if self.verbosity.json_lines:
            print(outcome.as_json(self.spell), flush=True)

    def on_planned(self, outcome: Outcome) -> None:
        """Print what a dry run was asked for, on stdout."""
        if self.verbosity.json_lines or self.verbosity.quiet:
            return
        print(printable(self._line(outcome)))

    def on_state(self, text: str) -> None:
        """Show what photos wait for, where a bar shows that they do."""
        if self.progress is not None and self.pace.total:
            self.progress.update(self.task, description=text or self._waits_for)

    def on_notice(self, message: str | Message) -> None:
        """Say it, unless only failures are wanted."""
        if not self.verbosity.quiet:
            self.say(Message(message).spelled(self.spell))

    def on_device_lost(self, name: str, lost: DeviceLost, photos: int) -> None:
        """Say which device is lost, and why."""
        moved = f"; photos that go to others: {photos}" if photos else ""
        self.say(f"{name} is lost: {lost.reason}{moved}")
        if lost.trace and self.verbosity.debug:
            print(lost.trace, file=sys.stderr)

    def on_trouble(self, text: str | Message) -> None:
        """Say it, always."""
        self.say(Message(text).spelled(self.spell))

    def on_end(self, summary: Summary) -> None:
        """Print the last line, where the bar was: the process may end at once."""
        if self.progress is not None:
            self.progress.stop()
        if self.verbosity.json_lines:
            print(summary.as_json(), flush=True)
        if not self.verbosity.quiet:
            if summary.left_out:
                self.say(left_out_text(summary.left_out))
            self.say(summary.line() + self._where_to_look(summary))

    def _where_to_look(self, summary: Summary) -> str:
        """How one learns which photos the counts are of; nothing where each was named."""
        ways = []
        told = summary.flagged or summary.noted or summary.lowered
        if told and self._stays and not self.names_written:
            ways = ["the same command with -v names them"]
        if summary.flagged:
            ways.append("birefcli sheet shows flagged ones")
        return f" ({', '.join(ways)})" if ways else ""

    def _spelled(self, message: Message | None) -> str:
        return "" if message is None else message.spelled(self.spell)

    def is_worth_a_line(self, outcome: Outcome) -> bool:
        """Whether a photo that did not fail is named."""
        # The results of a dry run go to stdout, and what is up to date is counted: a log that is
        # written every night would name all photos that were ever done.
        match outcome.status:
            case Status.PENDING:
                return False
            case Status.CURRENT:
                return self.verbosity.verbose and bool(outcome.flags or outcome.all_notes)
            case Status.WRITTEN:
                return self.names_written or outcome.notable
        return self.verbosity.verbose or outcome.notable

    @property
    def names_written(self) -> bool:
        """Whether each photo that was written has a line, with its flags and notes."""
        return self.verbosity.verbose

    def _progress_line(self) -> None:
        now = time.monotonic()
        if now - self.last_line < INTERVAL or self.pace.done == self.pace.total:
            return
        self.last_line = now
        failed = f", {self.failed} failed" if self.failed else ""
        words = f"{self.pace.done} of {self.pace.total} photos{failed}", self._pace_text()
        limit = self._limit()
        self.say(", ".join(filter(None, words)) + (f" {limit}" if limit else ""))

    def _pace_text(self) -> str:
        """The run's rate, as its summary has it, and what is left by it."""
        rate, left = self.pace.rate, self.pace.left
        if left is None or rate is None:
            return ""
        return f"{rate:.2f} photos/s, {span(left)} left"

    def _limit(self) -> str:
        """Which stage the run waits for most, in words."""
        found = self._bottleneck()
        return "" if found is None else f"· {found[0]} {found[1]:.0%}"

    def _line(self, outcome: Outcome) -> str:
        targets = ", ".join(_shown(target) for target in outcome.outputs.values())
        # That a photo was not there before goes without saying, and so does why one is up to date.
        new = outcome.status is Status.WRITTEN and outcome.is_new
        plain = new or outcome.status is Status.CURRENT
        reason = "" if plain else self._spelled(outcome.reason)
        flags = f"flagged: {', '.join(outcome.flags)}" if outcome.flags else ""
        details = [text for text in (reason, flags, *outcome.all_notes) if text]
        why = f" ({'; '.join(details)})" if details else ""
        arrow = f" -> {targets}" if targets else ""
        return f"{outcome.input}: {outcome.status.words}{arrow}{why}"


def _shown(target: Target) -> str:
    return "stdout" if isinstance(target, Stdout) else str(target)


def span(seconds: float) -> str:
    """Time as one says it: ``40 s``, ``12 min``, ``2.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
