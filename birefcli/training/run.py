"""One training from the plan to the weights: checked data, epochs, validation, checkpoints."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from birefcli.batch.lock import hold_folder
from birefcli.errors import BusyError, Message, Option, OutputError, UsageError
from birefcli.matting.device import Placement
from birefcli.matting.predictor import Predictor
from birefcli.options import Edges, Lock, Precision, Size
from birefcli.system import atomic
from birefcli.system.paths import is_file
from birefcli.system.text import name_list
from birefcli.training import preview, result, setup, validate
from birefcli.training.backgrounds import Backgrounds
from birefcli.training.dataset import Bytes, CachedFiles, Dataset, refuse_faults
from birefcli.training.distributed import ALONE, Rank, process_group
from birefcli.training.log import Log
from birefcli.training.plan import Plan, epoch_ends, hyperparameters
from birefcli.training.same_options import options_of, refuse_others
from birefcli.training.sampler import ViewSampler
from birefcli.training.save_weights import save_weights
from birefcli.training.setup import BEST, CHECKPOINT, HELD_OUT, LAST, LOG, TrainingData
from birefcli.training.trainer import Step, Trainer
from birefcli.training.validate import ValidationScore

ROOM = 4
"""Photos are cached at this many times the input's size: heads are cut out of whole persons."""


class TrainCallbacks:
    """Callbacks of a training, all of them in the thread that runs it; these do nothing."""

    stopping = False
    """Whether training stops after the step it is at."""

    def on_check(self, total: int) -> None:
        """From now on ``total`` photos are read and checked."""

    def on_photo_checked(self) -> None:
        """One of them is."""

    def on_notice(self, text: str) -> None:
        """Something worth knowing that is no failure."""

    def on_start(self, run: "TrainingRun") -> None:
        """Everything is loaded and checked; steps follow."""

    def on_step(self, run: "TrainingRun", step: Step) -> None:
        """One step is done."""

    def on_validation(self, done: int, total: int) -> None:
        """So many of the held-out photos are scored."""

    def on_epoch(
        self, run: "TrainingRun", epoch: int, score: ValidationScore, *, best: bool
    ) -> None:
        """An epoch's score, whether none was better before; ``epoch`` 0 is before training."""


@contextmanager
def prepared(
    plan: Plan, callbacks: TrainCallbacks | None = None, rank: Rank = ALONE
) -> Iterator["TrainingRun"]:
    """A training whose photos are checked, alone in its folder, to be called.

    The folder beside the weights is made, and left only where something is in it. Raises
    UsageError, DeviceError, OutputError, BusyError, DataError, ModelError.
    """
    placement = setup.placement_for(plan, rank)
    setup.set_threads(plan)
    with process_group(rank, placement.device), _folder(plan, rank):
        data = setup.find_data(plan)
        if plan.restart and rank.first:
            setup.clear_folder(plan)
        rank.gathered([])  # no process may find the checkpoint before it is gone
        yield TrainingRun(plan, data, placement, rank, callbacks or TrainCallbacks())


@contextmanager
def _folder(plan: Plan, rank: Rank) -> Iterator[None]:
    """Make and lock the folder beside the weights; the first of several processes does."""
    if not rank.first:
        yield
        return
    setup.prepare_folder(plan)
    with ExitStack() as stack:
        stack.callback(_remove_empty, plan.folder)
        try:
            stack.enter_context(hold_folder(plan.folder, Lock.LEAVE))
        except BusyError:
            raise BusyError(f"{plan.output}: another training is writing it") from None
        yield


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # something is in it
        folder.rmdir()


class TrainingRun:
    """A training that is ready to start, or to be resumed."""

    def __init__(
        self,
        plan: Plan,
        data: TrainingData,
        placement: Placement,
        rank: Rank,
        callbacks: TrainCallbacks,
    ) -> None:
        """Load what training starts from, and read all photos once. Raises BirefcliError."""
        self.plan, self.data, self.rank, self.callbacks = plan, data, rank, callbacks
        network, initialisation = setup.initial_network(plan)
        self.own_size = initialisation.own
        """Input that the weights are for which training starts from; None from scratch."""
        self.hyperparameters = hyperparameters(plan, initialisation, len(data.training))
        setup.check_batches(self.hyperparameters, rank)
        self.epoch_ends = epoch_ends(self.hyperparameters, len(data.training))
        self.training, self.held_out = self._datasets()
        self.backgrounds = self._backgrounds()
        self.trainer = Trainer(network, self.hyperparameters, placement, rank)
        self.log = Log(plan.folder / LOG)
        self.best: dict[str, float] = {}
        """Log entry of the epoch with the lowest MAD."""
        self.first: dict[str, float] = {}
        """Log entry of the validation before training."""
        self.last: dict[str, float] = {}
        """Log entry of the last validation."""
        self.result: dict[str, float] = {}
        """Log entry of the epoch whose weights are the result, once they are written."""
        self.validated = -1
        """Steps done at the last validation."""
        self.is_written = False
        """Whether all is done already, and the weights are written."""
        if setup.has_checkpoint(plan):
            self._resume()
        self._check_photos()

    @property
    def checkpoint(self) -> Path:
        """What a killed training is resumed from."""
        return self.plan.folder / CHECKPOINT

    @property
    def epoch(self) -> int:
        """The epoch that the next step is in, from 1; after the last step the last one."""
        done = sum(end <= self.trainer.step for end in self.epoch_ends)
        return min(1 + done, len(self.epoch_ends))

    def __call__(self) -> bool:
        """Train to the end and write the best epoch's weights; False when it was stopped before.

        Without held-out photos nobody knows which epoch is the best: the last one's are written.
        Raises BirefcliError.
        """
        if self.rank.first:
            self.log.drop_after(self.trainer.step, self.validated)
            self._write(HELD_OUT, name_list(str(pair.image) for pair in self.data.held_out))
        self.callbacks.on_start(self)
        if not (self._validate() and self._steps()):
            return False
        if self.rank.first:
            self._write_result()
        return True

    def _write_result(self) -> None:
        """Write the result, unless it is written, and know which epoch it is of."""
        network, plan = self.trainer.averaged, self.plan
        is_last = self.best.get("step", self.trainer.step) == self.trainer.step
        if self.is_written:
            is_last = is_last or not is_file(plan.folder / LAST)
        elif not is_last and not result.write_best(network, plan, self.size):
            instead = "the last epoch's weights are written instead"
            self.callbacks.on_notice(f"{plan.folder / BEST} is not there: {instead}")
            is_last = True
        if is_last and not self.is_written:
            result.write_last(network, plan, self.size)
        self.result = self.last if is_last else self.best

    def _steps(self) -> bool:
        """All steps that are left; False when they were stopped."""
        saved = time.monotonic()
        views = ViewSampler(
            self.training,
            self.hyperparameters,
            self.rank.rank,
            self.rank.world,
            backgrounds=self.backgrounds,
            parts=self.data.parts,
        )
        threads = setup.worker_count(self.plan)
        with closing(views.from_step(self.trainer.step, threads)) as batches:
            for batch in batches:
                self._report(self.trainer.advance(batch))
                ended = self.trainer.step in self.epoch_ends
                if ended or self.callbacks.stopping or time.monotonic() - saved > self.plan.every:
                    self._save()
                    saved = time.monotonic()
                if self.callbacks.stopping or (ended and not self._validate()):
                    return False
        return True

    def _report(self, step: Step) -> None:
        if self.rank.first:
            self.log.write(
                step=self.trainer.step,
                loss=step.loss,
                matte=step.matte,
                gradient_norm=step.norm,
                lr=step.lr,
            )
        self.callbacks.on_step(self, step)

    def _save(self) -> None:
        if self.rank.first:
            self.trainer.save(
                self.checkpoint,
                {
                    "data": self.data.digest,
                    "recipe": self._options(),
                    "validated": self.validated,
                    "best": self.best,
                    "first": self.first,
                    "last": self.last,
                },
            )

    def _resume(self) -> None:
        saved = self.trainer.resume(self.checkpoint, self._refuse_others)
        self.best, self.first = saved.get("best", {}), saved.get("first", {})
        if self.best.get("epoch") == 0:  # of an earlier version: no epoch was better than the start
            self.best = {}
        self.last, done = saved.get("last", {}), self.trainer.step
        self.validated = int(saved.get("validated", done))
        if not self.last and self.validated == done:  # of an earlier version: scored once more
            self.validated = max((end for end in (0, *self.epoch_ends) if end < done), default=-1)
        self.is_written = self._is_over() and setup.is_result_newest(self.plan)

    def _refuse_others(self, step: int, saved: Mapping[str, Any]) -> None:
        """See that a checkpoint is of this training. Raises UsageError."""
        if saved.get("data", self.data.digest) != self.data.digest:
            raise UsageError(
                f"{self.checkpoint}: its run had other photos or backgrounds, or held out others",
                hint=Message(
                    *("give the same data, ", Option("backgrounds"), " and ", Option("hold_out")),
                    *(", or ", Option("restart")),
                ),
            )
        refuse_others(self.checkpoint, saved.get("recipe", {}), self._options())
        if step > self.hyperparameters.steps:
            wanted = f"these options ask for {self.hyperparameters.steps}"
            hint = Message("use more ", Option("epochs"), ", or ", Option("restart"))
            raise UsageError(f"{self.checkpoint}: has done {step} steps, and {wanted}", hint=hint)

    def _options(self) -> dict[str, str]:
        return options_of(self.plan, self.hyperparameters, len(self.epoch_ends))

    def _is_over(self) -> bool:
        """Whether the last step is done, and scored where anything is."""
        done = self.trainer.step
        scored = self.validated == done or not self.held_out
        return scored and done == self.hyperparameters.steps

    # Validation

    def _validate(self) -> bool:
        """Score the averaged weights, where an epoch ended; False when it was stopped."""
        step = self.trainer.step
        due = step == 0 or step in self.epoch_ends
        if not (self.rank.first and due and self.validated != step and self.held_out):
            return True
        measured = self._measure()
        if measured is None:
            return False
        score, rows = measured
        epoch = sum(end <= step for end in self.epoch_ends)
        values = {"IoU": score.iou, "MAD": score.mad, "MSE": score.mse, "SAD": score.sad}
        before = [entry["MAD"] for entry in (self.first, self.best) if entry]
        self._record(epoch, values, preview.png(rows))
        self.callbacks.on_epoch(self, epoch, score, best=score.mad < min(before, default=math.inf))
        return True

    def _record(self, epoch: int, values: dict[str, float], sheet: bytes) -> None:
        """Write an epoch's score, its picture, the best weights and a checkpoint."""
        entry = self.last = {"epoch": epoch, "step": self.trainer.step, **values}
        self._write(f"epoch-{epoch:04}.png", sheet)
        if epoch == 0:
            self.first = entry
        elif not self.best or entry["MAD"] < self.best["MAD"]:
            self.best = entry
            save_weights(self.trainer.averaged, self.plan.folder / BEST, self.size)
        self.validated = self.trainer.step
        self.log.write(**entry)
        self._save()

    def _measure(self) -> tuple[ValidationScore, list[Bytes]] | None:
        placement = Placement(self.trainer.placement.device, Precision.FP32)
        predictor = Predictor(self.trainer.averaged, self.size, placement, edges=Edges.AUTO)
        pictured = preview.chosen(len(self.held_out))
        rows, measured = [], []
        for i, (example, alpha) in enumerate(validate.mattes(predictor, self.held_out)):
            measured.append(validate.measure(alpha, example.alpha))
            if i in pictured:
                rows.append(preview.row(example, alpha))
            self.callbacks.on_validation(i + 1, len(self.held_out))
            if self.callbacks.stopping:
                return None
        return validate.mean(measured), rows

    # What it is made of

    @property
    def size(self) -> Size:
        """Input that the weights are for, and of every score: the plan's, or the last stage's."""
        side = self.plan.size or self.hyperparameters.stages[-1].size
        return Size(side, side)

    def _datasets(self) -> tuple[Dataset, Dataset]:
        # What is scored is read once an epoch: it has the smaller share of the cache.
        budget = self.plan.cache // max(1, self.rank.world)
        training = Dataset(
            self.data.training,
            longest=ROOM * self.hyperparameters.largest,
            soften=self.plan.soften,
            budget=budget * (5 if self.data.backgrounds else 6) // 8,
            foreground=True,
        )
        return training, Dataset(self.data.held_out, longest=None, soften=False, budget=budget // 4)

    def _backgrounds(self) -> Backgrounds:
        return Backgrounds(
            self.data.backgrounds,
            longest=2 * self.hyperparameters.largest,
            budget=self.plan.cache // max(1, self.rank.world) // 8,
        )

    def _check_photos(self) -> None:
        """Read every photo, mask and background once, a share in each process. Raises DataError."""
        files: tuple[CachedFiles[Any], ...] = (self.training, self.held_out, self.backgrounds)
        self.callbacks.on_check(sum(len(each) for each in files))
        threads = setup.worker_count(self.plan)
        faults: list[Message] = []
        for each in files:
            share = range(self.rank.rank, len(each), self.rank.world)
            faults += each.faults(share, threads, self.callbacks.on_photo_checked)
        everywhere: list[Message] = self.rank.gathered(faults)
        refuse_faults(everywhere)
        resized: list[Path] = self.rank.gathered([*self.training.resized, *self.held_out.resized])
        if resized:
            what = f"{len(resized)} masks have another size than their photos, like {min(resized)}"
            self.callbacks.on_notice(f"{what}: each pair is taken at the smaller size")

    def _write(self, name: str, content: bytes) -> None:
        path = self.plan.folder / name
        try:
            atomic.replace_file(path, content)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
