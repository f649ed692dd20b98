"""Modulated samples of a map on a CPU, a tile of pixels at a time.

The samples of a tile are gathered from the map's rows of channels and meet their weights in a
matrix product while they are still in the cache. Two ways to gather: torch's operators, and a loop
that numba compiles (the ``fast`` extra), which costs a tenth of the product that follows.
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

WORTH = 1 << 23
"""Sampled values of a map from which the compiled loop is used: importing numba takes most of
a second, and a map of 96×96 pixels, 32 channels and 10 taps gains that in hundreds of readings."""
COMPILED = "BIREFCLI_NUMBA"
"""Environment variable; 0 keeps to torch's operators."""


@dataclass(frozen=True)
class Sampler:
    """How to read one map at the places where the taps of some kernels look."""

    rows: Tensor
    """(H+2)·(W+2)×C float32: the map in a frame of zeros, so that no sample needs a test."""
    height: int
    width: int
    counts: tuple[int, ...]
    """Taps of each kernel."""

    def read(self, first: int, taps: Tensor) -> list[Tensor]:
        """Samples of the pixels from ``first`` on: for each kernel, pixels×taps·C.

        ``taps``: float32 pixels×3T, T the taps of all kernels: by how many pixels each looks below
        its pixel, then by how many to the right of it, then its modulation.
        """
        if self.rows.shape[1] * self.height * self.width * sum(self.counts) >= WORTH and compiled():
            return _read_compiled(self, first, taps)
        return _read_plain(self, first, taps)


def framed(x: Tensor) -> Tensor:
    """N×C×H×W to the rows of a :class:`Sampler`, N×(H+2)·(W+2)×C, float32."""
    rows = F.pad(x.permute(0, 2, 3, 1).float(), (0, 0, 1, 1, 1, 1))
    return rows.reshape(len(x), -1, x.shape[1])


@lru_cache(maxsize=1)
def compiled() -> bool:
    """Whether the loop that numba compiles is at hand and wanted."""
    return os.environ.get(COMPILED) != "0" and find_spec("numba") is not None


@lru_cache(maxsize=16)
def _places(height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Line and column of each pixel in the frame, each H·W×1 float32, and where neighbours are.

    That is how many rows of the map the four neighbours of a sample come after the first, int32.
    """
    with torch.inference_mode(False):
        lines, columns = torch.arange(1.0, height + 1), torch.arange(1.0, width + 1)
        neighbours = torch.tensor([0, 1, width + 2, width + 3], dtype=torch.int32)
        return (
            lines.repeat_interleave(width)[:, None],
            columns.repeat(height)[:, None],
            neighbours,
        )


def _read_plain(sampler: Sampler, first: int, taps: Tensor) -> list[Tensor]:
    total, height, width = sum(sampler.counts), sampler.height, sampler.width
    lines, columns, neighbours = _places(height, width)
    tile = slice(first, first + len(taps))
    y = (taps[:, :total] + lines[tile]).clamp_(0, height + 1)
    x = (taps[:, total : 2 * total] + columns[tile]).clamp_(0, width + 1)
    y0, x0 = y.floor().clamp_(max=height), x.floor().clamp_(max=width)
    # What is no number stays none in the shares below; as an index it would be an error.
    index = torch.add(x0, y0, alpha=width + 2).nan_to_num_(0).int()
    shares = _shares(y.sub_(y0), x.sub_(x0), taps[:, 2 * total :])
    # In long rows: added to four at a time, it would take half as long again.
    index = (index.repeat_interleave(4, 1) + neighbours.repeat(total)).view(len(taps), total, 4)
    sizes = list(sampler.counts)
    return [
        F.embedding_bag(
            places.reshape(-1, 4),
            sampler.rows,
            per_sample_weights=part.reshape(-1, 4),
            mode="sum",
        ).view(len(taps), -1)
        for places, part in zip(
            torch.split(index, sizes, 1), torch.split(shares, sizes, 1), strict=True
        )
    ]


def _shares(down: Tensor, right: Tensor, modulation: Tensor) -> Tensor:
    """Shares of the four neighbours, upper ones first, in samples: pixels×T×4."""
    shares = down.new_empty(*down.shape, 4)
    upper_left, upper_right, lower_left, lower_right = shares.unbind(-1)
    lower = down.mul_(modulation)
    upper = modulation - lower
    torch.mul(lower, right, out=lower_right)
    torch.sub(lower, lower_right, out=lower_left)
    torch.mul(upper, right, out=upper_right)
    torch.sub(upper, upper_right, out=upper_left)
    return shares


def _read_compiled(sampler: Sampler, first: int, taps: Tensor) -> list[Tensor]:
    channels, start, samples = sampler.rows.shape[1], 0, []
    for count in sampler.counts:
        samples.append(taps.new_empty(len(taps), count * channels))
        _read_kernel(sampler, first, taps, start, samples[-1])
        start += count
    return samples


def _read_kernel(sampler: Sampler, first: int, taps: Tensor, start: int, out: Tensor) -> None:
    """Share the pixels among as many threads as torch has; numba lets go of the interpreter."""
    loop = _loop(sampler.rows.shape[1])
    rows, taps_, out_ = (t.numpy() for t in (sampler.rows, taps, out))
    fixed = (sampler.height, sampler.width, start, sum(sampler.counts))
    threads = torch.get_num_threads()
    step = -(-len(taps) // threads)
    parts = [slice(begin, begin + step) for begin in range(0, len(taps), step)]

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
        start: int,
        total: int,
        out: Floats,
    ) -> None:
        for p in range(taps.shape[0]):
            row, column = divmod(first + p, width)
            for t in range(out.shape[1] // channels):
                y = np.float32(row + 1) + taps[p, start + t]
                x = np.float32(column + 1) + taps[p, total + start + t]
                # What is no number is clamped too, as an index; the shares keep it.
                y0 = int(min(max(np.floor(y), zero), np.float32(height))) if y == y else 0
                x0 = int(min(max(np.floor(x), zero), np.float32(width))) if x == x else 0
                down = min(max(y, zero), np.float32(height + 1)) - np.float32(y0) if y == y else y
                right = min(max(x, zero), np.float32(width + 1)) - np.float32(x0) if x == x else x
                scale = taps[p, 2 * total + start + t]
                a = (one - down) * (one - right) * scale
                b = (one - down) * right * scale
                c = down * (one - right) * scale
                d = down * right * scale
                above = np.uint64(y0 * (width + 2) + x0)
                below = above + np.uint64(width + 2)
                at = np.uint64(t * channels)
                for i in range(np.uint64(channels)):
                    out[np.uint64(p), at + i] = (
                        a * rows[above, i]
                        + b * rows[above + np.uint64(1), i]
                        + c * rows[below, i]
                        + d * rows[below + np.uint64(1), i]
                    )

    made: Callable[..., None]
    try:
        made = numba.njit(nogil=True, cache=True, fastmath={"contract"})(loop)
    except RuntimeError:  # no folder to keep it in may be written: compiled anew each time
        made = numba.njit(nogil=True, fastmath={"contract"})(loop)
    return made
