"""What a watch costs while nothing happens: ``python tests/benchmarks/idle_watch.py [PHOTOS]``.

It watches a folder of that many small files (10,000), all of which count as done, and says what
share of a core the process takes over a minute: with file events, and without.
"""

import os
import sys
import tempfile
import threading
from pathlib import Path

from birefcli.batch.executor import Executors
from birefcli.batch.outcome import Outcome, Status, Summary
from birefcli.batch.reporter import NullReporter
from birefcli.batch.watch.listener import RunListener
from birefcli.batch.watch.run import WatchTask, watch
from birefcli.errors import Message
from birefcli.options import BatchOptions, BatchTask, ModelOptions, Rendering, Selection
from birefcli.system.clock import Clock

FOLDERS = 20
SECONDS = 60.0


class Quiet(NullReporter):
    """Says nothing."""

    def on_detail(self, text: str | Message) -> None:
        """Do nothing."""


class MeasuredError(Exception):
    """The minute is over."""


class Minute(Clock):
    """Ends a watch a minute after its work is done."""

    begun: tuple[float, float] | None = None

    def wait(self, seconds: float, at_least: float = 0.0) -> None:
        """Wait, and see what it has cost so far."""
        super().wait(seconds, at_least)
        if self.begun is not None and self.now() - self.begun[0] >= SECONDS:
            share = (cpu() - self.begun[1]) / (self.now() - self.begun[0])
            raise MeasuredError(f"{share:.2%} of a core, {threading.active_count()} threads")


def cpu() -> float:
    """Seconds of a processor that this process has taken."""
    times = os.times()
    return times.user + times.system


def main() -> None:
    """Measure twice."""
    photos = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(photos):
            file = folder / "in" / f"{number % FOLDERS}" / f"{number}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"x" * 100)
        for events in (True, False):
            print(f"{photos} photos, events {events}: {measure(folder, events=events)}", flush=True)


def measure(folder: Path, *, events: bool) -> str:
    """Watch for a minute; what it cost, in words."""
    selection = Selection((str(folder / "in"),), str(folder / "out"))
    options = BatchOptions(Rendering(), ModelOptions("mini"), None, 1, 1, 1)
    clock = Minute()

    def done(task: BatchTask, listener: RunListener, executors: Executors) -> Summary:
        for label in task.selection.listed:
            listener.on_outcome(Outcome(label.replace("/./", "/"), Status.CURRENT))
        clock.begun = (clock.now(), cpu())
        return Summary()

    try:
        watch(WatchTask(BatchTask(selection, options), events=events), Quiet(), clock, done)
    except MeasuredError as told:
        return str(told)
    raise AssertionError("it ended by itself")


if __name__ == "__main__":
    main()
