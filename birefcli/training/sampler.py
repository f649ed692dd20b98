"""Which view of which photo each step sees, and making the views ahead of the network."""

from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from birefcli.matting.predictor import MEAN, STD
from birefcli.system.prefetch import prefetch
from birefcli.training import augment
from birefcli.training.dataset import Bytes, Example
from birefcli.training.schedule import Hyperparameters, Stage
from birefcli.training.views import Floats

View: TypeAlias = tuple[Floats, Floats]
"""Photo size×size×3 and alpha size×size, both 0..1."""
AHEAD = 2
"""Batches made before they are due. One hides the time; two also hide that times differ."""


@dataclass(frozen=True)
class Part:
    """Examples of one origin, which follow each other."""

    length: int
    share: float
    """Of the views, beside that of the other parts."""


@dataclass(frozen=True)
class Batch:
    """What one process sees of one step."""

    images: NDArray[np.float32]
    """N×H×W×3, RGB, 0..1."""
    alphas: NDArray[np.float32]
    """N×H×W, 0..1."""

    def tensors(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Network input N×3×H×W (normalised) and alpha N×1×H×W (0..1) on a device."""
        images = torch.from_numpy(self.images).to(device)
        return normalise(images), torch.from_numpy(self.alphas).to(device)[:, None]


def normalise(images: Tensor) -> Tensor:
    """N×H×W×3, RGB, 0..1, to what the network reads: N×3×H×W around zero."""
    mean, std = (torch.tensor(t, device=images.device) for t in (MEAN, STD))
    centred = (images - mean) / std
    return centred.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


class ViewSampler:
    """Views of examples, each a function of the seed, the step and its slot alone.

    So a resumed run sees what an unbroken one would, and so do several processes together.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        hyperparameters: Hyperparameters,
        rank: int = 0,
        world: int = 1,
        *,
        backgrounds: Sequence[Bytes] = (),
        parts: Sequence[Part] = (),
    ) -> None:
        """``rank`` of ``world`` processes sees its share of each batch.

        ``backgrounds``: pictures without people. ``parts``: where the examples come from, in their
        order, and how often each part is seen; empty: all examples equally often.
        """
        self.examples, self.hyperparameters = examples, hyperparameters
        self.rank, self.world, self.backgrounds = rank, world, backgrounds
        self.parts = list(parts) or [Part(len(examples), 1.0)]
        self._order = lru_cache(2)(self._shuffled)

    def from_step(self, step: int, threads: int) -> Generator[Batch, None, None]:
        """The batches of ``step`` and those after it, to the last, made ahead."""
        with closing(self._samples_ahead(step, threads)) as samples:
            for each in range(step, self.hyperparameters.steps):
                drawn = [next(samples).result() for _ in self._slots(each)]
                yield Batch(np.stack([i for i, _ in drawn]), np.stack([a for _, a in drawn]))

    def sample(self, step: int, slot: int) -> View:
        """One view: photo size×size×3 and alpha size×size, both 0..1."""
        rng = np.random.default_rng((self.hyperparameters.seed, step, slot))
        return augment.sample(
            self.examples,
            self.index(step, slot),
            rng,
            self.hyperparameters.stage(step).size,
            self.backgrounds,
        )

    def index(self, step: int, slot: int) -> int:
        """Which example: each of a part comes once before one of them comes again."""
        passes, place = divmod(self.hyperparameters.seen(step) + slot, len(self.examples))
        return int(self._order(passes)[place])

    def _shuffled(self, passes: int) -> NDArray[np.int64]:
        """As many indices as there are examples, the share of each part from its own order."""
        first, drawn = 0, []
        for number, (part, count) in enumerate(zip(self.parts, self._counts(), strict=True)):
            places = np.arange(passes * count, (passes + 1) * count)
            for round_ in np.unique(places // part.length):
                inside = places[places // part.length == round_] % part.length
                # With a fourth word these numbers are none of the views'.
                rng = np.random.default_rng((self.hyperparameters.seed, int(round_), number, 1))
                drawn.append(first + rng.permutation(part.length)[inside])
            first += part.length
        rng = np.random.default_rng((self.hyperparameters.seed, passes, 0, 2))
        return rng.permutation(np.concatenate(drawn))

    def _counts(self) -> list[int]:
        """How many views of each part a pass has; together as many as there are examples."""
        shares = np.array([part.share for part in self.parts])
        ends = np.rint(np.cumsum(shares) / shares.sum() * len(self.examples)).astype(int)
        return [int(count) for count in np.diff(ends, prepend=0)]

    def _slots(self, step: int) -> range:
        share = self._share(self.hyperparameters.stage(step))
        return range(self.rank * share, (self.rank + 1) * share)

    def _share(self, stage: Stage) -> int:
        """Photos a step of this process."""
        return stage.batch // self.world

    def _samples_ahead(self, step: int, threads: int) -> "Generator[Future[View], None, None]":
        """Views in order, made by threads: their work is numpy's and OpenCV's, without the GIL."""
        stages = self.hyperparameters.stages
        steps = range(step, self.hyperparameters.steps)
        pool = ThreadPoolExecutor(threads)
        try:
            yield from prefetch(
                pool,
                lambda view: self.sample(*view),
                ((each, slot) for each in steps for slot in self._slots(each)),
                AHEAD * max(map(self._share, stages)) + 1,
                eager=False,
                # Bounded: a batch at 1024×1024 has 16 MB for each photo.
                cost=lambda view: self.hyperparameters.stage(view[0]).size ** 2,
                budget=max((AHEAD * self._share(each) + 1) * each.size**2 for each in stages),
            )
        finally:
            pool.shutdown(cancel_futures=True)
