"""What a person, or a log, sees of a watch: a line for each photo."""

from birefcli.batch.outcome import Outcome, Status
from birefcli.cli.batch_reporter import TerminalReporter
from birefcli.errors import Message


class WatchTerminalReporter(TerminalReporter):
    """No bar: nobody knows how many photos there will be."""

    def __enter__(self) -> "WatchTerminalReporter":
        return self

    def is_worth_a_line(self, outcome: Outcome) -> bool:
        """Every photo that was done is."""
        return outcome.status is Status.WRITTEN or super().is_worth_a_line(outcome)

    def on_detail(self, text: str | Message) -> None:
        """Say it where every detail is wanted."""
        if self.verbosity.verbose:
            self.say(Message(text).spelled(self.spell))
