"""Tensors of a weights file, by their names in the network; wrappers of training are taken off."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import safetensors
import torch
from torch import Tensor

from birefcli.errors import ModelError
from birefcli.models import files, pickled

# Added by DistributedDataParallel and torch.compile, anywhere; by Lightning and people, in front.
_PREFIXES = re.compile(
    r"^(?:(?:model|net|network|birefnet|state_dict|module|_orig_mod)\.)+"
    r"|(?<=\.)(?:module|_orig_mod)\."
)
_CONTAINERS = ("model", "state_dict", "model_state_dict", "net", "network", "params", "weights")
_OF_A_TRAINING = {"network", "averaged", "optimiser", "step"}
"""Keys of what this program's training is resumed from."""


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, as stored and mapped from the file where possible, and its text metadata.

    Reads safetensors and the files of ``torch.save``. Wrappers around the weights and prefixes
    that training adds to the names are taken off. Raises ModelError, whatever is in the file.
    """
    notes = files.notes_of(path)
    with files.naming(path):
        with path.open("rb") as file:
            start = file.read(9)
        if files.is_safetensors(path, start):
            return plain_names(path, _of_safetensors(path)), notes
        return plain_names(path, _unwrapped(path, pickled.load(path))), notes


def plain_names(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by their names without prefixes. Raises ModelError where two have one name."""
    plain = {_PREFIXES.sub("", key): value for key, value in tensors.items()}
    if len(plain) != len(tensors):
        raise ModelError(f"{path}: holds two sets of weights, with and without a prefix")
    return plain


def check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise ModelError for numbers from which no matte can come."""
    for key, value in tensors.items():
        if value.is_floating_point() and value.numel():
            ends = torch.stack(value.float().aminmax())
            if not ends.isfinite().all():
                raise ModelError(f"{path}: holds numbers that are not finite ({files.shown(key)})")


def _of_safetensors(path: Path) -> dict[str, Tensor]:
    with safetensors.safe_open(path, framework="pt") as file:
        return {key: cast(Tensor, file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118 - not a dict


def _unwrapped(path: Path, content: object) -> dict[str, Tensor]:
    if isinstance(content, dict) and content.keys() >= _OF_A_TRAINING:
        raise ModelError(
            f"{path}: what a training goes on from, not its weights; those are best.safetensors "
            "beside it, and the file that the training ends with"
        )
    for _ in range(5):  # containers in containers; a damaged file can hold itself
        if not isinstance(content, dict):
            break
        if content and all(map(_is_named_tensor, content, content.values())):
            return content
        inner = [content[key] for key in _CONTAINERS if isinstance(content.get(key), dict)]
        if not inner:
            break
        content = inner[0]
    raise ModelError(f"{path}: not a BiRefNet checkpoint (holds no table of tensors)")


def _is_named_tensor(key: object, value: object) -> bool:
    """Whether an entry is a tensor of numbers in memory: no sparse, quantised or empty shell."""
    return (
        isinstance(key, str)
        and isinstance(value, Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        and not value.is_nested
    )
