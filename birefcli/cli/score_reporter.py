"""What a person sees while photos are scored. Everything here goes to stderr."""

from types import TracebackType

from birefcli.cli.terminal import ProgressBar
from birefcli.errors import Spell
from birefcli.scoring.batch import Failure
from birefcli.scoring.measure import Score
from birefcli.scoring.pairs import Matched

NAMED = 5  # faults or notes that have a line each before they are only counted


class TerminalScoreReporter:
    """A bar or now and then a line; failures always, the first notes unless it is to be quiet."""

    def __init__(self, spell: Spell, *, quiet: bool = False, progress: bool) -> None:
        """``spell``: how the command line writes options."""
        self.spell, self.quiet, self.shows_progress = spell, quiet, progress and not quiet
        self._bar = ProgressBar(0, "scoring", bar=False)
        self._noted = 0

    def __enter__(self) -> "TerminalScoreReporter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.__exit__(kind, error, trace)
        if kind is None and self._noted > NAMED:
            self.note(f"and {self._noted - NAMED} more photos with notes like these: see --json")

    def say(self, text: str) -> None:
        """Print a line, above the bar where there is one."""
        self._bar.say(text)

    def note(self, text: str) -> None:
        """Print a line, unless only failures are wanted."""
        if not self.quiet:
            self.say(text)

    def on_unmatched(self, matched: Matched, *, refused: bool) -> None:
        """Name what has no partner; where nothing is scored, the first of it."""
        for side, what in ((matched.missing, "truths"), (matched.extra, "predictions")):
            shown = side[:NAMED] if refused else side
            for fault in shown:
                self.say(fault)
            if len(side) > len(shown):
                self.say(f"and {len(side) - len(shown)} more {what} without a partner")

    def on_start(self, total: int) -> None:
        """Show the bar."""
        self._bar = ProgressBar(total, "scoring", bar=self.shows_progress)
        self._bar.__enter__()

    def on_result(self, result: Score | Failure) -> None:
        """Count one photo, and say what is odd about it."""
        self._bar.advance()
        if isinstance(result, Failure):
            self.say(result.error.spelled(self.spell))
        elif result.notes:
            self._noted += 1
            if self._noted <= NAMED:
                self.note(f"{result.name}: {'; '.join(result.notes)}")
