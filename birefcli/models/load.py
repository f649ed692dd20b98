"""From a model's name to a network that is ready to matte: one way for everything that has one."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from birefcli.errors import ModelError
from birefcli.models import checksum, stored
from birefcli.models.files import notes_of
from birefcli.models.locate import locate
from birefcli.options import ModelOptions
from birefcli.system.object_url import ObjectUrl
from birefcli.system.regular_file import open_regular

if TYPE_CHECKING:
    from birefcli.matting.device import Placement
    from birefcli.matting.predictor import Predictor
    from birefcli.models.weights import Checkpoint


@dataclass(frozen=True)
class LoadedModel:
    """A network on its device, and where its weights come from."""

    predictor: "Predictor"
    checkpoint: "Checkpoint"


def load_model(
    options: ModelOptions,
    *,
    progress: bool = False,
    on_state: Callable[[str], None] = lambda _: None,
) -> LoadedModel:
    """Find a model, download it if need be, and load it on a device.

    ``progress`` shows on stderr how far a download is; ``on_state`` is that of
    :func:`load_predictor`. Raises UsageError and DeviceError before anything is loaded, and
    ModelError.
    """
    prefetch_weights(options.name)
    from birefcli.matting.device import parse_device
    from birefcli.models import weights

    placement = parse_device(options.device, options.precision)
    checkpoint = weights.resolve(options.name, offline=options.offline, progress=progress)
    return LoadedModel(load_predictor(options, checkpoint, placement, on_state), checkpoint)


def load_predictor(
    options: ModelOptions,
    checkpoint: "Checkpoint",
    placement: "Placement",
    on_state: Callable[[str], None] = lambda _: None,
) -> "Predictor":
    """Load weights that are on this machine onto a device. Raises ModelError.

    ``on_state`` is called with what takes its time, in a few words, and ``""`` when it is over.
    """
    from birefcli.matting.predictor import Predictor
    from birefcli.models import weights

    used = checkpoint.run_with(size=options.size, patch_order=options.patch_order)
    return Predictor(
        weights.load_network(used),
        used.size,
        placement,
        cuda_graph=options.compile,
        edges=options.edges,
        on_state=on_state,
    )


def prefetch_weights(model: str) -> None:
    """Let the disk bring the weights into memory while torch is imported and the photo decoded."""
    if not hasattr(os, "posix_fadvise"):  # Linux has it
        return
    path = locate(model).path
    if path is None:
        return
    with contextlib.suppress(OSError, ValueError), open_regular(path) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def identify_weights(
    options: ModelOptions, *, progress: bool = False, download: bool = True
) -> str:
    """What tells a model's weights from others, without loading them: SHA-256 (hex).

    Empty where that cannot be told: loading them says what is wrong. Those in a store are
    downloaded, and ``progress`` shows on stderr how far that is; without ``download`` those of
    which there is no copy cannot be told. Raises ModelError for a name that nobody knows, and for
    an object that cannot be had.
    """
    found = locate(options.name)
    if found.url is not None:
        return _identify_stored(found.url, options, progress=progress, download=download)
    if found.model is not None and found.model.sha256 is not None:
        return found.model.sha256
    assert found.path is not None, "a published model has a checksum"
    try:
        notes_of(found.path)  # it is what it may be: not 100 GB of anything
        return checksum.sha256_of(found.path)
    except (OSError, ModelError):
        return ""


def _identify_stored(
    url: ObjectUrl, options: ModelOptions, *, progress: bool, download: bool
) -> str:
    path: Path | None
    if download:
        path = stored.fetch(url, offline=options.offline, progress=progress)
    else:
        path = stored.glance(url, offline=options.offline).path
    return "" if path is None else checksum.sha256_of(path)
