"""A model as one ONNX file for other programs, compared with torch before it gets its name."""

import errno
import importlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from birefcli.errors import Message, ModelError, Option, OutputError, UsageError
from birefcli.models import zoo
from birefcli.models.zoo import Model
from birefcli.options import PatchOrder, Precision, Size
from birefcli.system import atomic
from birefcli.system.paths import exists, is_folder
from birefcli.system.regular_file import is_free, regular_status

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from birefcli.birefnet import BiRefNet
    from birefcli.matting.predictor import Predictor
    from birefcli.models.onnx_graph import Program
    from birefcli.models.weights import Checkpoint

SUFFIX = ".onnx"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What an export takes beside torch; onnxruntime is what its result is compared in."""
LEAST_RUNTIME = (1, 25)
"""Version of ONNX Runtime that computes DeformConv on a CPU; the one before has no code for it."""
TOLERANCE = 1e-3
"""Largest difference of alpha from torch's with which a file is kept: a quarter of a level of 8
bits. What is right differs by the last digits of float32."""
SEEDS = (0, 2)
"""Of the photos that are compared, each by itself and both at once: mini finds their figures."""
MEGAPIXELS = 0.5  # of such a photo
SOURCE = "BiRefNet (Zheng et al., CAAI AIR 2024), https://github.com/ZhengPeng7/BiRefNet"
"""Whose network it is, as the file says."""


@dataclass(frozen=True)
class ExportTask:
    """What is exported, and where to."""

    model: str
    """A name that ``birefcli models list`` shows, or a weights file."""
    output: Path
    size: Size | None = None
    """The network's input; None for the model's own."""
    patch_order: PatchOrder = PatchOrder.AUTO
    offline: bool = False
    """Use downloaded weights only."""
    logits: bool = False
    """Leave the sigmoid to whoever runs the file."""
    overwrite: bool = False
    """Replace a file of that name."""
    progress: bool = False
    """Show on stderr how far a download is."""


@dataclass(frozen=True)
class ExportedFile:
    """What was written."""

    path: Path
    checkpoint: "Checkpoint"
    """As it was run: at this input size, in this patch order."""
    size_bytes: int
    difference: float
    """Largest difference of alpha from torch's, of all pixels compared."""


Begin = Callable[[str], object]
"""Called with what takes its time next, in a few words."""


def export(task: ExportTask, begin: Begin = lambda _: None) -> ExportedFile:
    """Record a model, write it beside its name, compare it with torch, and give it its name.

    Raises UsageError and OutputError before any work for an output that cannot be, UsageError for
    packages that are missing, ModelError, and OutputError.
    """
    _check_output(task)
    _check_packages()
    from birefcli.models import onnx_graph, weights

    begin("loading the model")
    found = weights.resolve(task.model, offline=task.offline, progress=task.progress)
    checkpoint = found.run_with(size=task.size, patch_order=task.patch_order)
    network = weights.load_network(checkpoint)
    begin("recording the network")
    program = _record(task, checkpoint, network)
    try:
        with _folder_of(task.output), atomic.replacing(task.output) as part:
            begin("writing the file")
            onnx_graph.write(program, part)
            begin("comparing with torch")
            difference = _difference(network, checkpoint.size, part)
            if not difference <= TOLERANCE:  # nor is what is no number
                raise ModelError(
                    f"{checkpoint.name}: in ONNX Runtime alpha differs from torch's by up to"
                    f" {difference:.2g}, and {TOLERANCE:g} is allowed; nothing was written"
                )
            size_bytes = part.stat().st_size
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{task.output}: cannot be written ({reason})") from error
    return ExportedFile(task.output, checkpoint, size_bytes, difference)


def _check_output(task: ExportTask) -> None:
    """Raise UsageError or OutputError where the file could not be written."""
    output = task.output
    if output.suffix.lower() != SUFFIX or is_folder(output):
        wrong = f"name a file that ends in {SUFFIX}"
        raise UsageError(wrong, option="output", value=output)
    try:
        is_there = regular_status(output) is not None and not is_free(output)
        if is_there and not task.overwrite:
            hint = Message("name another file, or add ", Option("overwrite"))
            raise OutputError(f"{output}: is there already", hint=hint)
        _check_folder(output)
    except OSError as error:
        raise OutputError(f"{output}: cannot be written ({error.strerror})") from error


def _check_folder(output: Path) -> None:
    """See that a file can be made, or the folders for it; nothing is. Raises OSError."""
    if is_folder(output.parent):
        atomic.check_replaceable(output)
        atomic.clear_stale([output.parent])
        return
    nearest = next(folder for folder in output.parents if exists(folder))
    if not is_folder(nearest):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(nearest))
    atomic.check_writable(nearest)


@contextmanager
def _folder_of(output: Path) -> Iterator[None]:
    """Make the folders that are missing; they go again where nothing is written. Raises OSError."""
    missing = [folder for folder in output.parents if not exists(folder)]
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in missing:
            with suppress(OSError):  # somebody else has written there
                folder.rmdir()
        raise


def _check_packages() -> None:
    """Raise UsageError where a package is missing, or ONNX Runtime is too old."""
    hint = "pip install 'birefcli[export]'"
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            wrong = f"an export needs {name}, which is not installed ({error})"
            raise UsageError(wrong, hint=hint) from None
    import onnxruntime

    version = str(onnxruntime.__version__)
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))  # also of 1.25rc1
    if numbers < LEAST_RUNTIME:
        least = ".".join(map(str, LEAST_RUNTIME))
        wrong = f"onnxruntime {version} has no DeformConv on a CPU; {least} is the first that has"
        raise UsageError(wrong, hint=hint)


def _record(task: ExportTask, checkpoint: "Checkpoint", network: "BiRefNet") -> "Program":
    """Record the network, and note what it is. Raises ModelError."""
    from birefcli import __version__
    from birefcli.models import files, onnx_graph

    try:
        program = onnx_graph.record(network, checkpoint.size, logits=task.logits)
    except Exception as error:  # what torch raises depends on where it stopped
        reason = files.first_line(error)
        raise ModelError(f"{checkpoint.name}: torch cannot export it ({reason})") from error
    onnx_graph.describe(program, "birefcli", __version__, _notes(checkpoint))
    return program


def _notes(checkpoint: "Checkpoint") -> dict[str, str]:
    """What the file says of itself: texts, lists as JSON."""
    from birefcli.matting.predictor import MEAN, STD

    known = _known(checkpoint)
    licence = {} if known is None else {"birefcli.licence": known.licence}
    return {
        "birefcli.model": checkpoint.name if known is None else known.name,
        "birefcli.sha256": checkpoint.sha256,
        "birefcli.size": json.dumps(list(checkpoint.size)),
        "birefcli.mean": json.dumps(list(MEAN)),
        "birefcli.std": json.dumps(list(STD)),
        "birefcli.patch_order": checkpoint.patch_order.value,
        "birefcli.source": SOURCE,
        **licence,
    }


def _known(checkpoint: "Checkpoint") -> Model | None:
    """The published or bundled model with these very weights."""
    for model in zoo.ZOO.values():
        if model.sha256 == checkpoint.sha256 or (model.bundled and checkpoint.name == model.name):
            return model
    return None


def _difference(network: "BiRefNet", size: Size, path: Path) -> float:
    """Largest difference of alpha in ONNX Runtime from torch's; NaN where either is no number."""
    import torch

    from birefcli.matting.device import parse_device
    from birefcli.matting.predictor import Predictor
    from birefcli.models.onnx_network import OnnxNetwork

    placement = parse_device("cpu", Precision.FP32)
    ours = Predictor(network, size, placement)
    photos = _photos(ours)
    wanted = ours.alphas(photos)
    del ours
    theirs = OnnxNetwork(path, size, placement, keep_memory=False)
    alone = torch.cat([theirs.alphas([photo]) for photo in photos])
    together = theirs.alphas(photos)
    return float((torch.stack([alone, together]) - wanted).abs().max())


def _photos(predictor: "Predictor") -> "list[NDArray[np.uint8]]":
    """Photos of a person-like figure as the network sees them: h×w×3 of uint8."""
    from birefcli.images import synthetic
    from birefcli.images.decode import decode_photo

    made = [decode_photo(synthetic.photo(MEGAPIXELS, seed), 10**9) for seed in SEEDS]
    return [predictor.prepare(photo) for photo in made]
