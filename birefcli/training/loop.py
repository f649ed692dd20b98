"""The training loop: batches in, averaged weights out, and a checkpoint to go on from."""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from birefcli.birefnet import BiRefNet, Config, Supervision
from birefcli.errors import ModelError
from birefcli.training import augment, losses
from birefcli.training.data import Example
from birefcli.training.sampling import use_fast_sampling


@dataclass(frozen=True)
class Stage:
    """Steps at one input size."""

    size: int
    """Height and width of the input, in pixels; a multiple of 32."""
    steps: int
    batch: int


@dataclass(frozen=True)
class Recipe:
    """All that decides the weights, beside the data and the architecture."""

    stages: tuple[Stage, ...]
    lr: float = 1.5e-3
    """Highest learning rate: reached after ``warmup`` steps, then a half cosine to zero."""
    warmup: int = 100
    weight_decay: float = 0.02
    clip: float = 100.0
    """Largest norm of the gradient."""
    average: float = 0.998
    """Decay of the moving average of the weights, a step."""
    dropout: float = 0.0
    """In the deformable pyramids; a small network on little time underfits, so none."""
    seed: int = 0

    @property
    def steps(self) -> int:
        """Of all stages."""
        return sum(stage.steps for stage in self.stages)

    def stage(self, step: int) -> Stage:
        """The stage that ``step`` (from 0) belongs to."""
        for stage in self.stages:
            if step < stage.steps:
                return stage
            step -= stage.steps
        raise IndexError(step)

    def rate(self, step: int) -> float:
        """Learning rate of ``step``."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.lr * 0.5 * (1 + math.cos(math.pi * done))


class Trainer:
    """A network in training: its optimiser, its averaged twin, and the number of steps done."""

    def __init__(self, config: Config, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.network = BiRefNet(config).to(memory_format=torch.channels_last)
        use_fast_sampling(self.network)
        for module in self.network.modules():
            if isinstance(module, nn.Dropout):
                module.p = recipe.dropout
        self.averaged = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            _decayed_or_not(self.network, recipe.weight_decay), lr=recipe.lr
        )
        self.step = 0

    def advance(self, examples: Sequence[Example]) -> float:
        """One step; its loss."""
        stage = self.recipe.stage(self.step)
        image, alpha = augment.batch(examples, self.recipe.seed, self.step, stage.batch, stage.size)
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate(self.step)
        self.network.train()
        out = self.network(image)
        assert isinstance(out, Supervision)
        loss = losses.total(out, image, alpha)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.optimiser.step()
        self._average()
        self.step += 1
        return loss.item()

    def _average(self) -> None:
        # The first steps' weights are noise: the average remembers little of them.
        decay = min(self.recipe.average, (1 + self.step) / (10 + self.step))
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

    def save(self, path: Path) -> None:
        """Everything :meth:`resume` needs; a kill leaves the old file or the new one."""
        state = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "random": torch.get_rng_state(),
            "step": self.step,
        }
        part = path.with_name(path.name + ".part")
        torch.save(state, part)
        part.replace(path)

    def resume(self, path: Path) -> None:
        """Go on where the run that wrote ``path`` was; the losses will be the same.

        Raises ModelError for a file of another architecture.
        """
        state = torch.load(path, map_location="cpu", weights_only=True)
        try:
            self.network.load_state_dict(state["network"])
            self.averaged.load_state_dict(state["averaged"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, KeyError, ValueError) as error:
            raise ModelError(f"{path}: not a checkpoint of this architecture ({error})") from error
        torch.set_rng_state(_tensor(state["random"]))
        self.step = int(state["step"])


def run(
    trainer: Trainer,
    examples: Sequence[Example],
    *,
    checkpoint: Path,
    every: float,
    told: Callable[[int, float, float], None],
) -> None:
    """Train to the recipe's end, with a checkpoint every ``every`` seconds and at the end.

    ``told(steps done, mean loss since the last call, seconds a step)`` is called every 20 steps.
    """
    saved = since = time.monotonic()
    seen: list[float] = []
    while trainer.step < trainer.recipe.steps:
        seen.append(trainer.advance(examples))
        now = time.monotonic()
        if trainer.step % 20 == 0:
            told(trainer.step, sum(seen) / len(seen), (now - since) / len(seen))
            seen, since = [], now
        if now - saved > every:
            trainer.save(checkpoint)
            saved = now
    trainer.save(checkpoint)


def _decayed_or_not(network: nn.Module, decay: float) -> list[dict[str, object]]:
    """Two groups of parameters: biases and norms are not decayed."""
    parameters = list(network.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _tensor(value: object) -> Tensor:
    assert isinstance(value, Tensor)
    return value
