"""What the user wants of ``birefcli train``, as plain values. Standard library only."""

import math
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from birefcli.options import PatchOrder, Precision, Size
from birefcli.training.schedule import MATTING, SEGMENTATION, Hyperparameters, LossWeights, Stage

BACKBONE = 0.25
"""Learning rate of a trained backbone under an untrained decoder, as a share of the decoder's."""
WARMUP = 100
"""Steps, at most; a short run has a tenth of its steps."""


class Loss(StrEnum):
    """Which loss."""

    MATTING = "matting"
    SEGMENTATION = "segmentation"

    @property
    def terms(self) -> LossWeights:
        """Its weights."""
        return MATTING if self is Loss.MATTING else SEGMENTATION


@dataclass(frozen=True)
class Plan:
    """One training. None leaves a choice to the network it starts from."""

    data: tuple[Path, ...]
    output: Path
    shares: tuple[float, ...] = ()
    """How often each folder of ``data`` is seen, beside the others; none: by its photos."""
    backgrounds: tuple[Path, ...] = ()
    """Folders of pictures without people, to put subjects before."""
    validate: tuple[Path, ...] = ()
    """Folders that are only scored; none: a part of ``data`` is held out."""
    model: str | None = None
    """Model or weights file to fine-tune; None trains the architecture of mini from scratch."""
    backbone: Path | None = None
    """Weights for the backbone of a network that is trained from scratch."""
    patch_order: PatchOrder = PatchOrder.AUTO
    epochs: int | None = None
    size: int | None = None
    batch: int | None = None
    lr: float | None = None
    edges: int | None = None
    """Epochs."""
    stages: tuple[Stage, ...] = ()
    """Instead of epochs and batch."""
    loss: Loss = Loss.MATTING
    soften: bool = True
    seed: int = 0
    hold_out: int = 10
    device: str = "auto"
    precision: Precision = Precision.AUTO
    threads: int | None = None
    workers: int | None = None
    cache: int = 1 << 30
    """Bytes."""
    every: float = 180.0
    """Seconds between checkpoints."""
    restart: bool = False

    @property
    def folder(self) -> Path:
        """Where checkpoint, log and pictures of held-out photos are."""
        return self.output.with_suffix(".train")


@dataclass(frozen=True)
class Initialisation:
    """Where training starts: what is known of the first weights."""

    size: int
    """Input, in pixels."""
    published: bool
    """Whether the architecture is one of the author's, large ones."""
    tuned: bool
    """Whether the weights are trained already."""
    backbone: bool = False
    """Whether those of the backbone alone are trained."""
    own: Size | None = None
    """Input that the trained weights are for."""


def hyperparameters(plan: Plan, initial: Initialisation, photos: int) -> Hyperparameters:
    """The steps of a plan for that many photos."""
    size = plan.size or initial.size
    batch = plan.batch or (4 if initial.published else 8)
    epochs = plan.epochs or (20 if initial.tuned else 100)
    each = epoch_steps(photos, batch)
    stages = plan.stages or (Stage(size, epochs * each, batch),)
    # A tenth; the author's last epochs are more or less as many.
    edges = plan.edges if plan.edges is not None else (0 if plan.stages else epochs // 10)
    steps = sum(stage.steps for stage in stages)
    return Hyperparameters(
        stages,
        lr=plan.lr or _rate(initial, stages[-1].batch),
        warmup=min(WARMUP, max(1, steps // 10)),
        weight_decay=0.01 if initial.published else 0.02,
        backbone=BACKBONE if initial.backbone else 1.0,
        frozen_norms=initial.backbone or initial.tuned,
        dropout=0.5 if initial.published else 0.0,
        terms=plan.loss.terms,
        edges=min(edges * each, steps),
        seed=plan.seed,
        shares=plan.shares,
        soften=plan.soften,
    )


def epoch_steps(photos: int, batch: int) -> int:
    """Steps in which about every photo is seen once."""
    return max(1, round(photos / batch))


def epoch_ends(hyperparameters: Hyperparameters, photos: int) -> list[int]:
    """Steps done at the end of each epoch; every stage ends one."""
    ends: list[int] = []
    start = 0
    for stage in hyperparameters.stages:
        each = epoch_steps(photos, stage.batch)
        ends += range(start + each, start + stage.steps, each)
        start += stage.steps
        ends.append(start)
    return ends


def _rate(initial: Initialisation, batch: int) -> float:
    """Peak learning rate.

    For the published networks the author's for fine-tuning; for small ones what trained mini, and
    a tenth of it for fine-tuning.
    """
    if initial.published:
        return 1e-5 * math.sqrt(batch / 4)
    return 1.5e-4 if initial.tuned else 1.5e-3
