"""One step of training after the other, and a checkpoint to go on from."""

import copy
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from birefcli.birefnet import BiRefNet, Supervision
from birefcli.errors import (
    BirefcliError,
    DeviceError,
    ExitCode,
    Message,
    ModelError,
    Option,
    OutputError,
    UsageError,
)
from birefcli.matting.device import Placement
from birefcli.models import pickled
from birefcli.options import Precision
from birefcli.system import atomic
from birefcli.system.regular_file import open_regular
from birefcli.training import losses
from birefcli.training.distributed import ALONE, Rank
from birefcli.training.fast_deformable import use_fast_sampling
from birefcli.training.sampler import Batch
from birefcli.training.schedule import Hyperparameters

ON_CPU = Placement(torch.device("cpu"), Precision.FP32)
SCORES = ("first", "last", "best")
"""Validations that a checkpoint notes: log entries, empty where there is none yet."""
RESTART = Message(Option("restart"), " starts anew")


class DivergedError(BirefcliError):
    """The loss is no number any more."""

    exit_code = ExitCode.SOME_FAILED


@dataclass(frozen=True)
class Step:
    """What one step came to."""

    loss: float
    """Everything that is minimised."""
    matte: float
    """The last matte's share of it."""
    norm: float
    """Of the gradient, before it was clipped."""
    lr: float


class Trainer:
    """A network in training: its optimiser, its averaged twin, and the number of steps done.

    With several processes each has a share of the batch, and gradients are averaged over all.
    """

    def __init__(
        self,
        network: BiRefNet,
        hyperparameters: Hyperparameters,
        placement: Placement = ON_CPU,
        rank: Rank = ALONE,
    ) -> None:
        """``network`` is taken over; its weights are where training starts."""
        self.hyperparameters, self.placement, self.rank = hyperparameters, placement, rank
        self.network = network.to(placement.device).to(memory_format=torch.channels_last)
        if placement.device.type == "cpu":
            use_fast_sampling(self.network)
        for module in self.network.modules():
            if isinstance(module, nn.Dropout):
                module.p = hyperparameters.dropout
        self.averaged = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            _groups(self.network, hyperparameters), lr=hyperparameters.lr
        )
        half = placement.precision is Precision.FP16
        self.scaler = torch.amp.GradScaler(placement.device.type, enabled=half)
        self._replica = _replica(self.network, placement.device, rank)
        self.step = 0

    def advance(self, batch: Batch) -> Step:
        """One step. Raises DivergedError, and DeviceError where memory does not suffice."""
        try:
            return self._advance(batch)
        except torch.OutOfMemoryError as error:
            raise DeviceError(
                f"{self.placement.device}: not enough memory for a step",
                hint=Message("lower ", Option("batch"), " or ", Option("size")),
            ) from error

    def _advance(self, batch: Batch) -> Step:
        rate = self.hyperparameters.rate(self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["share"]
        # Dropout too is a function of seed and step: nothing else needs to be remembered.
        torch.manual_seed(_mixed(self.hyperparameters.seed, self.step, self.rank.rank))
        loss, matte = self._loss(*batch.tensors(self.placement.device))
        whole, last = self.rank.mean(torch.stack([loss, matte]).detach()).tolist()
        if not math.isfinite(whole):
            raise DivergedError(
                f"step {self.step + 1}: the loss is {whole}",
                hint=Message(Option("restart"), " with a lower ", Option("lr")),
            )
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimiser)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.hyperparameters.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self._average()
        self.step += 1
        return Step(whole, last, norm.item(), rate)

    def _loss(self, image: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        self._replica.train()
        if self.hyperparameters.frozen_norms:
            _freeze_norms(self.network.bb)
        kind, dtype = self.placement.device.type, self.placement.dtype
        with torch.autocast(kind, dtype, enabled=dtype != torch.float32):
            out = self._replica(image)
        assert isinstance(out, Supervision)
        # Half precision is for the network: sums over a million pixels need more.
        whole = Supervision(
            out.logits.float(), [s.float() for s in out.sides], [g.float() for g in out.gradients]
        )
        return losses.total(whole, image, alpha, self.hyperparameters.terms_at(self.step))

    def _average(self) -> None:
        # The first steps' weights are noise: the average remembers little of them.
        decay = min(self.hyperparameters.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, now in zip(
                self.averaged.state_dict().values(),
                self.network.state_dict().values(),
                strict=True,
            ):
                if mean.is_floating_point():
                    mean.lerp_(now, 1 - decay)
                else:
                    mean.copy_(now)

    def save(self, path: Path, extra: Mapping[str, object]) -> None:
        """Write all that :meth:`resume` needs, and ``extra``; a kill leaves the old or the new.

        Raises OutputError.
        """
        state = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "notes": dict(extra),
        }
        try:
            with atomic.replacing(path) as part:
                _write(state, part)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({_cause(error)})") from error

    def resume(
        self, path: Path, check: Callable[[int, dict[str, Any]], object] = lambda *_: None
    ) -> dict[str, Any]:
        """Continue where the run that wrote ``path`` was, with the same losses. Returns its extras.

        ``check`` is called with its steps and extras before anything is changed, and may raise
        UsageError. Raises ModelError for a damaged file, or one of another architecture.
        """
        state = _checkpoint(path)
        try:
            step, notes = _progress(state)
            check(step, notes)
            self.network.load_state_dict(state["network"])
            self.averaged.load_state_dict(state["averaged"])
            self.optimiser.load_state_dict(state["optimiser"])
            _refuse_other_shapes(self.optimiser)
            if state.get("scaler"):
                self.scaler.load_state_dict(state["scaler"])
        except UsageError:
            raise
        except Exception as error:  # what other programs wrote fails in any way
            raise ModelError(
                f"{path}: not a checkpoint of this architecture", hint=RESTART
            ) from error
        self.step = step
        return notes


def _write(state: dict[str, Any], part: Path) -> None:
    """Write a checkpoint. Raises OSError with the cause."""
    try:
        # Through an open file: by a name, torch would store that in it, and no two were equal.
        with part.open("xb") as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:  # torch's writer has no error of its own
        cause = "the disk is full" if _is_full(part.parent) else _cause(error)
        raise OSError(cause) from error


def _checkpoint(path: Path) -> dict[str, Any]:
    try:
        with open_regular(path) as file:
            pickled.check(file)
            file.seek(0)
            state = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({_cause(error)})") from error
    except Exception as error:  # damaged bytes make anything of a pickle's reader
        raise ModelError(f"{path}: damaged ({_cause(error)})", hint=RESTART) from error
    if not isinstance(state, dict):
        raise ModelError(f"{path}: no checkpoint", hint=RESTART)
    return state


def _progress(state: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """Steps that were done, and the extras. Raises KeyError, TypeError for other types."""
    step, notes = state["step"], state.get("notes", {})
    if not isinstance(step, int) or step < 0 or not isinstance(notes, dict):
        raise TypeError("no steps")
    kinds = {"data": str, "recipe": dict, "validated": int, **dict.fromkeys(SCORES, dict)}
    for name, kind in kinds.items():
        if not isinstance(notes.get(name, kind()), kind):
            raise TypeError(name)
    if not all(isinstance(value, (int, float)) for value in state.get("scaler", {}).values()):
        raise TypeError("scaler")
    for scores in (notes.get(name, {}) for name in SCORES):
        whole = scores and isinstance(scores["epoch"], int) and isinstance(scores["step"], int)
        if scores and not (whole and isinstance(scores["MAD"], float)):
            raise TypeError("scores")
    return step, notes


def _refuse_other_shapes(optimiser: torch.optim.Optimizer) -> None:
    """Raises ValueError for moments of other shapes than their parameters, which torch loads."""
    for parameter, moments in optimiser.state.items():
        for value in moments.values():
            if torch.is_tensor(value) and value.ndim and value.shape != parameter.shape:
                raise ValueError("shapes")


def _replica(network: BiRefNet, device: torch.device, rank: Rank) -> nn.Module:
    """The network to train, or what averages its gradients over processes."""
    if rank.world == 1:
        return network
    ids = [device] if device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(network, device_ids=ids)


def _groups(network: BiRefNet, hyperparameters: Hyperparameters) -> list[dict[str, object]]:
    """Parameters by the share of the learning rate they have; biases and norms are not decayed."""
    backbone = {id(p) for p in network.bb.parameters()}
    own = list(network.bb.parameters())
    others = [p for p in network.parameters() if id(p) not in backbone]
    return [
        {
            "params": [p for p in part if (p.ndim > 1) is decays],
            "weight_decay": decay,
            "share": share,
        }
        for part, share in ((own, hyperparameters.backbone), (others, 1.0))
        for decays, decay in ((True, hyperparameters.weight_decay), (False, 0.0))
    ]


def _freeze_norms(backbone: nn.Module) -> None:
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def _mixed(*words: int) -> int:
    """One seed from several numbers."""
    return int(np.random.SeedSequence(words).generate_state(1)[0])


def _is_full(folder: Path) -> bool:
    """Whether a disk has less than a megabyte left: torch's errors have no cause."""
    try:
        return shutil.disk_usage(folder).free < 1 << 20
    except OSError:
        return False


def _cause(error: Exception) -> str:
    """What an error says in one line: the system's words where it has such."""
    text = error.strerror if isinstance(error, OSError) else None
    return text or str(error).partition("\n")[0] or type(error).__name__
