"""From trained weights to a file: statistics that half precision can hold."""

import copy
import math
from pathlib import Path

import torch

from birefcli.birefnet import BiRefNet
from birefcli.birefnet.decoder import BasicBlock
from birefcli.models import weights
from birefcli.options import Size

LARGEST = 4096.0
"""Variance that a stored batch norm may have: fp16 ends at 65,504, and the features whose variance
it is must fit as well."""

FP16_MAX = torch.finfo(torch.float16).max


def save_weights(network: BiRefNet, path: Path, size: Size) -> None:
    """Write safetensors for an input of ``size``; ``network`` is unchanged.

    In fp16, or in fp32 where a number does not fit that. Raises what
    :func:`birefcli.models.weights.save` raises.
    """
    stored = copy.deepcopy(network).cpu()
    rescale_norms(stored)
    fits = all(t.abs().max() <= FP16_MAX for t in stored.state_dict().values() if t.numel())
    dtype = torch.float16 if fits else torch.float32
    weights.save(stored, path, config=network.config, size=size, dtype=dtype)


def rescale_norms(network: BiRefNet) -> None:
    """Scale down, in place, convolutions of the decoder; in eval mode the output is the same.

    The image-patch branches have no norm of their own, so the blocks that read them grow features
    with variances of 1e5. The batch norm behind a convolution cancels its scale: with weights,
    bias and mean times s, and the variance times s², nothing but the share of ε changes (by less
    than fp16 rounds). s is a power of two, which is exact.
    """
    for block in network.modules():
        if not isinstance(block, BasicBlock):
            continue
        norm, conv = block.bn_in, block.conv_in
        assert norm.running_var is not None
        assert norm.running_mean is not None
        assert conv.bias is not None
        excess = float(norm.running_var.max()) / LARGEST
        if excess <= 1:
            continue
        scale = 2.0 ** -math.ceil(math.log2(excess) / 2)
        with torch.no_grad():
            for tensor in (conv.weight, conv.bias, norm.running_mean):
                tensor.mul_(scale)
            norm.running_var.mul_(scale**2)
