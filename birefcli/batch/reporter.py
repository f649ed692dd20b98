"""Who learns how a batch goes: a terminal, a log, a program that embeds it."""

from collections.abc import Callable
from typing import Protocol

from birefcli.batch.outcome import Outcome, Summary
from birefcli.batch.pace import Pace
from birefcli.errors import Message

Bottleneck = Callable[[], "tuple[str, float] | None"]
"""The stage that takes most of the time, and its share of it, 0..1."""


class Reporter(Protocol):
    """Callbacks of a batch, all of them in the thread that runs it."""

    shows_progress: bool
    """Whether a download may show its own progress on stderr."""

    def on_products_skipped(self, count: int) -> None:
        """So many files in the input folders were made by birefcli, and are no photos."""

    def on_outcome(self, outcome: Outcome) -> None:
        """One photo has ended, or needs nothing."""

    def on_planned(self, outcome: Outcome) -> None:
        """A dry run found one photo to be done."""

    def on_start(self, pace: Pace) -> None:
        """``pace.total`` photos are to be done, once the model is loaded; it follows the run."""

    def on_running(self, bottleneck: Bottleneck) -> None:
        """The model is loaded, photos are done; ``bottleneck`` may be asked from now on."""

    def on_state(self, text: str) -> None:
        """What photos wait for, in a few words; ``""`` for nothing."""

    def on_notice(self, message: str | Message) -> None:
        """Something worth knowing that is no failure."""

    def on_device_lost(self, name: str, lost: "DeviceLost", photos: int) -> None:
        """A device is of no more use; others do so many of its photos."""

    def on_trouble(self, text: str | Message) -> None:
        """The whole run cannot go on as it should."""

    def on_end(self, summary: Summary) -> None:
        """The run is over."""


class WatchReporter(Reporter, Protocol):
    """Callbacks of a watch: those of all its runs, but for where each begins and ends."""

    def on_detail(self, text: str | Message) -> None:
        """Something that only who follows each step wants to know."""


class DeviceLost(Protocol):
    """Why a device is of no more use."""

    @property
    def reason(self) -> str:
        """In a line."""

    @property
    def trace(self) -> str:
        """The traceback, or nothing."""


class NullReporter:
    """Reports nothing: for programs that look at the summary alone."""

    shows_progress = False

    def on_products_skipped(self, count: int) -> None:
        """Do nothing."""

    def on_outcome(self, outcome: Outcome) -> None:
        """Do nothing."""

    def on_planned(self, outcome: Outcome) -> None:
        """Do nothing."""

    def on_start(self, pace: Pace) -> None:
        """Do nothing."""

    def on_running(self, bottleneck: Bottleneck) -> None:
        """Do nothing."""

    def on_state(self, text: str) -> None:
        """Do nothing."""

    def on_notice(self, message: str | Message) -> None:
        """Do nothing."""

    def on_device_lost(self, name: str, lost: DeviceLost, photos: int) -> None:
        """Do nothing."""

    def on_trouble(self, text: str | Message) -> None:
        """Do nothing."""

    def on_end(self, summary: Summary) -> None:
        """Do nothing."""
