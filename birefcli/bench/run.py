"""A benchmark from photos to figures: load the model, warm up, measure round after round.

Torch is imported once the photos are found: a wrong name is reported at once.
"""

import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from birefcli.batch.inputs import find_photos
from birefcli.batch.missing import split_missing
from birefcli.batch.places import PIPE, LocalFile
from birefcli.bench.cost import check_price
from birefcli.errors import Message, ModelError, NoInputError, Option, OutputError, UsageError
from birefcli.models.load import load_model
from birefcli.models.locate import locate
from birefcli.options import BatchOptions, ModelOptions, Product, Selection
from birefcli.system import atomic
from birefcli.system.paths import is_file
from birefcli.system.regular_file import why_not_regular

if TYPE_CHECKING:
    from birefcli.bench.compare import Comparison
    from birefcli.bench.measure import Bench
    from birefcli.matting.predictor import Predictor
    from birefcli.models.onnx_network import OnnxNetwork
    from birefcli.products.background import Background

PHOTOS = 4  # generated ones: more than a batch on a CPU, and still minutes with the largest model
LEAST_MEGAPIXELS = 0.001  # of a generated photo

Begin: TypeAlias = Callable[[str, int], Callable[[], None]]
"""Called as ``begin(description, steps)`` before each part; what it returns, after each step."""


@dataclass(frozen=True)
class BenchTask:
    """What is measured, and how often."""

    photos: tuple[str, ...]
    """Files and folders; none for generated photos."""
    options: BatchOptions
    megapixels: float = 12.0
    """Of a generated photo."""
    count: int | None = None
    """How many generated photos, or the first so many of ``photos``."""
    repeat: int = 3
    """Rounds."""
    against: str | None = None
    """An exported network (``.onnx``) or a model to compare with."""
    price: float | None = None
    """USD an hour of this machine; None where nobody asked for a cost."""
    progress: bool = False
    """Show on stderr how far a download is."""

    def check(self) -> None:
        """Raise UsageError for what cannot be measured."""
        if PIPE in self.photos:
            raise UsageError(
                "bench reads its photos again and again, and stdin (-) can be read once"
            )
        most = self.options.max_pixels / 1e6
        if not self.photos and not LEAST_MEGAPIXELS <= self.megapixels <= most:
            raise UsageError(
                f"give a number from {LEAST_MEGAPIXELS:g} to {most:g}",
                option="megapixels",
                value=f"{self.megapixels:g}",
            )
        if self.price is not None:
            check_price(self.price)


@dataclass
class BenchResult:
    """What was measured."""

    task: BenchTask
    bench: "Bench"
    comparison: "Comparison | None"
    model: str
    load_seconds: float
    rounds: int = 0
    """That ended."""

    @property
    def interrupted(self) -> bool:
        """Whether fewer rounds ended than were asked for."""
        return self.rounds < self.task.repeat


def run(task: BenchTask, begin: Begin = lambda _description, _steps: lambda: None) -> BenchResult:
    """Measure in a temporary folder, which is removed afterwards.

    Ctrl-C ends it early: the result then has the rounds that ended. Raises KeyboardInterrupt where
    none did, and UsageError, NoInputError, ModelError, DeviceError, PhotoError, OutputError.
    """
    task.check()
    photos = _find_photos(task.photos)[: task.count]
    with _temporary_folder() as folder:
        result = _set_up(task, photos, folder, begin)
        _measure(result, begin)
    return result


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A folder for results. Raises OutputError where it cannot be made or filled."""
    folder = None
    try:
        with atomic.temporary_folder("birefcli-bench-") as folder:
            yield folder
    except OSError as error:
        if folder is not None and error.filename and not _is_in(folder, error.filename):
            raise
        raise OutputError(
            f"{folder or 'a temporary folder'}: cannot be written ({error.strerror})",
            hint="set TMPDIR to a folder with room",
        ) from error


def _is_in(folder: Path, file: object) -> bool:
    return str(file).startswith(str(folder))


def _find_photos(names: tuple[str, ...]) -> list[Path]:
    if not names:
        return []
    found, missing = split_missing(find_photos(Selection(names, "")).found)
    if missing:
        photo, reason = missing[0]
        raise NoInputError(f"{photo.source}: {reason}")
    photos = [photo.source.path for photo in found if isinstance(photo.source, LocalFile)]
    for path in photos:  # each is read again and again
        if (why := why_not_regular(path.stat().st_mode)) is not None:
            raise NoInputError(f"{path}: {why}")
    return photos


def _set_up(task: BenchTask, photos: list[Path], folder: Path, begin: Begin) -> BenchResult:
    """Load the model, generate photos where none were given, and warm up."""
    from birefcli.batch.stages import StageContext
    from birefcli.bench.measure import Bench
    from birefcli.matting.batch_size import default_batch

    options = task.options
    background = _background(options)
    started = time.perf_counter()
    loaded = load_model(options.model, progress=task.progress)
    seconds = time.perf_counter() - started
    batch = options.batch or default_batch(loaded.predictor)
    if not photos:
        photos = _generate(task, folder, begin)
    results = folder / "results"
    results.mkdir()
    bench = Bench(StageContext(options, loaded.predictor, background), batch, photos, results)
    begin("warming up", 1)
    bench.warm_up()
    comparison = None if task.against is None else _compare(task, task.against, bench)
    return BenchResult(task, bench, comparison, loaded.checkpoint.name, seconds)


def _background(options: BatchOptions) -> "Background | None":
    if Product.COMPOSITE not in options.rendering.products:
        return None
    from birefcli.products.background import parse_background

    return parse_background(options.rendering.background, options.max_pixels)


def _generate(task: BenchTask, folder: Path, begin: Begin) -> list[Path]:
    from birefcli.images import synthetic

    photos = [folder / f"generated-{number}.jpg" for number in range(task.count or PHOTOS)]
    step = begin("making photos", len(photos))
    for number, photo in enumerate(photos):
        photo.write_bytes(synthetic.photo(task.megapixels, number))
        step()
    return photos


def _compare(task: BenchTask, against: str, bench: "Bench") -> "Comparison":
    """Load the other network, and run both once."""
    from birefcli.bench.compare import Comparison
    from birefcli.images.files import open_photo

    ours, batch = bench.context.predictor, bench.batch
    theirs: Predictor | OnnxNetwork
    if against.lower().endswith(".onnx"):
        theirs = _load_onnx(against, ours, batch)
        prepare = ours.prepare
    else:
        theirs = _load_other(task, against, ours)
        prepare = theirs.prepare
    # Whole batches: an exported network may take no other number.
    names = (bench.photos * batch)[: -(-len(bench.photos) // batch) * batch]
    photos = [open_photo(photo, task.options.max_pixels) for photo in names]
    inputs = [ours.prepare(photo) for photo in photos], [prepare(photo) for photo in photos]
    comparison = Comparison(ours, theirs, inputs, batch)
    comparison.compare()
    return comparison


def _load_onnx(against: str, ours: "Predictor", batch: int) -> "OnnxNetwork":
    if not is_file(Path(against)):
        raise ModelError("no such file", option="against", value=against)
    try:
        importlib.import_module("onnxruntime")
    except ImportError as error:
        raise UsageError(
            f"onnxruntime is not installed ({error})",
            option="against",
            value=against,
            hint="pip install 'birefcli[bench]' or onnxruntime",
        ) from None
    from birefcli.models.onnx_network import OnnxNetwork

    theirs = OnnxNetwork(Path(against), ours.size, ours.placement)
    if theirs.batch not in (None, batch):
        raise UsageError(
            f"{against} takes {theirs.batch} photos at once",
            hint=Message("add ", Option("batch", str(theirs.batch))),
        )
    return theirs


def _load_other(task: BenchTask, name: str, ours: "Predictor") -> "Predictor":
    locate(name, option="against")
    placement = ours.placement
    options = ModelOptions(
        name,
        offline=task.options.model.offline,
        device=str(placement.device),
        precision=placement.precision,
    )
    return load_model(options, progress=task.progress).predictor


def _measure(result: BenchResult, begin: Begin) -> None:
    """Round after round, until all have ended or Ctrl-C is pressed after the first."""
    try:
        for number in range(result.task.repeat):
            _round(result, number, begin)
            result.rounds += 1
    except KeyboardInterrupt:
        if not result.rounds:
            raise


def _round(result: BenchResult, number: int, begin: Begin) -> None:
    bench, comparison = result.bench, result.comparison
    description = f"round {number + 1} of {result.task.repeat}"
    batches = -(-len(bench.photos) // bench.batch)
    bench.by_stage(begin(f"{description}: stage by stage", batches))
    bench.overlapped(begin(f"{description}: overlapped", len(bench.photos)))
    if comparison is not None:
        steps = 2 * len(comparison.inputs[0]) // comparison.batch
        comparison.round(bench.rounds, number, begin(f"{description}: against", steps))
