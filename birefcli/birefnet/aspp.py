"""The pyramid of deformable convolutions (BiRefNet, section 3.2)."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from birefcli.birefnet import kernels
from birefcli.birefnet.batch_norm import folded
from birefcli.birefnet.deform import DeformableConv
from birefcli.birefnet.gather import TILE, Sampler, framed
from birefcli.birefnet.linear import linear


class PyramidBranch(nn.Module):
    """One scale of the pyramid: deformable convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.atrous_conv = DeformableConv(in_channels, out_channels, kernel)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W to N×O×H×W."""
        return F.relu(self.bn(self.atrous_conv(x)))

    def add(self, sampler: Sampler, taps: Tensor, project: Tensor, out: Tensor) -> None:
        """Add the branch, multiplied with ``project``, to ``out``: H·W×C, tile by tile.

        ``taps``: of :meth:`DeformableConv.taps`, H·W×3k². Without gradients only.
        """
        scale, shift = folded(self.bn)
        weight = self.atrous_conv.regular_conv.weight.float() * scale[:, None, None, None]
        kernel = weight.permute(0, 2, 3, 1).flatten(1)
        samples = out.new_empty(min(TILE, len(out)), kernel.shape[1])
        for first in range(0, len(out), TILE):
            tile = slice(first, first + TILE)
            n = len(out[tile])
            sampler.read(first, taps[tile], samples[:n])
            hidden = linear(samples[:n], kernel, shift, "relu").to(out.dtype)
            out[tile].addmm_(hidden, project)


class DeformableASPP(nn.Module):
    """Pyramid of deformable branches and a global average (BiRefNet, section 3.2).

    After atrous spatial pyramid pooling of Chen et al., "Rethinking Atrous Convolution", 2017.
    """

    def __init__(self, channels: int, branch_width: int, kernels: tuple[int, ...]) -> None:
        super().__init__()
        self.aspp1 = PyramidBranch(channels, branch_width, 1)
        self.aspp_deforms = nn.ModuleList(PyramidBranch(channels, branch_width, k) for k in kernels)
        self.global_avg_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, branch_width, 1, bias=False),
            # One value a photo and channel: batch statistics need a batch of two or more.
            nn.BatchNorm2d(branch_width),
            nn.ReLU(),
        )
        self.conv1 = nn.Conv2d(branch_width * (len(kernels) + 2), channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(0.5)

    @property
    def branches(self) -> list[PyramidBranch]:
        """Of all scales, the smallest kernel first."""
        return [self.aspp1, *cast("Iterable[PyramidBranch]", self.aspp_deforms)]

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W to the same shape."""
        if x.device.type == "cpu" and not self.training and not torch.is_grad_enabled():
            return self._fused(x)
        # In float32 its sums do not fit the registers: torchvision's kernel is faster.
        if kernels.usable(x) and x.dtype.itemsize == 2 and not self.training:
            return kernels.attempt(
                "deformable pyramid", lambda: self._kernel(x), lambda: self._plain(x)
            )
        return self._plain(x)

    def _kernel(self, x: Tensor) -> Tensor:
        from birefcli.birefnet import fused_pyramid  # Triton, where it is used

        return fused_pyramid.pyramid(self, x)

    def _plain(self, x: Tensor) -> Tensor:
        pooled = self.global_avg_pool(x).expand(-1, -1, *x.shape[2:])
        branches = [self.aspp1(x), *(branch(x) for branch in self.aspp_deforms), pooled]
        out: Tensor = self.dropout(F.relu(self.bn1(self.conv1(torch.cat(branches, 1)))))
        return out

    def _fused(self, x: Tensor) -> Tensor:
        """Compute the same in one sweep of tiles, its norms folded into the products.

        The last convolution is 1×1, so each branch adds its share of it tile by tile: the branches
        are never all there at once (335 MB on a 256×256 map), nor are the samples of one (822 MB
        for its 7×7 kernel), and the pooled branch is a constant.
        """
        n, _, height, width = x.shape
        x = x.contiguous(memory_format=torch.channels_last)
        scale, shift = folded(self.bn1)
        project = self.conv1.weight.float()[:, :, 0, 0] * scale[:, None]
        *parts, last = project.chunk(len(self.branches) + 1, 1)
        pooled = self.global_avg_pool(x).float().flatten(1) @ last.T + shift
        out = pooled[:, None].repeat(1, height * width, 1)
        rows = framed(x)
        for branch, part in zip(self.branches, parts, strict=True):
            taps = branch.atrous_conv.taps(x)
            for i in range(n):
                sampler = branch.atrous_conv.sampler(rows[i], height, width)
                branch.add(sampler, taps[i], part.T.contiguous(), out[i])
        # Seen as channels last; of one photo, the strides of a reshape would not be known as such.
        return F.relu_(out).view(n, height, width, -1).permute(0, 3, 1, 2).to(x.dtype)
