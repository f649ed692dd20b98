"""A branch of the deformable pyramid in one kernel: gather, product, norm, ReLU, second product.

Modulated deformable convolution (Zhu et al., CVPR 2019) with the samples of a block of pixels held
in registers: the buffer of columns, 411 MB of half-precision numbers for a 7×7 kernel on a 256×256
map, never exists. The pyramid's last convolution is 1×1, so each branch adds its share of it.
"""

import math
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor


@dataclass(frozen=True)
class Launch:
    """How the work is cut: pixels and input channels of a step, and the warps that share it."""

    pixels: int
    channels: int
    warps: int
    stages: int


def launch_of(width: int, dtype: torch.dtype) -> Launch:
    """Cut for branches of ``width`` channels: nothing spills, and Ada's shared memory suffices."""
    if dtype.itemsize == 4:
        return Launch(16, 16, 8, 1)
    return Launch(64, 64, 8 if width > 64 else 4, 2)


@triton.jit
def _branch(
    x,
    moves,
    weight,
    scale,
    shift,
    project,
    start,
    sums,
    last_scale,
    last_shift,
    out,
    pixels,
    height,
    width,
    CHANNELS: tl.constexpr,
    WIDTH: tl.constexpr,
    OUT: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    FIRST: tl.constexpr,
    LAST: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_W: tl.constexpr,
    BLOCK_O: tl.constexpr,
):
    TAPS: tl.constexpr = KERNEL * KERNEL
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    there = m < pixels
    photo = m // (height * width)
    row = (m // width) % height
    column = m % width
    own = moves + m.to(tl.int64) * STRIDE
    origin = photo.to(tl.int64) * height * width
    w = tl.arange(0, BLOCK_W)
    sampled = tl.zeros([BLOCK_M, BLOCK_W], tl.float32)
    for tap in range(TAPS):
        y = tl.load(own + 2 * tap, mask=there, other=0.0)
        x_ = tl.load(own + 2 * tap + 1, mask=there, other=0.0)
        gain = 2 / (1 + tl.exp(-tl.load(own + 2 * TAPS + tap, mask=there, other=0.0)))
        y = y + (row + tap // KERNEL - KERNEL // 2).to(tl.float32)
        x_ = x_ + (column + tap % KERNEL - KERNEL // 2).to(tl.float32)
        # False for NaN too, whose index would be anywhere; it stays in the gain, to be found later.
        near = (y > -1) & (y < height) & (x_ > -1) & (x_ < width)
        gain = tl.where(near, gain, 0 * (y + x_ + gain))
        y = tl.where(near, y, 0.0)
        x_ = tl.where(near, x_, 0.0)
        down = y - tl.floor(y)
        right = x_ - tl.floor(x_)
        y0 = tl.floor(y).to(tl.int32)
        x0 = tl.floor(x_).to(tl.int32)
        above = there & (y0 >= 0)
        below = there & (y0 + 1 < height)
        before = x0 >= 0
        after = x0 + 1 < width
        corner = x + (origin + y0 * width + x0) * CHANNELS
        for c0 in range(0, CHANNELS, BLOCK_C):
            c = c0 + tl.arange(0, BLOCK_C)
            held = (c < CHANNELS)[None, :]
            at = corner[:, None] + c[None, :]
            samples = (
                tl.load(at, mask=(above & before)[:, None] & held, other=0.0).to(tl.float32)
                * ((1 - down) * (1 - right) * gain)[:, None]
            )
            samples += (
                tl.load(at + CHANNELS, mask=(above & after)[:, None] & held, other=0.0).to(
                    tl.float32
                )
                * ((1 - down) * right * gain)[:, None]
            )
            at += width * CHANNELS
            samples += (
                tl.load(at, mask=(below & before)[:, None] & held, other=0.0).to(tl.float32)
                * (down * (1 - right) * gain)[:, None]
            )
            samples += (
                tl.load(at + CHANNELS, mask=(below & after)[:, None] & held, other=0.0).to(
                    tl.float32
                )
                * (down * right * gain)[:, None]
            )
            kernel = tl.load(
                weight + (tap * CHANNELS + c[:, None]) * WIDTH + w[None, :],
                mask=(c < CHANNELS)[:, None] & (w < WIDTH)[None, :],
                other=0.0,
            )
            sampled = tl.dot(samples.to(kernel.dtype), kernel, sampled, input_precision="ieee")

    hidden = sampled * tl.load(scale + w, mask=w < WIDTH, other=0.0)[None, :]
    hidden += tl.load(shift + w, mask=w < WIDTH, other=0.0)[None, :]
    hidden = tl.where(hidden < 0, 0.0, hidden)  # a maximum would hide NaN
    o = tl.arange(0, BLOCK_O)
    second = tl.load(
        project + w[:, None] * OUT + o[None, :],
        mask=(w < WIDTH)[:, None] & (o < OUT)[None, :],
        other=0.0,
    )
    place = m.to(tl.int64)[:, None] * OUT + o[None, :]
    mask = there[:, None] & (o < OUT)[None, :]
    if FIRST:
        total = tl.load(start + photo[:, None] * OUT + o[None, :], mask=mask, other=0.0)
    else:
        total = tl.load(sums + place, mask=mask, other=0.0)
    total = tl.dot(hidden.to(second.dtype), second, total, input_precision="ieee")
    if LAST:
        total = total * tl.load(last_scale + o, mask=o < OUT, other=0.0)[None, :]
        total += tl.load(last_shift + o, mask=o < OUT, other=0.0)[None, :]
        total = tl.where(total < 0, 0.0, total)
        tl.store(out + place, total.to(out.dtype.element_ty), mask=mask)
    else:
        tl.store(sums + place, total, mask=mask)


@dataclass(frozen=True)
class Branch:
    """What one branch is made of, in the layout that the kernel reads."""

    weight: Tensor
    """k²×C×W in the features' dtype, taps row by row."""
    scale: Tensor
    """W, float32: what the evaluated norm multiplies with ..."""
    shift: Tensor
    """... and adds."""
    project: Tensor
    """W×O in the features' dtype: this branch's share of the last convolution."""

    @property
    def kernel(self) -> int:
        """Side of the convolution, in taps."""
        return math.isqrt(len(self.weight))


def pyramid(
    x: Tensor,
    branches: list[Branch],
    moves: list[Tensor],
    start: Tensor,
    last_scale: Tensor,
    last_shift: Tensor,
    launch: Launch | None = None,
) -> Tensor:
    """ReLU of the norm of ``start`` and the sum of the branches' shares.

    ``x``: N×C×H×W, best with its channels last in memory; ``moves``: for each branch float32
    N×H×W×(3k² or more), offsets (dy, dx) in pixels tap by tap, then k² logits of the modulation
    2·sigmoid; ``start``: float32 N×O; ``last_scale``, ``last_shift``: float32 O. Sampling is
    bilinear, zero outside the map, with coordinates and shares in float32; NaN stays NaN. Returns
    N×O×H×W in the dtype of ``x``, channels last in memory.
    """
    n, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).contiguous()
    out_channels = start.shape[1]
    out = x.new_empty(n, height, width, out_channels)
    pixels = n * height * width
    sums = torch.empty(pixels, out_channels, device=x.device, dtype=torch.float32)
    for i, (branch, moved) in enumerate(zip(branches, moves, strict=True)):
        branch_width = branch.weight.shape[2]
        cut = launch or launch_of(branch_width, x.dtype)
        _branch[(triton.cdiv(pixels, cut.pixels),)](
            rows,
            moved,
            branch.weight,
            branch.scale,
            branch.shift,
            branch.project,
            start,
            sums,
            last_scale,
            last_shift,
            out,
            pixels,
            height,
            width,
            CHANNELS=channels,
            WIDTH=branch_width,
            OUT=out_channels,
            KERNEL=branch.kernel,
            STRIDE=moved.shape[3],
            FIRST=i == 0,
            LAST=i == len(branches) - 1,
            BLOCK_M=cut.pixels,
            BLOCK_C=min(cut.channels, max(16, triton.next_power_of_2(channels))),
            BLOCK_W=max(16, triton.next_power_of_2(branch_width)),
            BLOCK_O=max(16, triton.next_power_of_2(out_channels)),
            num_warps=cut.warps,
            num_stages=cut.stages,
            enable_fp_fusion=True,  # the default, and Triton warns where it is not said
        )
    return out.permute(0, 3, 1, 2)
