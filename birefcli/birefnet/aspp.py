"""The pyramid of deformable convolutions (BiRefNet, section 3.2)."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from birefcli.birefnet import kernels
from birefcli.birefnet.deform import DeformableConv


class PyramidBranch(nn.Module):
    """One scale of the pyramid: deformable convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.atrous_conv = DeformableConv(in_channels, out_channels, kernel)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W to N×O×H×W."""
        return F.relu(self.bn(self.atrous_conv(x)))


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
