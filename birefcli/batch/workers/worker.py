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

from birefcli.batch.freshness import Decision
from birefcli.batch.interrupts import CODES, GRACE, InterruptHandler, StoppedError
from birefcli.batch.memory import MemoryBudget
from birefcli.batch.outcome import Outcome
from birefcli.batch.pipeline import Pipeline
from birefcli.batch.targets import Job
from birefcli.batch.workers.channel import STOPPING, WorkerChannel
from birefcli.batch.workers.protocol import (
    FromWorker,
    Notice,
    Refused,
    Request,
    Result,
    State,
    WorkerConfig,
    WorkerLost,
)
from birefcli.birefnet import kernels
from birefcli.errors import BirefcliError, ExitCode
from birefcli.matting.batch_size import choose_batch_size
from birefcli.matting.device import device_answers
from birefcli.models.load import load_predictor
from birefcli.options import Product
from birefcli.products.background import Background
from birefcli.system import allocator, cpu

HEAD_START = 2.0  # seconds before the run gives up, in which it hears of what was written till then


class WorkerBugError(Exception):
    """What failed in a worker where nothing should; its text is the traceback."""


class DeviceLostError(Exception):
    """The device does not answer any more."""


def work(connection: Connection, config: WorkerConfig) -> None:
    """Work until the run says that it is over, or is gone."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    allocator.keep_freed_memory()
    for number in CODES:  # Ctrl-C reaches every process; what is to become of it the run decides
        signal.signal(number, signal.SIG_IGN)
    with InterruptHandler(STOPPING, GRACE - HEAD_START) as signals:
        # The run's word comes once, maybe only between the last line of _serve and the exit, which
        # is made at once: there is nothing left to do, and torch takes its time to leave.
        try:
            with suppress(StoppedError):
                _serve(connection, config, signals)
            os._exit(ExitCode.OK)
        except StoppedError:
            os._exit(ExitCode.OK)


def _serve(connection: Connection, config: WorkerConfig, signals: InterruptHandler) -> None:
    channel = WorkerChannel(connection)
    try:
        _Worker(channel, config, signals).work()
    except BirefcliError as error:
        channel.tell(Refused(error))
    except Exception as error:
        channel.tell(WorkerLost(_reason(error), traceback.format_exc()))


def _reason(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    return text if isinstance(error, DeviceLostError) else f"{type(error).__name__}: {text}"


class _Worker:
    """Runs the pipeline in rounds: each ends when there is no photo for it at the moment."""

    def __init__(
        self, channel: WorkerChannel, config: WorkerConfig, signals: InterruptHandler
    ) -> None:
        self.channel, self.config, self.signals = channel, config, signals
        self.fingerprints: dict[str, Mapping[Product, str]] = {}
        self.noticed = 0

    def work(self) -> None:
        """Open the device, and do rounds until the run is over."""
        options, sharers = self.config.options, self.config.sharers
        cpu.set_sharers(sharers)
        torch.set_num_threads(max(1, torch.get_num_threads() // sharers))
        predictor = load_predictor(options, self.config.checkpoint, lambda t: self._tell(State(t)))
        batch = options.batch or choose_batch_size(predictor, self.config.photos)
        background = Background(options.rendering.background, options.max_pixels)
        while (first := self._ask(patient=True)) is not None:
            budget = MemoryBudget(options.max_memory)
            self._round(
                Pipeline(options, predictor, batch, background, self._fingerprints, budget),
                self._photos(first),
            )

    def _round(self, run: Pipeline, photos: Iterator[Decision]) -> None:
        outcomes = run(photos)
        self.signals.last_words = lambda: self._late(run)
        try:
            for outcome in outcomes:
                if not self._trusted(outcome, run):
                    assert outcome.bug is not None
                    raise DeviceLostError(f"fails at everything since {_reason(outcome.bug)}")
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
        self._tell(Request(patient))
        taken = self.channel.answer()
        if taken is None:
            return None
        self.fingerprints[taken.decision.job.label] = taken.fingerprints
        return taken.decision

    def _fingerprints(self, job: Job) -> Mapping[Product, str]:
        return self.fingerprints[job.label]

    def _trusted(self, outcome: Outcome, run: Pipeline) -> bool:
        """Whether it says something of the photo: with a device that has gone, any would fail."""
        return outcome.bug is None or device_answers(run.predictor.placement.device)

    def _late(self, run: Pipeline) -> None:
        for outcome in run.finished_unreported:
            if self._trusted(outcome, run):
                self._done(outcome, run)

    def _done(self, outcome: Outcome, run: Pipeline) -> None:
        if outcome.bug is not None:  # it may be anything, and need not survive the journey
            text = "".join(traceback.format_exception(outcome.bug))
            outcome = replace(outcome, bug=WorkerBugError(text))
        for text in kernels.notices[self.noticed :]:
            self.noticed += 1
            self._tell(Notice(text))
        self._tell(Result(outcome, run.waits.shares()))

    def _tell(self, message: FromWorker) -> None:
        with self.signals.held():  # half a message would be the end of the line
            self.channel.tell(message)
