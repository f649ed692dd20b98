"""``birefcli bench``: what this machine does, stage by stage."""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from birefcli.batch.inputs import PIPE, find_photos, split_missing
from birefcli.cli import completion, shared_options, values
from birefcli.errors import ExitCode, NoInputError, OutputError, UsageError
from birefcli.models import zoo
from birefcli.models.load import load_model
from birefcli.options import (
    Compress,
    Format,
    Options,
    PatchOrder,
    Precision,
    Product,
    Rendering,
    Selection,
)
from birefcli.system import cpu

if TYPE_CHECKING:
    from birefcli.bench.compare import Comparison
    from birefcli.bench.measure import Bench, Figure
    from birefcli.matting.device import Placement
    from birefcli.matting.predictor import Predictor

MEASURE = "Measuring"
PHOTOS = 4  # generated ones: more than a batch on a CPU, and still minutes with the largest model

Photos = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PHOTO", help="Photos or folders; none: generated ones.", show_default=False
    ),
]
Megapixels = Annotated[
    float,
    typer.Option("--megapixels", metavar="N", help="Of generated photos.", rich_help_panel=MEASURE),
]
Count = Annotated[
    int | None,
    typer.Option(
        "--count",
        metavar="N",
        help=f"How many photos: generated ones, by default {PHOTOS}; or the first of those given.",
        min=1,
        rich_help_panel=MEASURE,
        show_default=False,
    ),
]
Repeat = Annotated[
    int,
    typer.Option(
        "--repeat",
        metavar="N",
        help="Rounds; what is told is their median.",
        min=1,
        rich_help_panel=MEASURE,
    ),
]
Against = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="FILE.onnx|MODEL",
        help="Compare the network, in turns, with an exported one in ONNX Runtime or with another"
        " model.",
        rich_help_panel=MEASURE,
        autocompletion=completion.opponent,
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON object on stdout.", rich_help_panel=MEASURE)
]
Step = Callable[[], None]


def bench(
    photos: Photos = None,
    megapixels: Megapixels = 12.0,
    count: Count = None,
    repeat: Repeat = 3,
    against: Against = None,
    as_json: AsJson = False,
    write: shared_options.Write = "cutout",
    background: shared_options.Background = "white",
    format_: shared_options.FormatName = None,
    bits: shared_options.Bits = 8,
    compress: shared_options.Effort = Compress.FAST,
    refine: shared_options.Refine = True,
    model: shared_options.Model = zoo.DEFAULT,
    size: shared_options.Size = None,
    patch_order: shared_options.Order = PatchOrder.AUTO,
    offline: shared_options.Offline = False,
    max_megapixels: shared_options.MaxMegapixels = 300.0,
    max_memory: shared_options.MaxMemory = "auto",
    device: shared_options.Device = "auto",
    precision: shared_options.Numbers = Precision.AUTO,
    batch: shared_options.Batch = "auto",
    threads: shared_options.Threads = "auto",
    progress: shared_options.Progress = True,
    debug: shared_options.Debug = False,
) -> None:
    """Measure what this machine does, stage by stage.

    Every stage is measured by itself, then all of them overlapped as `matte` runs them. Results go
    to a temporary folder (TMPDIR chooses the disk) and are deleted.
    """
    rendering = Rendering(
        products=values.choices("write", write, Product),
        format=values.file_format(format_) or Format.PNG,
        bits=bits,
        compress=compress,
        background=background,
        refine=refine,
    )
    rendering.check()
    options = Options(
        rendering=rendering,
        model=model,
        size=values.size(size),
        patch_order=patch_order,
        offline=offline,
        device=device,
        precision=precision,
        batch=values.automatic("batch", batch),
        compiled=True,
        threads=values.automatic("threads", threads) or cpu.count(),
        max_pixels=values.pixels("max_megapixels", max_megapixels),
        max_memory=values.memory("max_memory", max_memory),
        max_failures=1,
        fail_if_empty=False,
    )
    plan = _Plan(tuple(photos or ()), megapixels, count, repeat, against, progress)
    _check(plan, options)
    raise typer.Exit(_run(plan, options, as_json))


@dataclass(frozen=True)
class _Plan:
    """What is measured, and how often."""

    photos: tuple[str, ...]
    megapixels: float
    count: int | None
    repeat: int
    against: str | None
    bar: bool


@dataclass
class _Measured:
    """All that there is to tell."""

    plan: _Plan
    options: Options
    bench: "Bench"
    duel: "Comparison | None"
    model: str
    load_seconds: float
    rounds: int = 0
    """That ended."""


def _check(plan: _Plan, options: Options) -> None:
    if PIPE in plan.photos:
        raise UsageError("bench reads its photos again and again, and stdin (-) can be read once")
    if not plan.photos and not 0.001 <= plan.megapixels <= options.max_pixels / 1e6:
        raise UsageError(
            f"--megapixels {plan.megapixels:g}: give 0.001 to {options.max_pixels / 1e6:g}"
        )


def _run(plan: _Plan, options: Options, as_json: bool) -> ExitCode:
    found = _found(plan.photos)[: plan.count]
    measured: _Measured | None = None
    code = ExitCode.OK
    with tempfile.TemporaryDirectory(prefix="birefcli-bench-") as folder, _bar(plan.bar) as begin:
        try:
            measured = _set_up(plan, options, found, Path(folder), begin)
            _measure(measured, begin)
        except KeyboardInterrupt:
            code = ExitCode.INTERRUPTED
        except OSError as error:
            where = f"{folder}: cannot be written ({error.strerror})"
            raise OutputError(f"{where}; set TMPDIR to a folder with room") from error
    if measured is None or not measured.rounds:
        print("birefcli: interrupted before the first round ended", file=sys.stderr)
        return code
    if as_json:
        print(json.dumps(_record(measured)))
    else:
        print("\n".join(_told(measured)))
    _warn_of_noise(measured)
    return code


def _found(names: tuple[str, ...]) -> list[Path]:
    if not names:
        return []
    found, missing = split_missing(find_photos(Selection(names, "")).found)
    if missing:
        photo, reason = missing[0]
        raise NoInputError(f"{photo.source}: {reason}")
    return [photo.source for photo in found if photo.source is not None]


@contextmanager
def _bar(wanted: bool) -> "Iterator[Callable[[str, int], Step]]":
    """Progress on stderr, where that is a terminal: begin(what, steps) gives the step to take."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    console = Console(stderr=True)
    shown = wanted and console.is_terminal
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=not shown
    ) as progress:

        def begin(what: str, steps: int) -> Step:
            for task in progress.task_ids:
                progress.remove_task(task)
            new = progress.add_task(what, total=steps)
            return lambda: progress.advance(new)

        yield begin


def _set_up(
    plan: _Plan,
    options: Options,
    photos: list[Path],
    folder: Path,
    begin: "Callable[[str, int], Step]",
) -> _Measured:
    """Load the model, make photos where none were given, and warm up."""
    import time

    from birefcli.bench.measure import Bench
    from birefcli.matting.device import default_batch

    started = time.perf_counter()
    opened = load_model(
        options.model,
        size=options.size,
        patch_order=options.patch_order,
        offline=options.offline,
        device=options.device,
        precision=options.precision,
        compiled=options.compiled,
        progress=plan.bar,
    )
    seconds = time.perf_counter() - started
    predictor = opened.predictor
    batch = options.batch or default_batch(predictor.placement.device)
    if not photos:
        photos = _generated(plan, folder, begin)
    results = folder / "results"
    results.mkdir()
    run = Bench(options, predictor, batch, photos, results)
    begin("warming up", 1)
    run.warm_up()
    duel = None if plan.against is None else _duel(plan.against, run, options, plan.bar)
    return _Measured(plan, options, run, duel, opened.checkpoint.name, seconds)


def _generated(plan: _Plan, folder: Path, begin: "Callable[[str, int], Step]") -> list[Path]:
    from birefcli.bench import synthetic

    photos = [folder / f"generated-{number}.jpg" for number in range(plan.count or PHOTOS)]
    step = begin("making photos", len(photos))
    for number, photo in enumerate(photos):
        photo.write_bytes(synthetic.photo(plan.megapixels, number))
        step()
    return photos


def _duel(against: str, run: "Bench", options: Options, bar: bool) -> "Comparison":
    from birefcli.bench.compare import Comparison, OnnxNetwork
    from birefcli.images.decode import decode_photo

    ours = run.predictor
    theirs: Predictor | OnnxNetwork
    batch = run.batch
    if against.lower().endswith(".onnx"):
        theirs = OnnxNetwork(Path(against), ours.size, ours.placement)
        if theirs.batch not in (None, batch):
            raise UsageError(
                f"{against} takes {theirs.batch} photos at once; add --batch {theirs.batch}"
            )
        rival = ours
    else:
        device, precision = str(ours.placement.device), ours.placement.precision
        theirs = rival = load_model(
            against, offline=options.offline, device=device, precision=precision, progress=bar
        ).predictor
    # Whole batches: an exported network may take no other number.
    names = (run.photos * batch)[: -(-len(run.photos) // batch) * batch]
    photos = [decode_photo(photo.read_bytes(), options.max_pixels) for photo in names]
    inputs = tuple([network.prepare(photo) for photo in photos] for network in (ours, rival))
    duel = Comparison(ours, theirs, (inputs[0], inputs[1]), batch)
    duel.compare()
    return duel


def _measure(measured: _Measured, begin: "Callable[[str, int], Step]") -> None:
    run, duel, repeat = measured.bench, measured.duel, measured.plan.repeat
    for number in range(repeat):
        which = f"round {number + 1} of {repeat}"
        run.by_stage(begin(f"{which}: stage by stage", -(-len(run.photos) // run.batch)))
        run.overlapped(begin(f"{which}: overlapped", len(run.photos)))
        if duel is not None:
            steps = 2 * len(duel.inputs[0]) // duel.batch
            duel.round(run.rounds, number, begin(f"{which}: against", steps))
        measured.rounds += 1


# What is told


def _record(measured: _Measured) -> dict[str, Any]:
    from birefcli.bench import measure
    from birefcli.bench.compare import OURS, THEIRS

    run = measured.bench
    rounds, placement, whole = run.rounds, run.predictor.placement, run.rounds.sequential()
    assert whole is not None
    table = {name: _figure(rounds.figure(name), whole.seconds) for name in measure.NAMES}
    record: dict[str, Any] = {
        "model": measured.model,
        "size": list(run.predictor.size),
        "device": str(placement.device),
        "device_name": _device_name(placement),
        "precision": placement.precision.value,
        "batch": run.batch,
        "threads": measured.options.threads,
        "torch_threads": _torch_threads(),
        "cores": cpu.count(),
        "photos": len(run.photos),
        "generated": not measured.plan.photos,
        "megapixels": _megapixels(measured),
        "write": [kind.value for kind in measured.options.rendering.products],
        "format": measured.options.rendering.format.value,
        "compress": measured.options.rendering.compress.value,
        "rounds": measured.rounds,
        "interrupted": measured.rounds < measured.plan.repeat,
        "load_seconds": round(measured.load_seconds, 4),
        "stages": table,
        "sequential": _figure(whole, whole.seconds),
        "pipeline": _figure(rounds.figure(measure.PIPELINE), whole.seconds),
        "bottleneck": measure.bottleneck(rounds, measured.options.threads, cpu.count()),
        "soft": round(run.soft, 5),
        "peak_memory": measure.peak_memory(),
        "peak_device_memory": measure.peak_device_memory(placement.device),
        "against": None,
    }
    ours, theirs = rounds.figure(OURS), rounds.figure(THEIRS)
    if measured.duel is not None and ours is not None and theirs is not None:
        record["against"] = {
            "name": measured.plan.against,
            "provider": getattr(measured.duel.theirs, "provider", None),
            "size": list(measured.duel.theirs.size),
            "ours": _figure(ours, ours.seconds),
            "theirs": _figure(theirs, theirs.seconds),
            "ratio": round(theirs.seconds / ours.seconds, 4),
            "cpu_ratio": round(theirs.cpu / ours.cpu, 4) if ours.cpu else None,
            "difference": measured.duel.difference,
        }
    return record


def _megapixels(measured: _Measured) -> float:
    """Of a photo: as asked for, or the mean of those that were measured."""
    asked = measured.plan.megapixels
    return round(measured.bench.megapixels, 3) if measured.plan.photos else asked


def _warn_of_noise(measured: _Measured) -> None:
    """Say where rounds differ so much that their median says little."""
    from birefcli.bench import measure

    figure = measured.bench.rounds.figure(measure.PIPELINE)
    if figure is None or not figure.seconds:
        return
    spread = (figure.most - figure.least) / figure.seconds
    if spread > NOISE:
        print(
            f"rounds differ by {spread:.0%}: something else is running, or the machine grows hot;"
            " wait for it, or use a larger --repeat or --count",
            file=sys.stderr,
        )


def _figure(figure: "Figure | None", whole: float) -> dict[str, float] | None:
    if figure is None:
        return None
    return {
        "seconds": round(figure.seconds, 6),
        "least": round(figure.least, 6),
        "most": round(figure.most, 6),
        "cpu_seconds": round(figure.cpu, 6),
        "photos_per_second": round(figure.rate, 4),
        "share": round(figure.seconds / whole, 4) if whole else 0.0,
    }


def _device_name(placement: "Placement") -> str | None:
    import torch

    return torch.cuda.get_device_name(placement.device) if placement.device.type == "cuda" else None


def _torch_threads() -> int:
    import torch

    return torch.get_num_threads()


NOISE = 0.2  # of the median: how far rounds of a quiet machine stay within
SOFT_LEAST = 0.002  # share of soft pixels below which colour estimation has next to nothing to do


def _told(measured: _Measured) -> Iterator[str]:
    record = _record(measured)
    width, height = record["size"]
    where = record["device"] + (f" ({record['device_name']})" if record["device_name"] else "")
    yield (
        f"{record['model']} {width}x{height} on {where} in {record['precision']}, batch"
        f" {record['batch']}, {record['threads']} threads, {record['cores']} cores"
    )
    photos = _many(record["photos"], "photo")
    generated = ", generated" if record["generated"] else " on average"
    photos += f" of {record['megapixels']:g} MP{generated}"
    done, wanted = record["rounds"], measured.plan.repeat
    rounds = _many(done, "round") if done == wanted else f"{done} of {wanted} rounds (interrupted)"
    yield f"{photos}; {', '.join(record['write'])} as {record['format']}; median of {rounds}"
    yield ""
    yield f"{'stage':<13}{'s/photo':>9}{'least-most':>17}{'photos/s':>10}{'CPU s':>9}{'share':>7}"
    for name, figure in record["stages"].items():
        yield _row(name, figure)
    yield _row("one by one", record["sequential"])
    yield _row("overlapped", record["pipeline"])
    yield ""
    yield f"bottleneck: {record['bottleneck']}"
    yield f"soft alpha: {record['soft']:.1%} of the pixels{_too_little(measured, record)}"
    yield f"peak memory: {_gigabytes(record)}; model loaded in {record['load_seconds']:.2f} s"
    if record["against"] is not None:
        yield from _told_against(record["against"])


def _many(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _row(name: str, figure: dict[str, float] | None) -> str:
    if figure is None or not figure["seconds"]:
        return f"{name:<13}{'-':>9}"
    spread = f"{figure['least']:.3f}-{figure['most']:.3f}"
    return (
        f"{name:<13}{figure['seconds']:>9.3f}{spread:>17}{figure['photos_per_second']:>10.2f}"
        f"{figure['cpu_seconds']:>9.3f}{figure['share']:>7.0%}"
    )


def _too_little(measured: _Measured, record: dict[str, Any]) -> str:
    coloured = measured.options.rendering.has_colour
    if record["soft"] >= SOFT_LEAST or not coloured:
        return ""
    return " (hardly any: on photos with hair, foreground takes longer)"


def _gigabytes(record: dict[str, Any]) -> str:
    host, device = record["peak_memory"], record["peak_device_memory"]
    told = "unknown" if host is None else f"{host / 1e9:.2f} GB"
    return told if device is None else f"{told}, {device / 1e9:.2f} GB on the device"


def _told_against(against: dict[str, Any]) -> Iterator[str]:
    runner = f" in ONNX Runtime ({against['provider']})" if against["provider"] else ""
    width, height = against["size"]
    yield ""
    yield f"network alone, in turns with {against['name']}{runner} at {width}x{height}:"
    yield _row("ours", against["ours"])
    yield _row("theirs", {**against["theirs"], "share": against["ratio"]})
    cpu = f", {against['cpu_ratio']:.2f} times the CPU time" if against["cpu_ratio"] else ""
    yield f"theirs takes {against['ratio']:.2f} times as long{cpu}"
    if against["difference"] is not None:
        yield f"largest difference of alpha: {against['difference']:.2g}"
