"""From a model's name to a network that is ready to matte: one way for everything that has one."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from birefcli.models import zoo
from birefcli.models.cache import cached
from birefcli.options import Options, PatchOrder, Precision

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
    model: str,
    *,
    size: tuple[int, int] | None = None,
    patch_order: PatchOrder = PatchOrder.AUTO,
    offline: bool = False,
    device: str = "auto",
    precision: Precision = Precision.AUTO,
    compiled: bool = False,
    progress: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> LoadedModel:
    """Find a model, download it if need be, and load it on a device.

    ``model``: a name of the zoo, or a weights file; ``size``: the network's input as (width,
    height) in pixels, None for the model's own; ``progress`` shows how far a download is, and
    ``compiled`` and ``tell`` are those of :class:`.predictor.Predictor`. Raises DeviceError before
    anything is loaded, and ModelError.
    """
    prefetch_weights(model)
    from birefcli.matting.device import parse_device
    from birefcli.models import weights

    placement = parse_device(device, precision)
    checkpoint = weights.resolve(model, offline=offline, progress=progress)
    return LoadedModel(_on(placement, checkpoint, size, patch_order, compiled, tell), checkpoint)


def load_predictor(
    options: Options, checkpoint: "Checkpoint", tell: Callable[[str], None]
) -> "Predictor":
    """Open weights that are found already on ``options.device``. Raises DeviceError, ModelError.

    ``tell`` hears what takes its time, in a few words, and ``""`` when it is over.
    """
    from birefcli.matting.device import parse_device

    placement = parse_device(options.device, options.precision)
    return _on(placement, checkpoint, options.size, options.patch_order, options.compiled, tell)


def _on(
    placement: "Placement",
    checkpoint: "Checkpoint",
    size: tuple[int, int] | None,
    patch_order: PatchOrder,
    compiled: bool,
    tell: Callable[[str], None],
) -> "Predictor":
    from birefcli.matting.predictor import Predictor
    from birefcli.models import weights

    network = weights.load_network(checkpoint, patch_order=patch_order)
    return Predictor(network, size or checkpoint.size, placement, compiled=compiled, tell=tell)


def prefetch_weights(model: str) -> None:
    """Let the disk bring the weights into memory while torch is imported and the photo decoded."""
    if not hasattr(os, "posix_fadvise"):  # Linux has it
        return
    if zoo.is_file(model):
        path: Path | None = Path(model)
    else:
        known = zoo.lookup(model)
        path = zoo.MINI_FILE if known.bundled else cached(known)
    if path is None:
        return
    with contextlib.suppress(OSError), path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)
