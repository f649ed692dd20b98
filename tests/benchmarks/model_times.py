"""How long the published networks take on a CPU, each at its own input, in turns.

``python tests/benchmarks/model_times.py``. Their weights are noise: time does not depend on
them. Told are the medians of wall and of processor time, and the latter, which other programs
disturb least, as a multiple of that of ``mini``: what a batch says of quicker models
(``birefcli/models/cpu_time.py``).
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

CASES = {"portrait": ("SWIN_L", 1024), "lite": ("SWIN_T", 1024), "mini": ("MINI", 384)}


def main() -> None:
    """Load the networks, run them in turns, print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    import torch
    from support import known_network

    from birefcli import birefnet
    from birefcli.matting.device import parse_device
    from birefcli.matting.predictor import Predictor
    from birefcli.options import Precision, Size
    from birefcli.system import allocator

    allocator.keep_freed_memory()
    placement = parse_device("cpu", Precision.FP32)
    sides = {
        name: Predictor(known_network(getattr(birefnet, config)), Size(side, side), placement)
        for name, (config, side) in CASES.items()
    }
    inputs = {
        name: torch.zeros(side, side, 3, dtype=torch.uint8).numpy()
        for name, (_, side) in CASES.items()
    }
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for turn in range(given.rounds + 1):
        for name, predictor in sides.items():
            wall, processor = time.perf_counter(), time.process_time()
            predictor.alphas([inputs[name]])
            if turn:  # the first pass prepares
                passed = time.perf_counter() - wall, time.process_time() - processor
                took[name].append(passed)
    medians = {
        name: [statistics.median(times) for times in zip(*passes, strict=True)]
        for name, passes in took.items()
    }
    for name, (wall, processor) in medians.items():
        times = processor / medians["mini"][1]
        print(f"{name:9} {wall:7.3f} s, {processor:7.3f} s of processors, {times:.0f} times mini")


if __name__ == "__main__":
    main()
