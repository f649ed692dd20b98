"""A convolution for inference on a CPU: its norm folded, its activation in its own pass.

A batch norm and an activation that follow a convolution read and write its map once more each.
oneDNN, which torch gives convolutions to, does all three at once; torch's compiler calls it by the
operators that are called here.
"""

import platform
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from birefcli.birefnet.batch_norm import folded

_PACKING = threading.Lock()
"""Photos in threads of their own come to a convolution at once."""
_SCALARS: dict[str, list[float]] = {"none": [], "relu": [], "hardtanh": [0.0, 6.0]}
"""Activations by oneDNN's names, and their bounds: ``hardtanh`` of 0 and 6 is a clipped ReLU."""


class Convolution(nn.Module):
    """A convolution and what follows it, without gradients.

    Maps go through channels last. Where torch has oneDNN's operators, the weight is packed for
    them when a map of another size comes than the last, or another number of threads: which order
    is quick depends on both. Threads may share one.
    """

    weight: Tensor | None
    bias: Tensor

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        then: str = "none",
    ) -> None:
        """``weight``: O×I/groups×k×k; ``bias``: O; ``then``: none, relu or hardtanh (0 to 6)."""
        super().__init__()
        keep(self, weight=weight, bias=bias)
        self._geometry = ([padding, padding], [stride, stride], [1, 1], groups)
        self._then = then
        self._after = (then, _SCALARS[then], "")
        self._packed: Packed | None = None

    @classmethod
    def of(
        cls, conv: nn.Conv2d, norm: nn.BatchNorm2d | None = None, then: str = "none"
    ) -> "Convolution":
        """``conv``, ``norm`` and the activation ``then`` as one; square and not dilated."""
        dtype = conv.weight.dtype
        weight = conv.weight.float()
        bias = weight.new_zeros(len(weight)) if conv.bias is None else conv.bias.float()
        if norm is not None:
            scale, shift = folded(norm)
            weight, bias = weight * scale[:, None, None, None], bias * scale + shift
        stride, padding, groups = conv.stride[0], conv.padding[0], conv.groups
        assert isinstance(padding, int)
        made = weight.to(dtype), bias.to(dtype)
        return cls(*made, stride=stride, padding=padding, groups=groups, then=then)

    def forward(self, x: Tensor, plus: Tensor | None = None) -> Tensor:
        """N×C×H×W to N×O×h×w; ``plus``, N×O×h×w, is added before the activation and overwritten.

        oneDNN adds nothing before a clipped ReLU.
        """
        packed = self._packed
        if packed is None or packed.met != (x.shape, torch.get_num_threads()):
            packed = self._pack(x)
        if packed is None:
            return self._plain(x, plus)
        given = (packed.weight, self.bias, *self._geometry)
        if plus is None:
            return packed.operators.plain(x, *given, *self._after)
        then = None if self._then == "none" else self._then
        return packed.operators.summed(plus, x, *given, "add", 1, then, [], "")

    def _pack(self, x: Tensor) -> "Packed | None":
        """Bring the weight into the order that oneDNN reads; None where it is not used."""
        operators = onednn()
        if operators is None or x.device.type != "cpu" or x.dtype != torch.float32:
            return None
        met = x.shape, torch.get_num_threads()
        with _PACKING:
            before, weight = self._packed, self.weight
            if before is not None:
                if before.met == met:  # another thread came first
                    return before
                weight = before.weight.to_dense()
            packed = operators.packed(weight, *self._geometry, list(x.shape))
            self._packed, self.weight = Packed(operators, packed, met), None
            return self._packed

    def _plain(self, x: Tensor, plus: Tensor | None) -> Tensor:
        padding, stride, _, groups = self._geometry
        assert self.weight is not None
        out = F.conv2d(x, self.weight, self.bias, stride, padding, 1, groups)
        if plus is not None:
            out = plus.add_(out)
        if self._then == "none":
            return out
        return out.relu_() if self._then == "relu" else out.clamp_(*_SCALARS[self._then])


def keep(module: nn.Module, **tensors: Tensor) -> None:
    """Give a module constants that are no part of its state dict."""
    for name, tensor in tensors.items():
        module.register_buffer(name, tensor.detach().contiguous(), persistent=False)


@dataclass(frozen=True)
class Operators:
    """oneDNN's convolutions, as torch's compiler calls them."""

    plain: Callable[..., Tensor]
    summed: Callable[..., Tensor]
    """Adds another map, which it overwrites."""
    packed: Callable[..., Tensor]
    """A weight in the order that the other two read."""


@dataclass(frozen=True)
class Packed:
    """A weight as it was packed for maps of one size and a number of threads."""

    operators: Operators
    weight: Tensor
    met: tuple[torch.Size, int]
    """N×C×H×W of the map, and the threads."""


@cache
def onednn() -> Operators | None:
    """The operators of this torch; None where it lacks one, and but for x86: nobody measured."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return None
    map_, one, geometry = torch.ones(1, 1, 2, 2), torch.ones(1), ([0, 0], [1, 1], [1, 1], 1)
    try:
        ops = torch.ops.mkldnn
        made = Operators(
            ops._convolution_pointwise.default,
            ops._convolution_pointwise_.binary,
            ops._reorder_convolution_weight.default,
        )
        weight = made.packed(torch.ones(1, 1, 1, 1), *geometry, [1, 1, 2, 2])
        made.summed(torch.ones(1, 1, 2, 2), map_, weight, one, *geometry, "add", 1, "relu", [], "")
        made.plain(map_, weight, one, *geometry, "hardtanh", [0.0, 6.0], "")
    except (AttributeError, RuntimeError, TypeError):  # not torch's promise: they may change
        return None
    return made
