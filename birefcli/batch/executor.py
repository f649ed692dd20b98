"""What does the photos of a batch: this process, a worker for each device, or a cluster."""

import gc
from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NoReturn, Protocol

from birefcli.batch.freshness import Decision
from birefcli.batch.outcome import Outcome, Summary
from birefcli.batch.patience import LOADING
from birefcli.batch.places import Stdin, Stdout
from birefcli.batch.shared_files import SharedFiles
from birefcli.batch.slow_cpu import SlowCpuNotice
from birefcli.errors import Message, Option, UsageError
from birefcli.options import BatchOptions, Precision, Size
from birefcli.system import allocator
from birefcli.system.watchdog import Activity

if TYPE_CHECKING:
    from birefcli.batch.reporter import Reporter
    from birefcli.batch.workers.pool import WorkerPool
    from birefcli.batch.workers.source import WorkerSource
    from birefcli.matting.device import Placement
    from birefcli.matting.predictor import Predictor
    from birefcli.models.weights import Checkpoint
    from birefcli.products.background import Background


class Executor(Protocol):
    """Does photos, with the promises of a batch: the pipeline, or a pool of workers."""

    def __call__(
        self, todo: Sequence[Decision], on_ready: Callable[[], object]
    ) -> Generator[Outcome, None, None]:
        """Do every job; outcomes come as they end.

        ``on_ready`` is called once, where a model is loaded and the first photo can be done.
        Closing the iterator drops what has not started and waits for what has.
        """

    @property
    def finished_unreported(self) -> list[Outcome]:
        """What has ended since the last outcome that was given, and that one, of a closed run."""

    @property
    def no_device_left(self) -> bool:
        """Whether photos were left for lack of a device."""

    def give_up(self) -> None:
        """Hold nothing outside this process, which is about to end without waiting."""

    def bottleneck(self) -> tuple[str, float] | None:
        """The stage that took most of the time, and its share of it, 0..1."""


class Executors:
    """Makes the executor of each run; in this process the model stays loaded between them.

    The text of a device becomes a placement here, and travels as that.
    """

    def __init__(self, options: BatchOptions) -> None:
        self.options = options
        self.files = SharedFiles(options)
        """What all photos need beside the model."""
        self.slow_cpu = SlowCpuNotice(options.model)
        self._predictor: Predictor | None = None
        self._checkpoint: Checkpoint | None = None
        self._reporter: Reporter | None = None

    def for_run(
        self,
        todo: Sequence[Decision],
        background: "Background | None",
        reporter: "Reporter",
        summary: Summary,
        activity: Activity | None = None,
    ) -> Executor:
        """What is to do these photos; ``summary`` learns what they run on.

        ``activity`` hears what is at work in this process.

        Raises DeviceError, ModelError, UsageError.
        """
        self._reporter = reporter
        if self.options.cluster is not None:
            return self._on_cluster(todo, reporter, summary)
        from birefcli.matting.device import parse_devices

        devices = parse_devices(self.options.device_names, self.options.model.precision)
        if min(len(devices), len(todo)) == 1:
            placement = next(iter(devices.values()))
            checkpoint = self._resolved([placement], reporter, summary)
            activity = activity or Activity()
            with activity.on([LOADING]):
                return self._in_process(checkpoint, placement, len(todo), background, activity)
        used = dict(islice(devices.items(), len(todo)))
        return self._workers(used, todo, reporter, summary)

    @property
    def is_loaded(self) -> bool:
        """Whether a model is kept in this process."""
        return self._predictor is not None

    def release(self) -> None:
        """Let go of the model and its device's memory; the next run loads it again."""
        if self._predictor is None:
            return
        device = self._predictor.placement.device
        self._predictor = None
        gc.collect()  # graphs and hooks refer to each other
        if device.type == "cuda":
            import torch

            torch.cuda.empty_cache()
        allocator.give_back()

    def _in_process(
        self,
        checkpoint: "Checkpoint",
        placement: "Placement",
        photos: int,
        background: "Background | None",
        activity: Activity,
    ) -> Executor:
        from birefcli.batch.pipeline import Pipeline
        from birefcli.batch.stages import StageContext
        from birefcli.matting.batch_size import choose_batch_size
        from birefcli.models.load import load_predictor

        if self._predictor is None:
            model = self.options.model
            self._predictor = load_predictor(model, checkpoint, placement, self._on_state)
        batch = self.options.batch or choose_batch_size(self._predictor, photos)
        return Pipeline(StageContext(self.options, self._predictor, background), batch, activity)

    def _workers(
        self,
        devices: "Mapping[str, Placement]",
        todo: Sequence[Decision],
        reporter: "Reporter",
        summary: Summary,
    ) -> "WorkerPool":
        from birefcli.batch.workers.process import LocalWorkers

        _refuse_pipes(todo, Option("device", ",".join(self.options.device_names)))
        self._predictor = None  # the devices are the workers' now
        checkpoint = self._resolved(list(devices.values()), reporter, summary)
        return self._pool(LocalWorkers(self.options, checkpoint, devices), reporter, summary)

    def _on_cluster(
        self, todo: Sequence[Decision], reporter: "Reporter", summary: Summary
    ) -> "WorkerPool":
        from birefcli.batch.workers.ray.run import ray_workers

        _refuse_pipes(todo, Option("on", "ray"))
        return self._pool(ray_workers(self.options, todo, reporter, summary), reporter, summary)

    def _pool(self, source: "WorkerSource", reporter: "Reporter", summary: Summary) -> "WorkerPool":
        from birefcli.batch.workers.pool import PoolListener, WorkerPool
        from birefcli.batch.workers.protocol import WorkerLost

        def on_lost(name: str, lost: WorkerLost, photos: int) -> None:
            summary.lost.append(f"{name}: {lost.reason}")
            reporter.on_device_lost(name, lost, photos)

        listener = PoolListener(reporter.on_state, reporter.on_notice, on_lost)
        return WorkerPool(source, listener, self.options.photo_timeout)

    def _on_state(self, text: str) -> None:
        """The kept network's state, for whoever reports the run of the moment."""
        if self._reporter is not None:
            self._reporter.on_state(text)

    def _resolved(
        self, placements: "Sequence[Placement]", reporter: "Reporter", summary: Summary
    ) -> "Checkpoint":
        """The weights, on this machine."""
        from birefcli.models import weights

        for slow in {p.precision.value for p in placements if _is_slow(p)}:
            hint = Message(f"{slow} is slower than fp32 on most CPUs; leave out ", _PRECISION)
            reporter.on_notice(Message(hint, " for fp32"))
        if self._checkpoint is None:
            model, shown = self.options.model, reporter.shows_progress
            self._checkpoint = weights.resolve(model.name, offline=model.offline, progress=shown)
            if (note := _far_from(model.size, self._checkpoint)) is not None:
                reporter.on_notice(note)
        summary.device = ",".join(str(placement.device) for placement in placements)
        summary.precision = ",".join(dict.fromkeys(p.precision.value for p in placements))
        summary.model = self._checkpoint.name
        return self._checkpoint


_PRECISION = Option("precision")
FAR = 4
"""Times a network's own side from which on what it sees is unlike what it has learned from."""


def _far_from(size: Size | None, checkpoint: "Checkpoint") -> Message | None:
    """A note where a network is to see far larger pictures than it has learned from."""
    own = checkpoint.size
    if size is None or max(size) <= FAR * max(own):
        return None
    made, given = f"{checkpoint.name} is made for {own}; ", Option("size", str(size))
    return Message(made, given, " takes far longer, and it may find nothing")


def _is_slow(placement: "Placement") -> bool:
    return placement.device.type == "cpu" and placement.precision is not Precision.FP32


def _refuse_pipes(todo: Sequence[Decision], several: Option) -> None:
    """A pipe can be read once, and by this process; a worker would find nothing in it.

    ``several``: the option that asks for several workers. Raises UsageError.
    """
    for decision in todo:
        source, targets = decision.job.source, decision.job.targets.values()
        if any(isinstance(target, Stdout) for target in targets):
            _refuse("the product on stdout (-)", several)
        if source.comes_by_pipe:
            stdin = isinstance(source, Stdin)
            _refuse("stdin (-)" if stdin else decision.job.label, several)


def _refuse(what: str, several: Option) -> NoReturn:
    wrong = f"{what} is no file; do it alone, on one device"
    raise UsageError(wrong, option=several.name, value=several.value)
