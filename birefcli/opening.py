"""From a model's name to a network that is ready to matte: one way for everything that has one."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from birefcli import hub, zoo
from birefcli.options import Options, PatchOrder, Precision

if TYPE_CHECKING:
    from birefcli.devices import Compute
    from birefcli.matting import Matter
    from birefcli.weights import Checkpoint


@dataclass(frozen=True)
class Opened:
    """A network on its device, and where its weights come from."""

    matter: "Matter"
    checkpoint: "Checkpoint"


def open_model(
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
) -> Opened:
    """Find a model, download it if need be, and load it on a device.

    ``model``: a name of the zoo, or a weights file; ``size``: the network's input as (width,
    height) in pixels, None for the model's own; ``progress`` shows how far a download is, and
    ``compiled`` and ``tell`` are those of :class:`birefcli.matting.Matter`. Raises DeviceError
    before anything is loaded, and ModelError.
    """
    read_ahead(model)
    from birefcli import devices, weights

    compute = devices.choose(device, precision)
    checkpoint = weights.resolve(model, offline=offline, progress=progress)
    return Opened(_on(compute, checkpoint, size, patch_order, compiled, tell), checkpoint)


def matter(options: Options, checkpoint: "Checkpoint", tell: Callable[[str], None]) -> "Matter":
    """Open weights that are found already on ``options.device``. Raises DeviceError, ModelError.

    ``tell`` hears what takes its time, in a few words, and ``""`` when it is over.
    """
    from birefcli import devices

    compute = devices.choose(options.device, options.precision)
    return _on(compute, checkpoint, options.size, options.patch_order, options.compiled, tell)


def _on(
    compute: "Compute",
    checkpoint: "Checkpoint",
    size: tuple[int, int] | None,
    patch_order: PatchOrder,
    compiled: bool,
    tell: Callable[[str], None],
) -> "Matter":
    from birefcli import weights
    from birefcli.matting import Matter

    network = weights.load(checkpoint, patch_order=patch_order)
    return Matter(network, size or checkpoint.size, compute, compiled=compiled, tell=tell)


def read_ahead(model: str) -> None:
    """Let the disk bring the weights into memory while torch is imported and the photo decoded."""
    if not hasattr(os, "posix_fadvise"):  # Linux has it
        return
    if zoo.is_file(model):
        path: Path | None = Path(model)
    else:
        known = zoo.lookup(model)
        path = zoo.MINI_FILE if known.bundled else hub.cached(known)
    if path is None:
        return
    with contextlib.suppress(OSError), path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)
