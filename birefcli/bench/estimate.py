"""A guess at what the default model takes, in a second: from the speed of a matrix product."""

import time
from typing import Any

import torch

from birefcli.bench.measure import synchronize

PORTRAIT_FLOP = 2.5e12  # arithmetic of one photo in the default model, 2 for each multiply-add
EFFICIENCY = 0.7  # share of a matrix product's speed that a whole network reaches, roughly


def estimate(device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Seconds of the default model, from the speed of a matrix product: it is mostly those."""
    tokens, channels, wide = 4096, 768, 3072  # the MLP of Swin-L's third stage
    a = torch.ones(tokens, channels, device=device, dtype=dtype)
    b = torch.ones(channels, wide, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(8):
        started = time.perf_counter()
        a @ b
        synchronize(device)
        best = min(best, time.perf_counter() - started)
    speed = 2 * tokens * channels * wide / best
    return {
        "matrix_gflops": round(speed / 1e9),
        "portrait_seconds_why": "an ESTIMATE from the matrix product, not measured;"
        " the guide speed.md has what another machine takes",
        "portrait_seconds": float(f"{PORTRAIT_FLOP / speed / EFFICIENCY:.3g}"),
    }
