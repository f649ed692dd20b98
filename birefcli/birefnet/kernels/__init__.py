"""Fused kernels for NVIDIA's GPUs, each with a plain twin in torch that other devices run.

Triton is imported where a kernel is launched, never before. ``BIREFCLI_KERNELS=plain`` leaves all
of them out. Where one cannot be compiled (an old GPU, no compiler), the plain twin takes over for
good, with one warning in the log.
"""

import logging
import os
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec

import torch
from torch import Tensor

LOGGER = logging.getLogger(__name__)
SWITCH = "BIREFCLI_KERNELS"
OLDEST = (8, 0)  # compute capability; Triton has no matrix instructions for GPUs before Ampere
failed: set[str] = set()
"""Names of the kernels that were given up."""


def usable(x: Tensor) -> bool:
    """Whether ``x`` is where the kernels run, in a mode that they serve: they have no gradients."""
    if not x.is_cuda or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    return os.environ.get(SWITCH, "triton") != "plain" and _served(x.device)


@lru_cache
def _served(device: torch.device) -> bool:
    # torch for Windows and for some GPUs comes without Triton; AMD's GPUs are not tried.
    if torch.version.cuda is None or find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(device) >= OLDEST


def attempt(name: str, fused: Callable[[], Tensor], plain: Callable[[], Tensor]) -> Tensor:
    """Result of ``fused``, or of its plain twin where ``fused`` failed before or fails now.

    Lack of memory says nothing about a kernel and is passed on.
    """
    if name in failed:
        return plain()
    try:
        return fused()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        failed.add(name)
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        LOGGER.warning("%s: the fused kernel fails, plain torch is used (%s)", name, reason)
        return plain()


def forget_failures() -> None:
    """Let every kernel be tried again."""
    failed.clear()
