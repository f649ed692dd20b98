"""What a person, or a log, sees of a watch: a line for each photo."""

from birefcli.cli.batch_reporter import TerminalReporter
from birefcli.errors import Message


class WatchTerminalReporter(TerminalReporter):
    """No bar: nobody knows how many photos there will be."""

    def __enter__(self) -> "WatchTerminalReporter":
        return self

    @property
    def names_written(self) -> bool:
        """Every photo that was done has its line."""
        return True

    def on_detail(self, text: str | Message) -> None:
        """Say it where every detail is wanted."""
        if self.verbosity.verbose:
            self.say(Message(text).spelled(self.spell))
