"""Modulated deformable convolution (Zhu et al., "Deformable ConvNets v2", CVPR 2019), stride 1."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from birefcli.birefnet import kernels
from birefcli.birefnet.gather import TILE, Sampler, framed
from birefcli.birefnet.linear import linear


def modulated_deform_conv2d(
    x: Tensor, offset: Tensor, modulation: Tensor, weight: Tensor, padding: int
) -> Tensor:
    """Convolve ``x`` at sampling points moved by ``offset`` and scaled by ``modulation``.

    ``x`` N×C×H×W; ``offset`` N×2k²×H×W in pixels, (dy, dx) per tap, taps row by row;
    ``modulation`` N×k²×H×W; ``weight`` O×C×k×k. Returns N×O×H×W in the dtype of ``x``.
    Sampling is bilinear, zero outside the map, and always done in float32: a half-precision
    coordinate would be off by a quarter of a pixel at the far side of a 256-pixel map.
    """
    if torch.compiler.is_compiling() or x.device.type not in ("cpu", "cuda"):
        # torchvision has no kernel for MPS, and its operator breaks a compiled graph in two.
        return deform_conv2d_plain(x, offset, modulation, weight, padding)
    from torchvision.ops import deform_conv2d  # a second to import: only where it is used

    moved: Tensor = deform_conv2d(
        x.float(), offset.float(), weight.float(), padding=padding, mask=modulation.float()
    )
    return moved.to(x.dtype)


def deform_conv2d_plain(
    x: Tensor, offset: Tensor, modulation: Tensor, weight: Tensor, padding: int
) -> Tensor:
    """Compute :func:`modulated_deform_conv2d` with plain torch operators, on any device."""
    n, channels, height, width = x.shape
    taps = weight.shape[-1] ** 2
    rows = x.permute(0, 2, 3, 1).reshape(n, height * width, channels).float()
    y, x_ = _sampling_points(offset.float(), weight.shape[-1], padding)
    y0, x0 = y.floor(), x_.floor()
    scale = modulation.float().reshape(n, taps, height, width)
    columns = rows.new_zeros(n, taps * height * width, channels)
    for dy in (0, 1):
        for dx in (0, 1):
            cy, cx = y0 + dy, x0 + dx
            share = (1 - (y - cy).abs()) * (1 - (x_ - cx).abs()) * scale
            inside = (cy >= 0) & (cy < height) & (cx >= 0) & (cx < width)
            index = cy.clamp(0, height - 1) * width + cx.clamp(0, width - 1)
            picked = torch.gather(rows, 1, index.long().reshape(n, -1, 1).expand(-1, -1, channels))
            columns = columns + picked * (share * inside).reshape(n, -1, 1)
    columns = columns.reshape(n, taps, height * width, channels)
    kernel = weight.float().reshape(weight.shape[0], channels, taps)
    out = torch.einsum("ntpc,oct->nop", columns, kernel)
    return out.reshape(n, -1, height, width).to(x.dtype)


def _sampling_points(offset: Tensor, kernel: int, padding: int) -> tuple[Tensor, Tensor]:
    """Row and column of every sample, each N×k²×H×W, in pixels of the input map."""
    n, _, height, width = offset.shape
    offset = offset.reshape(n, kernel * kernel, 2, height, width)
    tap = torch.arange(kernel, device=offset.device, dtype=offset.dtype) - padding
    rows = torch.arange(height, device=offset.device, dtype=offset.dtype)
    columns = torch.arange(width, device=offset.device, dtype=offset.dtype)
    tap_y, tap_x = tap.repeat_interleave(kernel), tap.repeat(kernel)
    y = tap_y[:, None, None] + rows[:, None] + offset[:, :, 0]
    x = tap_x[:, None, None] + columns + offset[:, :, 1]
    return y, x


class DeformableConv(nn.Module):
    """Deformable convolution that predicts its own offsets and modulation."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.padding = kernel // 2
        taps = kernel * kernel
        self.offset_conv = nn.Conv2d(in_channels, 2 * taps, kernel, padding=self.padding)
        self.modulator_conv = nn.Conv2d(in_channels, taps, kernel, padding=self.padding)
        self.regular_conv = nn.Conv2d(
            in_channels, out_channels, kernel, padding=self.padding, bias=False
        )
        # Training starts from an ordinary convolution: no offset, modulation 2·sigmoid(0) = 1.
        for conv in (self.offset_conv, self.modulator_conv):
            nn.init.zeros_(conv.weight)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W to N×O×H×W."""
        offset, modulation = self.predict(x)
        return modulated_deform_conv2d(
            x, offset, modulation, self.regular_conv.weight, self.padding
        )

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Offsets N×2k²×H×W in pixels, and modulation N×k²×H×W of 0..2."""
        return self.offset_conv(x), 2 * torch.sigmoid(self.modulator_conv(x))

    def sampler(self, rows: Tensor, height: int, width: int) -> Sampler:
        """Reader of one map, given as :func:`gather.framed` makes it."""
        return Sampler(rows, height, width, self.regular_conv.kernel_size[0], self.padding)

    def taps(self, x: Tensor) -> Tensor:
        """Both of :meth:`predict` by one convolution, pixel by pixel: N×H·W×3k², float32."""
        both = (self.offset_conv, self.modulator_conv)
        weight = torch.cat([conv.weight for conv in both])
        bias = torch.cat([cast("Tensor", conv.bias) for conv in both])
        out = F.conv2d(x, weight, bias, padding=self.padding).permute(0, 2, 3, 1).flatten(1, 2)
        out = out.float().contiguous()
        modulation = out[..., 2 * weight.shape[-1] ** 2 :]
        modulation.sigmoid_().mul_(2)
        return out


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
        from birefcli.birefnet import fused  # Triton, where it is used

        return fused.pyramid(self, x)

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
        branches = [self.aspp1, *cast("Iterable[PyramidBranch]", self.aspp_deforms)]
        *parts, last = project.chunk(len(branches) + 1, 1)
        pooled = self.global_avg_pool(x).float().flatten(1) @ last.T + shift
        out = pooled[:, None].repeat(1, height * width, 1)
        rows = framed(x)
        for branch, part in zip(branches, parts, strict=True):
            taps = branch.atrous_conv.taps(x)
            for i in range(n):
                sampler = branch.atrous_conv.sampler(rows[i], height, width)
                branch.add(sampler, taps[i], part.T.contiguous(), out[i])
        # Seen as channels last; of one photo, the strides of a reshape would not be known as such.
        return F.relu_(out).view(n, height, width, -1).permute(0, 3, 1, 2).to(x.dtype)


def folded(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift, float32, that an evaluated batch norm comes to."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.float() / torch.sqrt(norm.running_var.float() + norm.eps)
    return scale, norm.bias.float() - norm.running_mean.float() * scale
