"""Weights files: what is known of one, reading it, and building its network strictly from it.

Which order the image patches were stacked in cannot be seen in a file (see
:class:`birefcli.models.zoo.Model`). It is known for the published files, which are recognised by
their SHA-256 under any name, and for files that say so themselves, as all do that this program
saves. For the rest it is taken to be ``channels``: a file that is neither is most likely somebody's
own training, and the author's code has trained that way since November 2024. Older files of the
author's that were converted to another format or precision need the patch order ``columns``.
"""

import dataclasses
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from birefcli.birefnet import STRIDE, SWIN_L, SWIN_T, BiRefNet, Config
from birefcli.errors import Message, ModelError, Option, OutputError
from birefcli.models import checksum, files, hub, stored, zoo
from birefcli.models.locate import Place, locate
from birefcli.models.reading import check_finite, plain_names, read
from birefcli.models.zoo import Model
from birefcli.options import LONGEST, PatchOrder, Size
from birefcli.system.atomic import replacing
from birefcli.system.paths import absence, exists, is_file

DEFAULT_SIZE = Size(1024, 1024)
"""Input (width, height) in pixels for a file that does not say: what nearly all were trained at."""

# Metadata of the files this program saves; every value is JSON.
CONFIG_KEY = "birefcli.config"
SIZE_KEY = "birefcli.size"
PATCH_ORDER_KEY = "birefcli.patch_order"

_PATCH_WEIGHT = re.compile(r"decoder\.ipt_blk[2-5]\.conv1\.weight")
_BACKBONE_NAME = re.compile(r"[A-Za-z0-9_.]+")
_PROJECTION = "bb.patch_embed.proj.weight"  # its shape tells the published backbones apart
_PUBLISHED = {192: SWIN_L, 96: SWIN_T}
_NAMED = 3  # how many tensors a message names before it only counts


@dataclass(frozen=True)
class Checkpoint:
    """What is known of weights before the network is built."""

    name: str
    """``portrait``, or the name of the user's file."""
    path: Path
    size: Size
    """Input."""
    patch_order: PatchOrder
    """Never ``AUTO``."""
    sha256: str
    """Of the whole file, in hex: two results with the same one were made with the same weights."""
    patch_order_known: bool = True
    """False where ``patch_order`` is the assumption for unknown files."""

    def run_with(
        self, *, size: Size | None = None, patch_order: PatchOrder = PatchOrder.AUTO
    ) -> "Checkpoint":
        """The same weights at another input size, or in another patch order, where one is given."""
        if patch_order is PatchOrder.AUTO:
            return dataclasses.replace(self, size=size or self.size)
        return dataclasses.replace(
            self, size=size or self.size, patch_order=patch_order, patch_order_known=True
        )


def resolve(model: str, *, offline: bool = False, progress: bool = True) -> Checkpoint:
    """Weights on this machine, downloaded and verified if need be.

    ``model``: a name of the zoo, a file, or an object of a store. Raises ModelError.
    """
    found = locate(model)
    if found.url is not None:
        return _own(stored.fetch(found.url, offline=offline, progress=progress))
    if found.model is None:
        assert found.path is not None, "a file of the user's has a place"
        return _own(found.path)
    if found.place is Place.BUNDLED:
        return _shipped(found.model)
    path = hub.fetch(found.model, offline=offline, progress=progress)
    return _published(found.model, found.model.name, path)


def load_network(checkpoint: Checkpoint, *, dtype: torch.dtype = torch.float32) -> BiRefNet:
    """The network with these weights: on the CPU, in eval mode, its numbers in ``dtype``.

    Raises ModelError unless the file holds exactly the tensors that the network has.
    """
    path = checkpoint.path
    with files.naming(path):
        tensors, metadata = read(path)
        network = _on_meta(path, _config(path, tensors, metadata))
        _check(path, network, tensors)
        if not any(model.sha256 == checkpoint.sha256 for model in zoo.ZOO.values()):
            check_finite(path, tensors)
        if checkpoint.patch_order is PatchOrder.COLUMNS:
            tensors = {
                key: columns_to_channels(value) if _PATCH_WEIGHT.fullmatch(key) else value
                for key, value in tensors.items()
            }
        weights = {
            key: value.to(dtype) if value.is_floating_point() else value
            for key, value in tensors.items()
        }
        return _filled(network, weights).eval()


def save(
    network: nn.Module,
    path: Path,
    *,
    config: Config,
    size: Size,
    dtype: torch.dtype = torch.float16,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write the weights as safetensors, with all that is needed to run them in the metadata.

    ``size`` is the input's (width, height) the network was trained for, ``metadata`` anything else
    to keep. A file at ``path`` is replaced only by a complete one. Raises ModelError for weights
    that do not fit ``dtype``, OutputError if the file cannot be written.
    """
    names = plain_names(path, dict(network.state_dict()))
    tensors = {key: _storable(key, value, dtype) for key, value in names.items()}
    header = {
        **(metadata or {}),
        "format": "pt",
        CONFIG_KEY: json.dumps(dataclasses.asdict(config)),
        SIZE_KEY: json.dumps(list(size)),
        PATCH_ORDER_KEY: json.dumps(PatchOrder.CHANNELS.value),
    }
    try:
        with replacing(path) as part:
            part.touch()
            mode = part.stat().st_mode  # what the user's umask gives; safetensors makes it private
            save_file(tensors, part, header)
            _sort_metadata(part)
            part.chmod(mode)
    except (OSError, safetensors.SafetensorError) as error:
        raise OutputError(f"{path}: cannot be written ({error})") from error


def _sort_metadata(path: Path) -> None:
    """Put the metadata of a safetensors file in order, so that equal weights are equal files.

    safetensors writes it as its hash table has it, which differs from process to process.
    """
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= length:
            file.seek(8)
            file.write(text.ljust(length))  # readers skip spaces


def columns_to_channels(weight: Tensor) -> Tensor:
    """A patch convolution trained on (column, row, colour), for patches in (colour, row, column).

    ``weight``: out × (3·g·g) × k × k, where g is the number of patches along each side.
    """
    out, channels, high, wide = weight.shape
    grid = math.isqrt(channels // 3)
    by_patch = weight.reshape(out, grid, grid, 3, high, wide)
    return by_patch.permute(0, 3, 2, 1, 4, 5).reshape(weight.shape)


# What is known of a file


def _shipped(model: Model) -> Checkpoint:
    path = zoo.MINI_FILE
    if not is_file(path):
        raise ModelError(f"{model.name}: {path} is missing; install birefcli again")
    with files.naming(path):
        digest = checksum.sha256_of(path)
    return Checkpoint(model.name, path, model.size, model.patch_order, digest)


def _published(model: Model, name: str, path: Path) -> Checkpoint:
    return Checkpoint(name, path, model.size, model.patch_order, str(model.sha256))


def _own(path: Path) -> Checkpoint:
    if not exists(path):
        known = zoo.by_repo(str(path))
        hint = Message("`", Option("model", known.name), "` is that model") if known else None
        raise ModelError(f"{path}: {absence(path, 'weights file')}", hint=hint)
    notes = files.notes_of(path)
    with files.naming(path):
        digest = checksum.sha256_of(path)
        size_bytes = path.stat().st_size
    for model in zoo.ZOO.values():
        if (model.size_bytes, model.sha256) == (size_bytes, digest):
            return _published(model, path.name, path)
    size = _noted_size(path, notes)
    if PATCH_ORDER_KEY not in notes:
        return Checkpoint(path.name, path, size, PatchOrder.CHANNELS, digest, False)
    order = _noted(notes[PATCH_ORDER_KEY])
    if order not in (PatchOrder.CHANNELS.value, PatchOrder.COLUMNS.value):
        text = files.shown(notes[PATCH_ORDER_KEY])
        raise ModelError(f"{path}: its metadata has no such patch order: {text}")
    return Checkpoint(path.name, path, size, PatchOrder(order), digest)


def _noted(text: str) -> Any:  # noqa: ANN401 - any value of JSON
    """A value of the metadata; None where it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _noted_size(path: Path, notes: Mapping[str, str]) -> Size:
    if SIZE_KEY not in notes:
        return DEFAULT_SIZE
    sides = _noted(notes[SIZE_KEY])
    if not _are_whole(sides, 2, LONGEST) or any(side % STRIDE for side in sides):
        raise ModelError(
            f"{path}: its input size {files.shown(notes[SIZE_KEY])} is no width and height in "
            f"multiples of {STRIDE} up to {LONGEST}; save it again"
        )
    return Size(*sides)


def _are_whole(values: object, count: int, largest: int) -> bool:
    """Whether these are as many whole numbers from 1 to the largest."""
    return (
        isinstance(values, list | tuple)
        and len(values) == count
        and all(type(value) is int and 1 <= value <= largest for value in values)
    )


# Building


def _config(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Config:
    if CONFIG_KEY in metadata:
        return _noted_config(path, metadata[CONFIG_KEY])
    projection = tensors.get(_PROJECTION)
    if projection is None or projection.ndim == 0 or projection.shape[0] not in _PUBLISHED:
        first = files.shown(next(iter(tensors), "none"))
        raise ModelError(
            f"{path}: not a BiRefNet checkpoint of a known architecture "
            f"({len(tensors)} tensors, the first is {first})"
        )
    return _PUBLISHED[projection.shape[0]]


def _noted_config(path: Path, text: str) -> Config:
    try:
        config = Config(**_noted(text))
        plain = _is_plain(config)
    except TypeError:  # no table, or one of other names
        plain = False
    if not plain:
        raise ModelError(
            f"{path}: this birefcli does not know its architecture ({files.shown(text)}); "
            "a newer one may have made it"
        )
    return config


def _is_plain(config: Config) -> bool:
    """Whether a network of a sensible size can be built from this: seconds, not hours."""
    # timm would take some names for addresses and go to the network for them.
    named = isinstance(config.backbone, str) and bool(_BACKBONE_NAME.fullmatch(config.backbone))
    widths = (config.width, config.aspp_width, config.gradient_width)
    kernels = config.kernels
    decoder = _are_whole(widths, 3, 4096) and _are_whole(kernels, min(len(kernels), 16), 64)
    if not (named and decoder):
        return False
    if config.backbone != "swin":
        return True
    windows = _are_whole((config.channels, config.window), 2, 4096) and config.window <= 64
    return windows and _are_whole(config.depths, 4, 100) and _are_whole(config.heads, 4, 1024)


def _check(path: Path, network: BiRefNet, tensors: Mapping[str, Tensor]) -> None:
    """Compare names, shapes and kinds with the network's; ModelError that lists what is wrong."""
    expected = network.state_dict()
    both = expected.keys() & tensors.keys()
    faults = {
        "missing": [key for key in expected if key not in tensors],
        "unexpected": [key for key in tensors if key not in expected],
        "of the wrong shape": [
            f"{key} is {_shape(tensors[key])} instead of {_shape(expected[key])}"
            for key in expected
            if key in both and tensors[key].shape != expected[key].shape
        ],
        "of the wrong type": [
            f"{key} is {tensors[key].dtype} instead of {expected[key].dtype}"
            for key in expected
            if key in both and tensors[key].is_floating_point() != expected[key].is_floating_point()
        ],
    }
    if any(faults.values()):
        listed = "; ".join(f"{len(v)} {kind}: {_some(v)}" for kind, v in faults.items() if v)
        raise ModelError(f"{path}: does not fit BiRefNet with {network.config.title}: {listed}")


def _some(items: Sequence[str]) -> str:
    more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return ", ".join(map(files.shown, items[:_NAMED])) + more


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a single number"


def _on_meta(path: Path, config: Config) -> BiRefNet:
    """The network without memory: names and shapes only."""
    try:
        with torch.device("meta"):
            return BiRefNet(config)
    except ImportError:
        raise
    except Exception as error:  # what timm and torch raise for numbers that do not fit
        given, reason = files.shown(str(config)), files.first_line(error)
        raise ModelError(f"{path}: no network can be built from {given}: {reason}") from error


def _filled(network: BiRefNet, weights: dict[str, Tensor]) -> BiRefNet:
    """The network around these very tensors: no second copy, no time lost on random numbers."""
    network.load_state_dict(weights, strict=True, assign=True)
    if any(tensor.is_meta for tensor in network.buffers()):
        # Some timm backbones compute buffers that they do not save: let them.
        network = BiRefNet(network.config)
        network.load_state_dict(weights, strict=True, assign=True)
    return network


def _storable(key: str, value: Tensor, dtype: torch.dtype) -> Tensor:
    stored = value.detach().cpu()
    if stored.is_floating_point():
        stored = stored.to(dtype)
        if not stored.isfinite().all():
            raise ModelError(f"weights cannot be saved as {dtype}: {key} is not finite there")
    return stored.contiguous().clone()
