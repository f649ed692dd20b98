"""The deformable pyramid for inference on a CPU, see :mod:`birefcli.birefnet.aspp`."""

import math
from itertools import chain, groupby
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from birefcli.birefnet.aspp import DeformableASPP, PyramidBranch
from birefcli.birefnet.batch_norm import folded
from birefcli.birefnet.deform import DeformableConv
from birefcli.birefnet.gather import Sampler, framed
from birefcli.birefnet.inference.convolution import Convolution, keep
from birefcli.birefnet.linear import linear

TAPS = 100_000
"""Of a tile of pixels: their samples are there at once, 26 MB of 64 channels."""
SMALL = 3
"""Kernels up to this size, in pixels, have their offsets predicted by one convolution."""


class Pyramid(nn.Module):
    """Computes an evaluated pyramid in sweeps of tiles, its norms folded into the products.

    The last convolution is 1×1, so each branch adds its share of it tile by tile: the branches
    are never all there at once (335 MB on a 256×256 map), nor are the samples of one (822 MB
    for its 7×7 kernel), and the pooled branch is a constant.
    """

    pooled: Tensor
    start: Tensor
    last: Tensor
    shift: Tensor

    def __init__(self, pyramid: DeformableASPP) -> None:
        super().__init__()
        scale, shift = folded(pyramid.bn1)
        project = pyramid.conv1.weight.float()[:, :, 0, 0] * scale[:, None]
        *parts, last = project.chunk(len(pyramid.branches) + 1, 1)
        branches = zip(pyramid.branches, parts, strict=True)
        self.sweeps = nn.ModuleList(
            _Sweep(list(some)) for _, some in groupby(branches, lambda branch: _reach(branch[0]))
        )
        _, mix, norm, _ = pyramid.global_avg_pool
        pooled = Convolution.of(cast("nn.Conv2d", mix), cast("nn.BatchNorm2d", norm))
        assert pooled.weight is not None
        keep(self, pooled=pooled.weight.float()[:, :, 0, 0], start=pooled.bias.float())
        keep(self, last=last, shift=shift)

    def forward(self, x: Tensor) -> Tensor:
        """1×C×H×W, channels last, to the same shape."""
        height, width = x.shape[2:]
        rows = x.permute(0, 2, 3, 1).flatten(0, 2).float()
        average = torch.addmv(self.start, self.pooled, rows.mean(0)).relu_()
        out = torch.addmv(self.shift, self.last, average).expand(len(rows), -1).contiguous()
        framed_rows = framed(x)[0]
        for sweep in self.sweeps:
            sweep(x, framed_rows, out)
        # Seen as channels last; of one photo, the strides of a reshape would not be known as such.
        return out.relu_().view(1, height, width, -1).permute(0, 3, 1, 2).to(x.dtype)


class _Sweep(nn.Module):
    """Deformable convolutions, norms and ReLUs of some branches, and their shares of the last."""

    places: Tensor

    def __init__(self, branches: list[tuple[PyramidBranch, Tensor]]) -> None:
        """Each branch with what the last convolution makes of it, O×C."""
        super().__init__()
        convolutions = [branch.atrous_conv for branch, _ in branches]
        self.counts = tuple(conv.regular_conv.kernel_size[0] ** 2 for conv in convolutions)
        self.tile = TAPS // sum(self.counts)
        self.taps = _taps(convolutions)
        keep(self, places=_places(self.counts))
        self.products = nn.ModuleList(_Product(branch, project) for branch, project in branches)

    def forward(self, x: Tensor, rows: Tensor, out: Tensor) -> None:
        """Add the branches' shares to ``out``: H·W×O, float32.

        ``rows``: ``x``, 1×C×H×W, as :func:`framed` makes it.
        """
        taps = self.taps(x).permute(0, 2, 3, 1).flatten(0, 2).float()
        taps = (
            taps + self.places
        )  # in float32: what is far from a pixel is as exact as what is near
        taps[:, 2 * sum(self.counts) :].sigmoid_()
        sampler = Sampler(rows, x.shape[2], x.shape[3], self.counts)
        for first in range(0, len(out), self.tile):
            tile = slice(first, first + self.tile)
            samples = sampler.read(first, taps[tile])
            for product, some in zip(self.products, samples, strict=True):
                product(some, out[tile])


class _Product(nn.Module):
    """What becomes of a branch's samples."""

    kernel: Tensor
    shift: Tensor
    project: Tensor

    def __init__(self, branch: PyramidBranch, project: Tensor) -> None:
        super().__init__()
        scale, shift = folded(branch.bn)
        # Modulation is twice a sigmoid: the two is in the kernel.
        kernel = branch.atrous_conv.regular_conv.weight.float() * (2 * scale[:, None, None, None])
        keep(self, kernel=kernel.permute(0, 2, 3, 1).flatten(1), shift=shift, project=project.T)

    def forward(self, samples: Tensor, out: Tensor) -> None:
        """Add to ``out``, pixels×O, the share of ``samples``, pixels×k²·C."""
        out.addmm_(linear(samples, self.kernel, self.shift, "relu"), self.project)


def _reach(branch: PyramidBranch) -> int:
    return max(SMALL, branch.atrous_conv.regular_conv.kernel_size[0])


def _taps(convolutions: list[DeformableConv]) -> Convolution:
    """One convolution that predicts all taps, in the order of :meth:`Sampler.read`.

    It gives offsets from a tap's place in its kernel, and what a sigmoid makes a modulation of.
    """
    widest = max(conv.padding for conv in convolutions)
    parts: list[list[tuple[Tensor, Tensor]]] = [[], [], []]
    for conv in convolutions:
        offset, modulation = conv.offset_conv, conv.modulator_conv
        assert offset.bias is not None
        assert modulation.bias is not None
        rim = [widest - conv.padding] * 4
        weight = F.pad(offset.weight, rim)
        for axis in (0, 1):
            parts[axis].append((weight[axis::2], offset.bias[axis::2]))
        parts[2].append((F.pad(modulation.weight, rim), modulation.bias))
    weights, biases = zip(*chain.from_iterable(parts), strict=True)
    return Convolution(torch.cat(weights), torch.cat(biases), padding=widest)


def _places(counts: tuple[int, ...]) -> Tensor:
    """What is to be added to offsets, and to a modulation, to see them from the pixel: 3T."""
    sides = [torch.arange(float(math.isqrt(count))) for count in counts]
    lines = torch.cat([side.repeat_interleave(len(side)) - len(side) // 2 for side in sides])
    columns = torch.cat([side.repeat(len(side)) - len(side) // 2 for side in sides])
    return torch.cat([lines, columns, torch.zeros_like(lines)])
