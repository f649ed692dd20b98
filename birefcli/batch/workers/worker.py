"""One process of a batch on several devices: it loads the network, requests photos, does them."""

import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection

import torch

from birefcli.batch.freshness import Decision
from birefcli.batch.interrupts import CODES, GRACE, InterruptHandler, StoppedError
from birefcli.batch.notices import notices_to
from birefcli.batch.outcome import Outcome
from birefcli.batch.patience import step
from birefcli.batch.pipeline import Pipeline
from birefcli.batch.stages import StageContext
from birefcli.batch.workers.channel import STOPPING, WorkerChannel
from birefcli.batch.workers.protocol import (
    Beat,
    FromWorker,
    Notice,
    Refused,
    Request,
    Result,
    State,
    WorkerConfig,
    WorkerLost,
)
from birefcli.errors import BirefcliError, ExitCode
from birefcli.matting.batch_size import choose_batch_size
from birefcli.matting.device import device_answers
from birefcli.models.load import load_predictor
from birefcli.options import BatchOptions
from birefcli.products.background import background_of
from birefcli.system import allocator, cpu, process_settings
from birefcli.system.watchdog import Activity

HEAD_START = 2.0  # seconds before the run gives up, in which it gets what was written till then
AHEAD = 2  # photos of a store that a worker has requested, for each that it is at work on


class WorkerBugError(Exception):
    """What failed in a worker where nothing should; its text is the traceback."""


class DeviceLostError(Exception):
    """The device does not answer any more."""


def work(connection: Connection, config: WorkerConfig) -> None:
    """Work until the run says that it is over, or is gone."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    allocator.keep_freed_memory()
    if config.folder is not None:
        os.chdir(config.folder)
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
        channel.send(Refused(error))
    except Exception as error:
        channel.send(WorkerLost(_reason(error), traceback.format_exc()))


def _reason(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    return text if isinstance(error, DeviceLostError) else f"{type(error).__name__}: {text}"


def _send_beats(channel: WorkerChannel, activity: Activity, step: float) -> None:
    """Let the run know, in a thread of its own, that something has moved since it last heard so."""
    moves = activity.moves
    while True:
        time.sleep(step)
        if activity.moves != moves:
            moves = activity.moves
            channel.send(Beat())


def with_few_ahead(options: BatchOptions, batch: int) -> BatchOptions:
    """A worker's options, by which it requests few photos of a store ahead of their turn.

    What it fetches is dealt out: with as many as one process fetches, the workers that come first
    have all photos of a small run, and a slow one ends long after the others.
    """
    busy = options.threads + batch  # decoded, and before the network
    return replace(options, connections=min(options.connections, AHEAD * busy))


def _share_cores(config: WorkerConfig) -> None:
    cpu.set_sharers(config.sharers, config.cores)
    # Of a machine of a cluster, torch's own count is that of whoever has started this process.
    threads = torch.get_num_threads() if config.cores is None else config.cores
    process_settings.set_torch_threads(threads // config.sharers)


class _Worker:
    """Runs the pipeline in rounds: each ends when there is no photo for it at the moment."""

    def __init__(
        self, channel: WorkerChannel, config: WorkerConfig, signals: InterruptHandler
    ) -> None:
        self.channel, self.config, self.signals = channel, config, signals

    def work(self) -> None:
        """Load the network onto the device, and do rounds until the run is over."""
        config = self.config
        options = config.options
        _share_cores(config)
        # Each worker reads the background itself: a picture does not fit the pipe through which a
        # process is started, and its start would wait for that.
        background = background_of(options.rendering, options.max_pixels)
        with notices_to(lambda text: self._send(Notice(text))):
            predictor = load_predictor(
                options.model, config.checkpoint, config.placement, self._send_state
            )
            batch = options.batch or choose_batch_size(predictor, config.photos)
            options = with_few_ahead(options, batch)
            activity = Activity()
            pipeline = Pipeline(StageContext(options, predictor, background), batch, activity)
            if options.photo_timeout is not None:
                beats = (self.channel, activity, step(options.photo_timeout))
                threading.Thread(target=_send_beats, args=beats, daemon=True).start()
            while (first := self._request(patient=True)) is not None:
                self._round(pipeline, self._photos(first))

    def _send_state(self, text: str) -> None:
        self._send(State(text))

    def _round(self, pipeline: Pipeline, photos: Iterator[Decision]) -> None:
        outcomes = pipeline(photos)
        self.signals.before_exit = lambda: self._send_finished(pipeline)
        try:
            for outcome in outcomes:
                if not self._trusted(outcome):
                    assert outcome.bug is not None
                    raise DeviceLostError(f"fails at everything since {_reason(outcome.bug)}")
                self._send_result(outcome, pipeline)
        finally:
            try:
                outcomes.close()
            finally:
                self._send_finished(pipeline)

    def _photos(self, first: Decision) -> Iterator[Decision]:
        photo: Decision | None = first
        while photo is not None:
            yield photo
            photo = self._request(patient=False)

    def _request(self, *, patient: bool) -> Decision | None:
        self._send(Request(patient))
        assigned = self.channel.receive()
        return None if assigned is None else assigned.decision

    def _trusted(self, outcome: Outcome) -> bool:
        """Whether it says something of the photo: with a device that has gone, any would fail."""
        return outcome.bug is None or device_answers(self.config.placement.device)

    def _send_finished(self, pipeline: Pipeline) -> None:
        for outcome in pipeline.finished_unreported:
            if self._trusted(outcome):
                self._send_result(outcome, pipeline)

    def _send_result(self, outcome: Outcome, pipeline: Pipeline) -> None:
        if outcome.bug is not None:  # it may be anything, and need not survive the journey
            text = "".join(traceback.format_exception(outcome.bug))
            outcome = replace(outcome, bug=WorkerBugError(text))
        self._send(Result(outcome, pipeline.timer.shares()))

    def _send(self, message: FromWorker) -> None:
        with self.signals.held():  # half a message would be the end of the line
            self.channel.send(message)
