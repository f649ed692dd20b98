"""Modulated samples of a map on a CPU, a tile of pixels at a time.

The samples of a tile are gathered from the map's rows of channels and meet their weights in a
matrix product while they are still in the cache. Two ways to gather: torch's operators, and a loop
that numba compiles (the ``fast`` extra), which costs a tenth of the product that follows. Importing
numba takes longer than it saves for one photo, so a process begins with torch's operators. Both
multiply and add in the same order, and a photo's matte does not depend on which of them read it:
where a processor rounds a product and its sum once, as those with AVX2 do, to the last bit.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Floats = NDArray[np.float32]

TILE = 2048  # pixels
WORTH = 1 << 29
"""Values that a process reads by torch's operators before it turns to the compiled loop: the loop
saves 1.5 ns of each, and importing numba takes 0.8 s. 130 photos by ``mini``, two of 1024×1024 by
a Swin."""
COMPILED = "BIREFCLI_NUMBA"
"""Environment variable; 0 keeps to torch's operators."""


@dataclass(frozen=True)
class Sampler:
    """Where the taps of a k×k kernel look on one map, and how to read it."""

    rows: Tensor
    """(H+2)·(W+2)×C float32: the map in a frame of zeros, so that no sample needs a test."""
    height: int
    width: int
    kernel: int
    padding: int

    def read(self, first: int, taps: Tensor, out: Tensor) -> None:
        """Samples of the pixels from ``first`` on into ``out``, pixels×k²·C.

        ``taps``: float32 pixels×3k²: offsets (dy, dx) of each tap in pixels, taps row by row, and
        then the modulation of each.
        """
        if compiled() and _values.count(out.numel()) > WORTH:
            _read_compiled(self, first, taps, out)
        else:
            _read_plain(self, first, taps, out)


class _Counter:
    """How many values this process has read; photos of two threads may count as one."""

    def __init__(self) -> None:
        self.total = 0

    def count(self, values: int) -> int:
        """The sum with these."""
        self.total += values
        return self.total


_values = _Counter()


def framed(x: Tensor) -> Tensor:
    """N×C×H×W to the rows of a :class:`Sampler`, N×(H+2)·(W+2)×C, float32."""
    rows = F.pad(x.permute(0, 2, 3, 1).float(), (0, 0, 1, 1, 1, 1))
    return rows.reshape(len(x), -1, x.shape[1])


@lru_cache(maxsize=1)
def compiled() -> bool:
    """Whether the loop that numba compiles is at hand and wanted."""
    return os.environ.get(COMPILED) != "0" and find_spec("numba") is not None


def _read_plain(sampler: Sampler, first: int, taps: Tensor, out: Tensor) -> None:
    kernel, height, width = sampler.kernel, sampler.height, sampler.width
    count, stride = kernel * kernel, width + 2
    tap = torch.arange(kernel, device=taps.device) - sampler.padding + 1
    pixel = torch.arange(first, first + len(taps), device=taps.device)[:, None]
    offset = taps[:, : 2 * count].reshape(-1, count, 2)
    y = (offset[:, :, 0] + (pixel // width + tap.repeat_interleave(kernel))).clamp_(0, height + 1)
    x = (offset[:, :, 1] + (pixel % width + tap.repeat(kernel))).clamp_(0, width + 1)
    y0, x0 = y.floor().clamp_(max=height), x.floor().clamp_(max=width)
    # What is no number stays none in the shares below; as an index it would be an error.
    index = (y0 * stride + x0).nan_to_num_(0).long()
    down, right = y.sub_(y0), x.sub_(x0)
    upper = taps[:, 2 * count :] * (1 - down)
    lower = down.mul_(taps[:, 2 * count :])
    left = 1 - right
    shares = torch.stack([upper * left, upper * right, lower * left, lower * right], -1)
    corners = torch.tensor([0, 1, stride, stride + 1], device=taps.device)
    samples = F.embedding_bag(
        (index[:, :, None] + corners).view(-1, 4),
        sampler.rows,
        per_sample_weights=shares.view(-1, 4),
        mode="sum",
    )
    out.copy_(samples.view(len(taps), -1))


def _read_compiled(sampler: Sampler, first: int, taps: Tensor, out: Tensor) -> None:
    """Share the pixels among as many threads as torch has; numba lets go of the interpreter."""
    loop = _loop(sampler.rows.shape[1])
    rows, taps_, out_ = (t.numpy() for t in (sampler.rows, taps, out))
    fixed = (sampler.height, sampler.width, sampler.kernel, sampler.padding)
    threads = torch.get_num_threads()
    step = -(-len(taps) // threads)
    parts = [slice(start, start + step) for start in range(0, len(taps), step)]

    def read(part: slice) -> None:
        loop(rows, first + part.start, taps_[part], *fixed, out_[part])

    # One part stays with this thread: waking another takes about as long as a part does.
    others = [_pool(threads).submit(read, part) for part in parts[1:]]
    read(parts[0])
    for other in others:
        other.result()


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="gather")


@lru_cache
def _loop(channels: int) -> Callable[..., None]:
    """The loop for one number of channels: known when it is compiled, the inner loop is SIMD."""
    import numba

    one, zero = np.float32(1), np.float32(0)

    def loop(
        rows: Floats,
        first: int,
        taps: Floats,
        height: int,
        width: int,
        kernel: int,
        padding: int,
        out: Floats,
    ) -> None:
        count = kernel * kernel
        for p in range(taps.shape[0]):
            row, column = divmod(first + p, width)
            for t in range(count):
                y = np.float32(row + t // kernel - padding + 1) + taps[p, 2 * t]
                x = np.float32(column + t % kernel - padding + 1) + taps[p, 2 * t + 1]
                # What is no number is clamped too, as an index; the shares keep it.
                y0 = int(min(max(np.floor(y), zero), np.float32(height))) if y == y else 0
                x0 = int(min(max(np.floor(x), zero), np.float32(width))) if x == x else 0
                down = min(max(y, zero), np.float32(height + 1)) - np.float32(y0) if y == y else y
                right = min(max(x, zero), np.float32(width + 1)) - np.float32(x0) if x == x else x
                scale = taps[p, 2 * count + t]
                upper, lower, left = scale * (one - down), scale * down, one - right
                a, b, c, d = upper * left, upper * right, lower * left, lower * right
                above = np.uint64(y0 * (width + 2) + x0)
                below = above + np.uint64(width + 2)
                at = np.uint64(t * channels)
                for i in range(np.uint64(channels)):
                    # Each product joins the sum before it in one rounding, as in embedding_bag: of
                    # two products, LLVM rounds the second on its own.
                    upper_sum = b * rows[above + np.uint64(1), i] + a * rows[above, i]
                    lower_sum = c * rows[below, i] + upper_sum
                    out[np.uint64(p), at + i] = d * rows[below + np.uint64(1), i] + lower_sum

    made: Callable[..., None]
    try:
        made = numba.njit(nogil=True, cache=True, fastmath={"contract"})(loop)
    except RuntimeError:  # no folder to keep it in may be written: compiled anew each time
        made = numba.njit(nogil=True, fastmath={"contract"})(loop)
    return made
