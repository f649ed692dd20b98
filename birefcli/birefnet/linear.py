"""Linear layers on a CPU, by oneDNN.

torch gives their products to MKL, which leaves a quarter of an AMD processor's rate unused, and
writes bias and activation in passes of their own. oneDNN, which torch gives convolutions to, does
neither. torch's compiler calls it by the operator that is called here.
"""

import platform
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_AFTER: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": F.relu,
    "gelu": F.gelu,
}


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, then: str = "none") -> Tensor:
    """Compute x·Wᵀ + b and, ``then``, none, relu or gelu of it: …×K to …×N.

    ``weight``: N×K; ``bias``: N; all floating point, of one dtype and device. oneDNN computes
    float32 on a CPU, without gradients; torch everything else. Raises KeyError for another
    ``then``.
    """
    after = _AFTER[then]
    if _fits(x) and _there():
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "none")
        return product
    return after(F.linear(x, weight, bias))


class Linear(nn.Linear):
    """torch's layer, with its parameters."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """…×K to …×N."""
        return linear(input, self.weight, self.bias)


def _fits(x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and torch._C._get_tracing_state() is None  # torch.jit does not know the operator
        and not torch.is_autocast_enabled("cpu")
    )


@cache
def _there() -> bool:
    """Whether this torch has the operator, on x86: on others nobody has measured it."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    one = torch.ones(1, 1)
    try:
        torch.ops.mkldnn._linear_pointwise(one, one, None, "gelu", [], "none")
    except (AttributeError, RuntimeError, TypeError):  # not torch's promise: it may change
        return False
    return True
