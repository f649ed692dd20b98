"""Hyperparameters of a training: sizes, steps, rates, loss weights. Standard library only."""

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Stage:
    """Steps at one input size."""

    size: int
    """Height and width of the input, in pixels; a multiple of 32."""
    steps: int
    batch: int
    """Photos a step, over all processes."""


@dataclass(frozen=True)
class LossWeights:
    """Weights of the four terms of the loss on a matte."""

    bce: float
    mae: float
    ssim: float
    iou: float


MATTING = LossWeights(bce=30, mae=100, ssim=10, iou=0)
"""What the published matting models were trained with."""
SEGMENTATION = LossWeights(bce=30, mae=100, ssim=10, iou=0.5)
"""The same for binary masks."""
EDGES = LossWeights(bce=0, mae=10, ssim=10, iou=0.5)
"""For the last epochs: structure and overlap, which are decided at edges. A tenth of MAE stays, as
SSIM alone is nearly the same for a flat 0.9 and for 1."""


@dataclass(frozen=True)
class Hyperparameters:
    """All that decides the weights, beside the data, the architecture and the first weights."""

    stages: tuple[Stage, ...]
    lr: float = 1.5e-3
    """Peak learning rate: reached after ``warmup`` steps, then a half cosine to zero."""
    warmup: int = 100
    weight_decay: float = 0.02
    clip: float = 100.0
    """Largest norm of the gradient."""
    average: float = 0.998
    """Decay of the moving average of the weights, a step."""
    dropout: float = 0.0
    """In the deformable pyramids; a small network on little time underfits, so none."""
    backbone: float = 1.0
    """Learning rate of the backbone, as a share of the others': one that knows much forgets."""
    frozen_norms: bool = False
    """Whether the backbone's batch norms keep their statistics. It reads each photo at two scales:
    a mean over both fits neither, and a few photos are worth less than its own statistics."""
    terms: LossWeights = field(default=MATTING)
    edges: int = 0
    """How many of the last steps have :data:`EDGES` for ``terms``."""
    seed: int = 0
    shares: tuple[float, ...] = ()
    """How often each folder is seen, beside the others; none: by its photos."""
    soften: bool = True
    """Whether binary masks get soft edges."""

    @property
    def steps(self) -> int:
        """Of all stages."""
        return sum(stage.steps for stage in self.stages)

    @property
    def largest(self) -> int:
        """Largest input size of all stages."""
        return max(stage.size for stage in self.stages)

    def stage(self, step: int) -> Stage:
        """The stage that ``step`` (from 0) belongs to."""
        for stage in self.stages:
            if step < stage.steps:
                return stage
            step -= stage.steps
        raise IndexError(step)

    def seen(self, step: int) -> int:
        """How many views the steps before ``step`` have."""
        views = 0
        for stage in self.stages:
            views += min(step, stage.steps) * stage.batch
            step -= min(step, stage.steps)
        return views

    def rate(self, step: int) -> float:
        """Learning rate of ``step``."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.lr * 0.5 * (1 + math.cos(math.pi * done))

    def terms_at(self, step: int) -> LossWeights:
        """Weights of the loss in ``step``."""
        return EDGES if step >= self.steps - self.edges else self.terms
