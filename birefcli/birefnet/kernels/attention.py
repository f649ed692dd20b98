"""Attention in shifted windows, in one kernel (Liu et al., Swin Transformer, ICCV 2021, 3.2).

Padding, shift, partition and their reverse are arithmetic on indices: no token is copied. A padded
token's query, key and value are the product's bias, as its features are zero. The four groups of
shifted windows are told apart by their place, and the mask is made in registers. The softmax runs
online over blocks of keys, in float32 (Dao et al., FlashAttention, 2022).
"""

import math
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

OUTSIDE = tl.constexpr(-100.0)
LOG2_E = tl.constexpr(math.log2(math.e))


@dataclass(frozen=True)
class Launch:
    """How the work is cut: queries and keys of a step, and the warps that share it."""

    queries: int
    keys: int
    warps: int
    stages: int


def launch_of(tokens: int, dtype: torch.dtype) -> Launch:
    """Cut for windows of ``tokens`` tokens: 49 are one block, 144 are 3×64 queries by 5×32 keys."""
    if tokens <= 16:
        return Launch(16, 16, 1, 1)
    if tokens <= 64:
        return Launch(64, 64, 4, 1)
    return Launch(64, 32, 4, 2 if dtype.itemsize == 2 else 1)


@triton.jit
def _place(i, top, left, height, width, rows, columns, SIZE: tl.constexpr, SHIFT: tl.constexpr):
    """Row and column in the map of token ``i`` of a window, before the shift."""
    y = top * SIZE + i // SIZE + SHIFT
    x = left * SIZE + i % SIZE + SHIFT
    y = tl.where(y >= rows * SIZE, y - rows * SIZE, y)
    x = tl.where(x >= columns * SIZE, x - columns * SIZE, x)
    return y, x


@triton.jit
def _read(rows_of, fallback, token, there, part, stride, DIM: tl.constexpr, BLOCK_D: tl.constexpr):
    """One head's share of some tokens; that of padded ones is ``fallback``."""
    d = tl.arange(0, BLOCK_D)
    inside = d < DIM
    values = tl.load(
        rows_of + token[:, None] * stride + part + d[None, :],
        mask=there[:, None] & inside[None, :],
        other=0.0,
    )
    padded = tl.load(fallback + part + d, mask=inside, other=0.0)
    return tl.where(there[:, None], values, padded[None, :])


@triton.jit
def _attend(
    qkv,
    padded,
    bias,
    out,
    height,
    width,
    rows,
    columns,
    heads,
    scale,
    SIZE: tl.constexpr,
    SHIFT: tl.constexpr,
    DIM: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    TOKENS: tl.constexpr = SIZE * SIZE
    window = tl.program_id(0) // heads
    head = tl.program_id(0) % heads
    photo = window // (rows * columns)
    top = (window // columns) % rows
    left = window % columns
    channels = heads * DIM
    first = photo.to(tl.int64) * height * width

    i = tl.program_id(1) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    y, x = _place(i, top, left, height, width, rows, columns, SIZE, SHIFT)
    own = (i < TOKENS) & (y < height) & (x < width)
    token = first + y * width + x
    q = _read(qkv, padded, token, own, head * DIM, 3 * channels, DIM, BLOCK_D)
    i_below = (i // SIZE >= SIZE - SHIFT).to(tl.int32)
    i_beyond = (i % SIZE >= SIZE - SHIFT).to(tl.int32)

    top_value = tl.full([BLOCK_Q], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_Q], tl.float32)
    mixed = tl.zeros([BLOCK_Q, BLOCK_D], tl.float32)
    for start in range(0, TOKENS, BLOCK_K):
        j = start + tl.arange(0, BLOCK_K)
        key_y, key_x = _place(j, top, left, height, width, rows, columns, SIZE, SHIFT)
        there = (j < TOKENS) & (key_y < height) & (key_x < width)
        key_token = first + key_y * width + key_x
        part = channels + head * DIM
        k = _read(qkv, padded, key_token, there, part, 3 * channels, DIM, BLOCK_D)
        v = _read(qkv, padded, key_token, there, part + channels, 3 * channels, DIM, BLOCK_D)
        both = (i < TOKENS)[:, None] & (j < TOKENS)[None, :]
        position = tl.load(
            bias + (head * TOKENS + i[:, None]) * TOKENS + j[None, :], mask=both, other=0.0
        ).to(tl.float32)
        logits = tl.dot(q, tl.trans(k), input_precision="ieee") * scale + position
        if SHIFT:
            j_below = (j // SIZE >= SIZE - SHIFT).to(tl.int32)
            j_beyond = (j % SIZE >= SIZE - SHIFT).to(tl.int32)
            apart = (top == rows - 1) & (i_below[:, None] != j_below[None, :])
            apart = apart | ((left == columns - 1) & (i_beyond[:, None] != j_beyond[None, :]))
            logits = tl.where(apart, logits + OUTSIDE, logits)
        logits = tl.where((j < TOKENS)[None, :], logits * LOG2_E, float("-inf"))
        higher = tl.maximum(top_value, tl.max(logits, 1))
        weights = tl.exp2(logits - higher[:, None])
        fade = tl.exp2(top_value - higher)
        total = total * fade + tl.sum(weights, 1)
        mixed = tl.dot(weights.to(v.dtype), v, mixed * fade[:, None], input_precision="ieee")
        top_value = higher

    d = tl.arange(0, BLOCK_D)
    tl.store(
        out + token[:, None] * channels + head * DIM + d[None, :],
        (mixed / total[:, None]).to(out.dtype.element_ty),
        mask=own[:, None] & (d < DIM)[None, :],
    )


def window_attention(
    qkv: Tensor,
    padded: Tensor,
    bias: Tensor,
    shape: tuple[int, int, int],
    size: int,
    shift: int,
    launch: Launch | None = None,
) -> Tensor:
    """Attend inside windows of ``size``×``size`` tokens.

    ``qkv``: N·H·W×3C rows, queries, keys and values one after another, each head by head;
    ``padded``: 3C, the row of a token that padding made; ``bias``: heads×size²×size², what is added
    to the scaled logits; ``shape``: (N, H, W). Returns N·H·W×C in the dtype of ``qkv``, tokens in
    the order of the map.
    """
    n, height, width = shape
    heads, tokens = bias.shape[:2]
    channels = qkv.shape[1] // 3
    dim = channels // heads
    cut = launch or launch_of(tokens, qkv.dtype)
    rows, columns = -(-height // size), -(-width // size)
    out = qkv.new_empty(len(qkv), channels)
    grid = (n * rows * columns * heads, triton.cdiv(tokens, cut.queries))
    _attend[grid](
        qkv.contiguous(),
        padded.to(qkv.dtype).contiguous(),
        bias.contiguous(),
        out,
        height,
        width,
        rows,
        columns,
        heads,
        dim**-0.5,
        SIZE=size,
        SHIFT=shift,
        DIM=dim,
        BLOCK_Q=cut.queries,
        BLOCK_K=cut.keys,
        BLOCK_D=max(16, triton.next_power_of_2(dim)),
        num_warps=cut.warps,
        num_stages=cut.stages,
        enable_fp_fusion=True,  # the default, and Triton warns where it is not said
    )
    return out
