"""One training from the plan to the weights: checked data, epochs, validation, checkpoints."""

import copy
import dataclasses
import hashlib
import time
from contextlib import closing
from pathlib import Path

import cv2
import torch

from birefcli.birefnet import MINI, BiRefNet
from birefcli.errors import OutputError, UsageError
from birefcli.matting.device import Placement, parse_device
from birefcli.matting.predictor import Predictor
from birefcli.models import weights
from birefcli.options import Precision
from birefcli.system import atomic
from birefcli.training import export, pretrained, preview, validate
from birefcli.training.dataset import (
    Bytes,
    DataError,
    Dataset,
    Pair,
    find_pairs,
    refuse_faults,
    split_held_out,
)
from birefcli.training.distributed import Rank
from birefcli.training.log import Log
from birefcli.training.plan import Initialisation, Plan, epoch_ends, hyperparameters
from birefcli.training.sampler import ViewSampler
from birefcli.training.schedule import Hyperparameters
from birefcli.training.trainer import Step, Trainer
from birefcli.training.validate import Score

SCRATCH_SIZE = 384
"""Input of a network trained from scratch, in pixels: that of mini."""
ROOM = 4
"""Photos are kept at this many times the input's size: heads are cut out of whole persons."""

CHECKPOINT, LOG, HELD_OUT, BEST = "checkpoint.pt", "log.jsonl", "held_out.txt", "best.safetensors"
"""Files in the folder beside the weights."""


class TrainCallbacks:
    """Who is told how a training goes; this one does not care."""

    stopping = False
    """Whether training is to stop after the step it is at."""

    def checking(self, total: int) -> None:
        """So many photos are about to be read and checked."""

    def checked(self) -> None:
        """One of them was."""

    def say(self, text: str) -> None:
        """Something worth a line."""

    def begins(self, run: "TrainingRun") -> None:
        """Everything is in place."""

    def stepped(self, run: "TrainingRun", step: Step) -> None:
        """One step is done."""

    def validating(self, done: int, total: int) -> None:
        """So many of the held-out photos are scored."""

    def validated(self, run: "TrainingRun", epoch: int, score: Score, *, best: bool) -> None:
        """An epoch's score; ``epoch`` 0 is before training."""


@dataclasses.dataclass(frozen=True)
class Data:
    """What is trained on and what is scored, found and not yet read."""

    training: list[Pair]
    held_out: list[Pair]

    @property
    def digest(self) -> str:
        """Tells these photos, so divided, from others."""
        listed = [
            [f"{p.image.name} {p.image.stat().st_size}" for p in part] for part in self._parts
        ]
        return hashlib.sha256(repr(listed).encode()).hexdigest()

    @property
    def _parts(self) -> tuple[list[Pair], list[Pair]]:
        return self.training, self.held_out


def divide(plan: Plan) -> Data:
    """Find the photos of a plan. Raises DataError."""
    found = find_pairs(plan.data)
    if plan.validation:
        held_out = find_pairs(plan.validation)
        scored = {pair.image.resolve() for pair in held_out}
        both = [str(pair.image) for pair in found if pair.image.resolve() in scored]
        if both:
            raise DataError(f"{both[0]}: is in the data and in --validate; name other folders")
        return Data(found, held_out)
    training, held_out = split_held_out(found, plan.hold_out)
    if not training:
        raise DataError(
            f"{plan.data[0]}: all its photos would be held out ({len(found)}); add photos, or use"
            " another --hold-out"
        )
    return Data(training, held_out)


class TrainingRun:
    """A training that is ready to begin, or to go on."""

    def __init__(
        self, plan: Plan, found: Data, placement: Placement, rank: Rank, callbacks: TrainCallbacks
    ) -> None:
        """Load what training starts from, and read all photos once. Raises BirefcliError."""
        self.plan, self.found, self.rank, self.callbacks = plan, found, rank, callbacks
        network, start = _initial_network(plan)
        self.start = start
        self.hyperparameters = hyperparameters(plan, start, len(found.training))
        _check_batches(self.hyperparameters, rank)
        self.ends = epoch_ends(self.hyperparameters, len(found.training))
        self.training, self.held_out = self._datasets()
        self._check_photos()
        self.trainer = Trainer(network, self.hyperparameters, placement, rank)
        self.log = Log(plan.folder / LOG)
        self.best: dict[str, float] = {}
        self.first: dict[str, float] = {}
        self.validated = -1
        """Steps done at the last validation."""
        if self.checkpoint.is_file():
            self._resume()

    @property
    def checkpoint(self) -> Path:
        """What a killed run goes on from."""
        return self.plan.folder / CHECKPOINT

    @property
    def epoch(self) -> int:
        """The epoch that the next step is in, from 1; after the last step the last one."""
        return min(1 + sum(end <= self.trainer.step for end in self.ends), len(self.ends))

    def __call__(self) -> bool:
        """Train to the end and write the weights; False when it was stopped before.

        Raises BirefcliError.
        """
        if self.rank.first:
            self.log.begin(self.trainer.step, self.validated)
            self._write(HELD_OUT, "".join(f"{p.image}\n" for p in self.found.held_out))
        self.callbacks.begins(self)
        if not (self._validate() and self._steps()):
            return False
        if self.rank.first:
            export.save(self.trainer.averaged, self.plan.output, self._size)
        return True

    def _steps(self) -> bool:
        """All steps that are left; False when they were stopped."""
        saved = time.monotonic()
        views = ViewSampler(self.training, self.hyperparameters, self.rank.rank, self.rank.world)
        with closing(views.from_step(self.trainer.step, _workers(self.plan))) as batches:
            for batch in batches:
                step = self.trainer.advance(batch)
                self._tell(step)
                ended = self.trainer.step in self.ends
                if ended or self.callbacks.stopping or time.monotonic() - saved > self.plan.every:
                    self._save()
                    saved = time.monotonic()
                if self.callbacks.stopping or (ended and not self._validate()):
                    return False
        return True

    def _tell(self, step: Step) -> None:
        if self.rank.first:
            self.log.write(
                step=self.trainer.step,
                loss=step.loss,
                matte=step.matte,
                gradient_norm=step.norm,
                lr=step.lr,
            )
        self.callbacks.stepped(self, step)

    def _save(self) -> None:
        if self.rank.first:
            self.trainer.save(
                self.checkpoint,
                {
                    "data": self.found.digest,
                    "recipe": self.hyperparameters.told(),
                    "validated": self.validated,
                    "best": self.best,
                    "first": self.first,
                },
            )

    def _resume(self) -> None:
        notes = self.trainer.resume(self.checkpoint)
        if notes.get("data", self.found.digest) != self.found.digest:
            raise UsageError(
                f"{self.checkpoint}: its run had other photos, or held out others; give the same"
                " data and --hold-out, or --restart"
            )
        done, wanted = self.trainer.step, self.hyperparameters.steps
        changed = self.hyperparameters.changed_from(notes.get("recipe"))
        if done > wanted:
            raise UsageError(
                f"{self.checkpoint}: has done {done} steps, and these options ask for {wanted}"
                f"{f' ({changed})' if changed else ''}; use more --epochs, or --restart"
            )
        if done == wanted and changed:
            raise UsageError(
                f"{self.checkpoint}: trained to the end with other options ({changed}); use more"
                " --epochs, or --restart"
            )
        if changed:
            self.callbacks.say(f"goes on with other options than it began with: {changed}")
        self.best, self.first = notes.get("best", {}), notes.get("first", {})
        self.validated = int(notes.get("validated", self.trainer.step))

    # Validation

    def _validate(self) -> bool:
        """Score the averaged weights, where an epoch ended; False when it was stopped."""
        step = self.trainer.step
        due = step == 0 or step in self.ends
        if not (self.rank.first and due and self.validated != step and self.held_out):
            return True
        measured = self._measured()
        if measured is None:
            return False
        score, rows = measured
        epoch = sum(end <= step for end in self.ends)
        named = {"IoU": score.iou, "MAD": score.mad, "MSE": score.mse, "SAD": score.sad}
        best = not self.best or score.mad < self.best["MAD"]
        self._keep(epoch, named, best, preview.png(rows))
        self.callbacks.validated(self, epoch, score, best=best)
        return True

    def _keep(self, epoch: int, named: dict[str, float], best: bool, picture: bytes) -> None:
        entry = {"epoch": epoch, "step": self.trainer.step, **named}
        self._write(f"epoch-{epoch:04}.png", picture)
        if best:
            self.best = entry
            if epoch:
                export.save(self.trainer.averaged, self.plan.folder / BEST, self._size)
        if epoch == 0:
            self.first = entry
        self.validated = self.trainer.step
        self.log.write(**entry)
        self._save()

    def _measured(self) -> tuple[Score, list[Bytes]] | None:
        placement = Placement(self.trainer.placement.device, Precision.FP32)
        predictor = Predictor(self.trainer.averaged, self._size, placement)
        pictured = preview.shown(len(self.held_out))
        rows, measured = [], []
        for i, (example, alpha) in enumerate(validate.mattes(predictor, self.held_out)):
            measured.append(validate.measure(alpha, example.alpha))
            if i in pictured:
                rows.append(preview.row(example, alpha))
            self.callbacks.validating(i + 1, len(self.held_out))
            if self.callbacks.stopping:
                return None
        return validate.mean(measured), rows

    # What it is made of

    @property
    def _size(self) -> tuple[int, int]:
        """Input that the weights are for: what was asked for, or the last stage's."""
        side = self.plan.size or self.hyperparameters.stages[-1].size
        return side, side

    def _datasets(self) -> tuple[Dataset, Dataset]:
        # What is scored may have what training leaves: it is read once an epoch.
        budget = self.plan.cache // max(1, self.rank.world)
        training = Dataset(
            self.found.training,
            longest=ROOM * self.hyperparameters.largest,
            soften=self.plan.soften,
            budget=budget * 3 // 4,
        )
        return training, Dataset(
            self.found.held_out, longest=None, soften=False, budget=budget // 4
        )

    def _check_photos(self) -> None:
        """Read every photo and mask once, a share in each process."""
        self.callbacks.checking(len(self.training) + len(self.held_out))
        threads = _workers(self.plan)
        faults: list[str] = []
        for dataset in (self.training, self.held_out):
            share = range(self.rank.rank, len(dataset), self.rank.world)
            faults += dataset.faults(share, threads, self.callbacks.checked)
        refuse_faults(self.rank.gathered(faults))

    def _write(self, name: str, content: str | bytes) -> None:
        path = self.plan.folder / name
        try:
            atomic.write_file(path, content.encode() if isinstance(content, str) else content)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror})") from error


def prepare(plan: Plan) -> None:
    """Make the folder beside the output, and see that both can be written.

    Raises UsageError, OutputError.
    """
    output = plan.output
    if output.suffix != ".safetensors" or output.is_dir():
        raise UsageError(f"--output {output}: name a file that ends in .safetensors")
    begun = (plan.folder / CHECKPOINT).is_file()
    if output.exists() and not begun and not plan.restart:
        raise OutputError(f"{output}: is there already; name another file, or --restart")
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
        atomic.check_writable(plan.folder)
        atomic.check_writable(output.parent)
    except OSError as error:
        raise OutputError(f"{plan.folder}: cannot be written ({error.strerror})") from error


def forget(plan: Plan) -> None:
    """Remove what an earlier run left in the folder; its weights stay until there are others."""
    for pattern in (CHECKPOINT, LOG, HELD_OUT, BEST, "epoch-[0-9]*.png"):
        for path in plan.folder.glob(pattern):
            path.unlink()


def placement_for(plan: Plan, rank: Rank) -> Placement:
    """Device and precision of this process. Raises DeviceError."""
    device = plan.device
    if rank.world > 1 and device in ("auto", "cuda") and torch.cuda.is_available():
        device = f"cuda:{rank.local}"
    chosen = parse_device(device, plan.precision)
    if plan.precision is Precision.AUTO and chosen.precision is Precision.FP16:
        # bf16 has the range of float32: the features of the image branches do not overflow it.
        bf16 = torch.cuda.is_bf16_supported()
        return Placement(chosen.device, Precision.BF16 if bf16 else Precision.FP16)
    if chosen.precision is Precision.FP16 and chosen.device.type != "cuda":
        raise UsageError(f"--precision fp16: not for training on {chosen.device.type}; use fp32")
    return chosen


def use_threads(plan: Plan) -> None:
    """Threads of torch as asked for; OpenCV's would only be in the way of ours."""
    if plan.threads is not None:
        torch.set_num_threads(plan.threads)
    cv2.setNumThreads(1)


def _workers(plan: Plan) -> int:
    return plan.workers or torch.get_num_threads()


def _initial_network(plan: Plan) -> tuple[BiRefNet, Initialisation]:
    """The first network: that of a file, or one of random weights."""
    if plan.start is None:
        torch.manual_seed(plan.seed)
        network = BiRefNet(MINI)
        if plan.backbone is not None:
            pretrained.load(plan.backbone, network)
        trained = plan.backbone is not None
        return network, Initialisation(SCRATCH_SIZE, published=False, tuned=False, backbone=trained)
    checkpoint = weights.resolve(plan.start)
    width, height = checkpoint.size
    if width != height and plan.size is None and not plan.stages:
        raise UsageError(
            f"--from {plan.start}: its input is {width}×{height}, and training is on squares;"
            " say --size"
        )
    # A copy: the loaded tensors may be the file itself, mapped.
    network = copy.deepcopy(weights.load_network(checkpoint, patch_order=plan.patch_order))
    published = network.config.backbone == "swin"
    return network.requires_grad_(True), Initialisation(width, published=published, tuned=True)


def _check_batches(hyperparameters: Hyperparameters, rank: Rank) -> None:
    for stage in hyperparameters.stages:
        share, rest = divmod(stage.batch, rank.world)
        if rest:
            raise UsageError(
                f"--batch {stage.batch}: cannot be divided among {rank.world} processes"
            )
        if share < 2:
            # The pooled branch has one value a photo and channel: batch norm needs two.
            raise UsageError(f"--batch {stage.batch}: each process needs 2 photos a step or more")
