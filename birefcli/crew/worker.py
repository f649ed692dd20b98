"""One process of a run on several devices: it opens its device, asks for photos, and does them."""

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection

import torch

from birefcli import cores, devices, heap, opening
from birefcli.birefnet import kernels
from birefcli.budget import Budget
from birefcli.compose import Background
from birefcli.crew.link import STOPPING, Link
from birefcli.crew.messages import Done, FromWorker, Lost, Notice, Refused, Setup, State, Want
from birefcli.current import Decision
from birefcli.errors import BirefcliError, ExitCode
from birefcli.files import Job
from birefcli.options import Product
from birefcli.pipeline import Run
from birefcli.report import Outcome
from birefcli.signals import CODES, GRACE, Signals, StoppedError
from birefcli.tuning import batch_for

HEAD_START = 2.0  # seconds before the run gives up, in which it hears of what was written till then


class WorkerBugError(Exception):
    """What failed in a worker where nothing should; its text is the traceback."""


class LostError(Exception):
    """The device does not answer any more."""


def work(connection: Connection, setup: Setup) -> None:
    """Work until the run says that it is over, or is gone."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    heap.keep()
    for number in CODES:  # Ctrl-C reaches every process; what is to become of it the run decides
        signal.signal(number, signal.SIG_IGN)
    with Signals(STOPPING, GRACE - HEAD_START) as signals:
        # The run's word comes once, maybe only between the last line of _serve and the exit, which
        # is made at once: there is nothing left to do, and torch takes its time to leave.
        try:
            with suppress(StoppedError):
                _serve(connection, setup, signals)
            os._exit(ExitCode.OK)
        except StoppedError:
            os._exit(ExitCode.OK)


def _serve(connection: Connection, setup: Setup, signals: Signals) -> None:
    link = Link(connection)
    try:
        _Worker(link, setup, signals).work()
    except BirefcliError as error:
        link.tell(Refused(error))
    except Exception as error:
        link.tell(Lost(_reason(error), traceback.format_exc()))


def _reason(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    return text if isinstance(error, LostError) else f"{type(error).__name__}: {text}"


class _Worker:
    """Runs the pipeline in rounds: each ends when there is no photo for it at the moment."""

    def __init__(self, link: Link, setup: Setup, signals: Signals) -> None:
        self.link, self.setup, self.signals = link, setup, signals
        self.recipes: dict[str, Mapping[Product, str]] = {}
        self.noticed = 0

    def work(self) -> None:
        """Open the device, and do rounds until the run is over."""
        options, sharers = self.setup.options, self.setup.sharers
        cores.share(sharers)
        torch.set_num_threads(max(1, torch.get_num_threads() // sharers))
        matter = opening.matter(options, self.setup.checkpoint, lambda t: self._tell(State(t)))
        batch = options.batch or batch_for(matter, self.setup.photos)
        background = Background(options.rendering.background, options.max_pixels)
        while (first := self._ask(patient=True)) is not None:
            budget = Budget(options.max_memory)
            self._round(
                Run(options, matter, batch, background, self._recipes, budget), self._photos(first)
            )

    def _round(self, run: Run, photos: Iterator[Decision]) -> None:
        outcomes = run(photos)
        self.signals.last_words = lambda: self._late(run)
        try:
            for outcome in outcomes:
                if not self._trusted(outcome, run):
                    assert outcome.bug is not None
                    raise LostError(f"fails at everything since {_reason(outcome.bug)}")
                self._done(outcome, run)
        finally:
            outcomes.close()
            self._late(run)

    def _photos(self, first: Decision) -> Iterator[Decision]:
        photo: Decision | None = first
        while photo is not None:
            yield photo
            photo = self._ask(patient=False)

    def _ask(self, *, patient: bool) -> Decision | None:
        self._tell(Want(patient))
        taken = self.link.answer()
        if taken is None:
            return None
        self.recipes[taken.decision.job.label] = taken.recipes
        return taken.decision

    def _recipes(self, job: Job) -> Mapping[Product, str]:
        return self.recipes[job.label]

    def _trusted(self, outcome: Outcome, run: Run) -> bool:
        """Whether it says something of the photo: with a device that has gone, any would fail."""
        return outcome.bug is None or devices.answers(run.matter.compute.device)

    def _late(self, run: Run) -> None:
        for outcome in run.late:
            if self._trusted(outcome, run):
                self._done(outcome, run)

    def _done(self, outcome: Outcome, run: Run) -> None:
        if outcome.bug is not None:  # it may be anything, and need not survive the journey
            text = "".join(traceback.format_exception(outcome.bug))
            outcome = replace(outcome, bug=WorkerBugError(text))
        for text in kernels.notices[self.noticed :]:
            self.noticed += 1
            self._tell(Notice(text))
        self._tell(Done(outcome, run.waits.shares()))

    def _tell(self, message: FromWorker) -> None:
        with self.signals.held():  # half a message would be the end of the line
            self.link.tell(message)
