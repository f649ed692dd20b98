"""Networks to compare with: another model of ours, or a model in ONNX Runtime."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from birefcli.bench.measure import Rounds, synchronize
from birefcli.matting.predictor import Predictor
from birefcli.models.onnx_network import OnnxNetwork

OURS, THEIRS = "ours", "theirs"


@dataclass
class Comparison:
    """Two networks on the same photos, in turns."""

    ours: Predictor
    theirs: "Predictor | OnnxNetwork"
    inputs: tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]
    """The same photos as each of them sees them."""
    batch: int
    difference: float | None = None
    """Largest difference of alpha, where both have one input size."""

    def round(self, rounds: Rounds, number: int, step: Callable[[], None] = lambda: None) -> None:
        """One round of both; who begins changes with ``number``."""
        sides = [(OURS, self.ours, self.inputs[0]), (THEIRS, self.theirs, self.inputs[1])]
        for name, network, inputs in sides if number % 2 == 0 else sides[::-1]:
            wall, cpu = time.perf_counter(), time.process_time()
            for start in range(0, len(inputs), self.batch):
                network.alphas(inputs[start : start + self.batch])
                synchronize(self.ours.placement.device)
                step()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            rounds.add(name, wall / len(inputs), cpu / len(inputs))

    def compare(self) -> None:
        """Run both once, which warms them up, and see how far their mattes are apart."""
        ours = self.ours.alphas(self.inputs[0][: self.batch]).cpu()
        theirs = self.theirs.alphas(self.inputs[1][: self.batch]).cpu()
        if ours.shape == theirs.shape:
            self.difference = float((ours - theirs).abs().max())
