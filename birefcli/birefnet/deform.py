"""Modulated deformable convolution (Zhu et al., "Deformable ConvNets v2", CVPR 2019), stride 1."""

import torch
from torch import Tensor, nn


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
