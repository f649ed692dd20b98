"""What a training needs before its first step: data, folder, device, first weights."""

import copy
import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from birefcli.birefnet import MINI, BiRefNet
from birefcli.errors import Message, Option, OutputError, UsageError
from birefcli.matting.device import Placement, parse_device
from birefcli.models import weights
from birefcli.options import Precision
from birefcli.scoring.layouts import split_held_out
from birefcli.system import atomic
from birefcli.system.paths import is_folder, real_path
from birefcli.system.process_settings import set_torch_threads, use_one_opencv_thread
from birefcli.system.regular_file import is_free, regular_status
from birefcli.training import own_files, pretrained
from birefcli.training.backgrounds import find_backgrounds
from birefcli.training.dataset import DataError, Pair, find_pairs
from birefcli.training.distributed import Rank
from birefcli.training.plan import Initialisation, Plan
from birefcli.training.sampler import Part
from birefcli.training.schedule import Hyperparameters

SCRATCH_SIZE = 384
"""Input of a network trained from scratch, in pixels: that of mini."""

CHECKPOINT, LOG, HELD_OUT = "checkpoint.pt", "log.jsonl", "held_out.txt"
BEST, LAST = "best.safetensors", "last.safetensors"
"""Files in the folder beside the weights."""
_FILES = (CHECKPOINT, LOG, HELD_OUT, BEST, LAST)
_PICTURES = "epoch-[0-9]*.png"
_WRITTEN = (*_FILES, _PICTURES)
"""Patterns of what a training writes there."""


@dataclass(frozen=True)
class TrainingData:
    """What is trained on and what is held out, found and not yet read."""

    training: list[Pair]
    held_out: list[Pair]
    parts: list[Part]
    """The folders that ``training`` comes from."""
    backgrounds: list[Path]

    @property
    def digest(self) -> str:
        """Differs for other photos, and for the same that are divided otherwise."""
        parts = [[pair.image for pair in part] for part in (self.training, self.held_out)]
        if self.backgrounds:
            parts.append(self.backgrounds)
        listed = [[f"{path.name} {path.stat().st_size}" for path in part] for part in parts]
        return hashlib.sha256(repr(listed).encode()).hexdigest()


def find_data(plan: Plan) -> TrainingData:
    """Find the photos of a plan, and divide those of each folder. Raises DataError, UsageError."""
    folders = list(dict.fromkeys(plan.data))
    if plan.shares and len(plan.shares) != len(folders):
        wrong = f"{len(plan.shares)} given, and DATA has {len(folders)}"
        raise UsageError(wrong, option="shares", hint="give one number for each folder")
    backgrounds = find_backgrounds(plan.backgrounds)
    found = find_pairs(folders)
    held_out = _to_validate(plan, [pair for part in found for pair in part])
    training: list[list[Pair]] = []
    for part in found:
        kept, scored = (part, []) if plan.validate else split_held_out(part, plan.hold_out)
        training.append(kept)
        held_out += scored
    if not all(training):
        empty = next(f for f, kept in zip(folders, training, strict=True) if not kept)
        raise DataError(
            f"{empty}: all its photos would be held out",
            hint=Message("add photos, or use another ", Option("hold_out")),
        )
    _refuse_people_as_backgrounds(backgrounds, [pair for part in found for pair in part] + held_out)
    shares = plan.shares or [len(part) for part in training]
    return TrainingData(
        [pair for part in training for pair in part],
        held_out,
        [Part(len(part), share) for part, share in zip(training, shares, strict=True)],
        backgrounds,
    )


def _refuse_people_as_backgrounds(backgrounds: list[Path], pairs: list[Pair]) -> None:
    """Raise UsageError where a photo or a mask is among the pictures without people."""
    people = {real_path(path) for pair in pairs for path in (pair.image, pair.mask)}
    for path in backgrounds:
        if real_path(path) in people:
            wrong = "holds the people to train on"
            hint = "name a folder of pictures without people"
            raise UsageError(wrong, option="backgrounds", value=path.parent, hint=hint)


def _to_validate(plan: Plan, found: list[Pair]) -> list[Pair]:
    """The photos of folders that are only scored. Raises DataError for one that is trained on."""
    if not plan.validate:
        return []
    held_out = [pair for part in find_pairs(plan.validate) for pair in part]
    scored = {real_path(pair.image) for pair in held_out}
    both = [str(pair.image) for pair in found if real_path(pair.image) in scored]
    if both:
        text = Message(f"{both[0]}: is in the data and in ", Option("validate"))
        raise DataError(text, hint="name other folders")
    return held_out


def prepare_folder(plan: Plan) -> None:
    """Make the folder beside the output, and see that both can be written, and are a training's.

    Part files that a killed training left there are removed. Raises UsageError, OutputError.
    """
    output = plan.output
    if output.suffix != ".safetensors" or is_folder(output):
        wrong = "name a file that ends in .safetensors"
        raise UsageError(wrong, option="output", value=output)
    folder = plan.folder
    others = [path for name in _WRITTEN for path in folder.glob(name)]
    own_files.refuse_foreign(output, folder / LOG, folder / CHECKPOINT, others)
    resumes = has_checkpoint(plan)
    if _is_there(output) and not is_free(output) and not resumes and not plan.restart:
        hint = Message("name another file, or ", Option("restart"))
        raise OutputError(f"{output}: is there already", hint=hint)
    for path in (output, *(folder / name for name in _FILES)):
        _check_replaceable(path)
    atomic.clear_stale([plan.folder, output.parent])


def clear_folder(plan: Plan) -> None:
    """Remove what an earlier training left in the folder; its weights are replaced at the end.

    Raises OutputError.
    """
    for pattern in _WRITTEN:
        for path in plan.folder.glob(pattern):
            _remove(path)


def has_checkpoint(plan: Plan) -> bool:
    """Whether there is something to resume from. Raises OutputError where that cannot be told."""
    return _is_there(plan.folder / CHECKPOINT)


def is_result_newest(plan: Plan) -> bool:
    """Whether the weights were written after the checkpoint, which is when a training ends."""
    try:
        written = regular_status(plan.output)
        saved = regular_status(plan.folder / CHECKPOINT)
    except OSError:
        return False
    if written is None or written.st_size == 0 or saved is None:
        return False
    return written.st_mtime_ns >= saved.st_mtime_ns


def _is_there(path: Path) -> bool:
    """Whether a file is there that would be replaced. Raises OutputError where nobody can tell."""
    try:
        return regular_status(path) is not None
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from error


def _check_replaceable(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.check_replaceable(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise OutputError(f"{path}: cannot be removed ({error.strerror})") from error


def placement_for(plan: Plan, rank: Rank) -> Placement:
    """Device and precision of this process. Raises DeviceError, UsageError."""
    device = plan.device
    if rank.world > 1 and device in ("auto", "cuda") and torch.cuda.is_available():
        device = f"cuda:{rank.local}"
    chosen = parse_device(device, plan.precision)
    if plan.precision is Precision.AUTO and chosen.precision is Precision.FP16:
        # bf16 has the range of float32: the features of the image branches do not overflow it.
        bf16 = torch.cuda.is_bf16_supported()
        return Placement(chosen.device, Precision.BF16 if bf16 else Precision.FP16)
    if chosen.precision is Precision.FP16 and chosen.device.type != "cuda":
        wrong = f"not for training on {chosen.device.type}"
        raise UsageError(wrong, option="precision", value="fp16", hint="use fp32")
    return chosen


def set_threads(plan: Plan) -> None:
    """Threads of torch as the plan has them; OpenCV's would only be in the way of ours."""
    if plan.threads is not None:
        set_torch_threads(plan.threads)
    use_one_opencv_thread()


def worker_count(plan: Plan) -> int:
    """Threads that prepare photos."""
    return plan.workers or torch.get_num_threads()


def initial_network(plan: Plan) -> tuple[BiRefNet, Initialisation]:
    """The network to start from, of a file or random. Raises ModelError, UsageError."""
    if plan.model is None:
        torch.manual_seed(plan.seed)
        network = BiRefNet(MINI)
        if plan.backbone is not None:
            pretrained.load(plan.backbone, network)
        trained = plan.backbone is not None
        return network, Initialisation(SCRATCH_SIZE, published=False, tuned=False, backbone=trained)
    checkpoint = weights.resolve(plan.model)
    width, height = checkpoint.size
    if width != height and plan.size is None and not plan.stages:
        raise UsageError(
            f"its input is {width}×{height}, and training is on squares",
            option="model",
            value=plan.model,
            hint=Message("say ", Option("size")),
        )
    # A copy: the loaded tensors may be the file itself, mapped.
    read = weights.load_network(checkpoint.run_with(patch_order=plan.patch_order))
    network = copy.deepcopy(read)
    published = network.config.backbone == "swin"
    start = Initialisation(width, published=published, tuned=True, own=checkpoint.size)
    return network.requires_grad_(True), start


def check_batches(hyperparameters: Hyperparameters, rank: Rank) -> None:
    """Raise UsageError where processes cannot share a batch."""
    for stage in hyperparameters.stages:
        share, rest = divmod(stage.batch, rank.world)
        if rest:
            wrong = f"cannot be divided among {rank.world} processes"
            raise UsageError(wrong, option="batch", value=stage.batch)
        if share < 2:
            # The pooled branch has one value a photo and channel: batch norm needs two.
            wrong = "each process needs 2 photos a step or more"
            raise UsageError(wrong, option="batch", value=stage.batch)
