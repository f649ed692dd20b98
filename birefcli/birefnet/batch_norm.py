"""Batch norms as what they come to once they are evaluated."""

import torch
from torch import Tensor, nn


def folded(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift, float32, that an evaluated batch norm comes to."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.float() / torch.sqrt(norm.running_var.float() + norm.eps)
    return scale, norm.bias.float() - norm.running_mean.float() * scale
