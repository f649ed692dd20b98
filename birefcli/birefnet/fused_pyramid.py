"""The deformable pyramid as its fused kernel takes it: weights packed once, then launched."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from birefcli.birefnet.batch_norm import folded
from birefcli.birefnet.deform import DeformableConv
from birefcli.birefnet.kernels import deformable


class Branch(Protocol):
    """One scale of the pyramid, see :class:`birefcli.birefnet.aspp.PyramidBranch`."""

    atrous_conv: DeformableConv
    bn: nn.BatchNorm2d


class Pyramid(Protocol):
    """What is packed of a pyramid, see :class:`birefcli.birefnet.aspp.DeformableASPP`."""

    global_avg_pool: nn.Sequential
    conv1: nn.Conv2d
    bn1: nn.BatchNorm2d

    @property
    def branches(self) -> Sequence[Branch]:
        """Of all scales."""

    def parameters(self) -> Iterable[Tensor]:
        """All weights."""


ALIGNED = 8  # channels; other counts cost cuDNN a copy


@dataclass(frozen=True)
class _Moves:
    """The convolutions that predict a branch's offsets and modulation, as one, in float32."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class _Pyramid:
    branches: list[deformable.Branch]
    moves: list[_Moves]
    pooled: Tensor
    """O×W, float32: the last convolution's share of the global average."""
    scale: Tensor
    shift: Tensor


_packed: "WeakKeyDictionary[Pyramid, tuple[object, _Pyramid]]" = WeakKeyDictionary()


def pyramid(module: Pyramid, x: Tensor) -> Tensor:
    """Compute the forward pass of a pyramid in eval mode with the fused kernel.

    ``x``: N×C×H×W, floating; the same shape and dtype come back. Raises what Triton raises where
    the kernel cannot be compiled.
    """
    pack = _pack(module, x)
    start = module.global_avg_pool(x).float().flatten(1) @ pack.pooled.T
    moves = [_predict(moves, x) for moves in pack.moves]
    return deformable.pyramid(x, pack.branches, moves, start, pack.scale, pack.shift)


def _pack(module: Pyramid, x: Tensor) -> _Pyramid:
    key = (x.dtype, *((p.data_ptr(), _version(p)) for p in module.parameters()))
    known = _packed.get(module)
    if known is None or known[0] != key:
        known = (key, _make_pack(module, x.dtype))
        _packed[module] = known
    return known[1]


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _make_pack(module: Pyramid, dtype: torch.dtype) -> _Pyramid:
    scale, shift = folded(module.bn1)
    *parts, pooled = module.conv1.weight[:, :, 0, 0].chunk(len(module.branches) + 1, 1)
    return _Pyramid(
        [_branch(b, part, dtype) for b, part in zip(module.branches, parts, strict=True)],
        [_moves(b.atrous_conv) for b in module.branches],
        pooled.float(),
        scale,
        shift,
    )


def _branch(branch: Branch, part: Tensor, dtype: torch.dtype) -> deformable.Branch:
    weight = branch.atrous_conv.regular_conv.weight
    taps = weight.permute(2, 3, 1, 0).reshape(-1, weight.shape[1], weight.shape[0])
    scale, shift = folded(branch.bn)
    return deformable.Branch(
        taps.to(dtype).contiguous(), scale, shift, part.T.to(dtype).contiguous()
    )


def _moves(conv: DeformableConv) -> _Moves:
    both = (conv.offset_conv, conv.modulator_conv)
    weight = torch.cat([c.weight.float() for c in both])
    bias = torch.cat([cast("Tensor", c.bias).float() for c in both])
    more = -len(weight) % ALIGNED
    weight = F.pad(weight, (0, 0, 0, 0, 0, 0, 0, more))
    return _Moves(weight.contiguous(memory_format=torch.channels_last), F.pad(bias, (0, more)))


def _predict(moves: _Moves, x: Tensor) -> Tensor:
    """Offsets and modulation logits, float32 N×H×W×channels.

    In half precision an offset of eight pixels would be off by up to 0.004 of one. Features of 16
    bits lose nothing in TF32, which has as many bits of fraction as float16: products are exact
    and sums float32, at nearly the speed of half precision.
    """
    exact = x.dtype.itemsize == 2
    image = x.to(torch.float32, memory_format=torch.channels_last)
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=torch.backends.cudnn.benchmark, allow_tf32=exact
    ):
        out = F.conv2d(image, moves.weight, moves.bias, padding=moves.weight.shape[-1] // 2)
    return out.permute(0, 2, 3, 1).contiguous()
