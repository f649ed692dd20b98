"""The figures of a benchmark: as JSON, and as a table for a person."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, TypeAlias

import torch

from birefcli.bench import measure
from birefcli.bench.compare import OURS, THEIRS, Comparison
from birefcli.bench.cost import usd_per_1000
from birefcli.bench.measure import Figure, Rounds
from birefcli.bench.run import BenchResult
from birefcli.matting.device import Placement
from birefcli.system import cpu

Record: TypeAlias = dict[str, Any]
"""What ``--json`` prints."""

NOISE = 0.2  # of the median: how far rounds of a quiet machine stay within
SOFT_LEAST = 0.002  # share of soft pixels below which colour estimation has next to nothing to do


def as_record(result: BenchResult) -> Record:
    """All figures, in seconds a photo; times, sizes and memory as numbers."""
    bench, task = result.bench, result.task
    rounds, whole = bench.rounds, bench.rounds.sequential()
    assert whole is not None, "a round has ended"
    return {
        **_settings(result),
        "rounds": result.rounds,
        "interrupted": result.interrupted,
        "load_seconds": round(result.load_seconds, 4),
        "stages": {name: _figure(rounds.figure(name), whole.seconds) for name in measure.NAMES},
        "sequential": _figure(whole, whole.seconds),
        "pipeline": _figure(rounds.figure(measure.PIPELINE), whole.seconds),
        "bottleneck": measure.bottleneck(rounds, task.options.threads, cpu.count()),
        "soft": round(bench.soft, 5),
        "peak_memory": measure.peak_memory(),
        "peak_device_memory": measure.peak_device_memory(_placement(result).device),
        "against": _against(result.comparison, rounds, task.against),
        "usd_per_hour": task.price,
        "usd_per_1000": _usd_per_1000(task.price, rounds.figure(measure.PIPELINE)),
    }


def _settings(result: BenchResult) -> Record:
    bench, task = result.bench, result.task
    placement, rendering = _placement(result), task.options.rendering
    # As asked for, or the mean of those that were measured.
    megapixels = round(bench.megapixels, 3) if task.photos else task.megapixels
    return {
        "model": result.model,
        "size": list(bench.context.predictor.size),
        "device": str(placement.device),
        "device_name": _device_name(placement.device),
        "precision": placement.precision.value,
        "batch": bench.batch,
        "threads": task.options.threads,
        "torch_threads": torch.get_num_threads(),
        "cores": cpu.count(),
        "photos": len(bench.photos),
        "generated": not task.photos,
        "megapixels": megapixels,
        "write": [kind.value for kind in rendering.products],
        "format": rendering.format.value,
        "compress": rendering.compress.value,
    }


def _placement(result: BenchResult) -> Placement:
    return result.bench.context.predictor.placement


def _device_name(device: torch.device) -> str | None:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def _figure(figure: Figure | None, whole: float) -> dict[str, float] | None:
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


def _against(comparison: Comparison | None, rounds: Rounds, name: str | None) -> Record | None:
    ours, theirs = rounds.figure(OURS), rounds.figure(THEIRS)
    if comparison is None or ours is None or theirs is None:
        return None
    return {
        "name": name,
        "provider": getattr(comparison.theirs, "provider", None),
        "size": list(comparison.theirs.size),
        "ours": _figure(ours, ours.seconds),
        "theirs": _figure(theirs, theirs.seconds),
        "ratio": round(theirs.seconds / ours.seconds, 4),
        "cpu_ratio": round(theirs.cpu / ours.cpu, 4) if ours.cpu else None,
        "difference": comparison.difference,
    }


def _usd_per_1000(price: float | None, whole: Figure | None) -> float | None:
    """Of the whole run, never of the network alone: a machine is paid for all that it does."""
    if price is None or whole is None or not whole.rate:
        return None
    return float(f"{usd_per_1000(price, whole.rate):.6g}")


def noise_warning(rounds: Rounds) -> str | None:
    """A line where rounds differ so much that their median means little."""
    figure = rounds.figure(measure.PIPELINE)
    if figure is None or not figure.seconds:
        return None
    spread = (figure.most - figure.least) / figure.seconds
    if spread <= NOISE:
        return None
    return (
        f"rounds differ by {spread:.0%}: something else is running, or the machine grows hot;"
        " wait for it, or use a larger --repeat or --count"
    )


def as_lines(record: Record, result: BenchResult) -> Iterator[str]:
    """The table, and what stands above and below it."""
    yield from _heading(record, result.task.repeat)
    yield ""
    yield f"{'stage':<13}{'s/photo':>9}{'least-most':>17}{'photos/s':>10}{'CPU s':>9}{'share':>7}"
    for name, figure in record["stages"].items():
        yield _row(name, figure)
    yield _row("one by one", record["sequential"])
    yield _row("overlapped", record["pipeline"])
    yield ""
    yield f"bottleneck: {record['bottleneck']}"
    hardly = _hardly_any(record["soft"]) if result.task.options.rendering.has_colour else ""
    yield f"soft alpha: {record['soft']:.1%} of the pixels{hardly}"
    yield f"peak memory: {_gigabytes(record)}; model loaded in {record['load_seconds']:.2f} s"
    if record["against"] is not None:
        yield from _comparison(record["against"], record["size"])
    if record["usd_per_1000"] is not None:
        yield _cost(record)


def _heading(record: Record, repeat: int) -> Iterator[str]:
    width, height = record["size"]
    where = record["device"] + (f" ({record['device_name']})" if record["device_name"] else "")
    yield (
        f"{record['model']} {width}x{height} on {where} in {record['precision']}, batch"
        f" {record['batch']}"
    )
    yield f"{_threads(record)}; {_many(record['cores'], 'core')}"
    generated = ", generated" if record["generated"] else " on average"
    photos = f"{_many(record['photos'], 'photo')} of {record['megapixels']:g} MP{generated}"
    done = record["rounds"]
    rounds = _many(done, "round") if done == repeat else f"{done} of {repeat} rounds (interrupted)"
    yield f"{photos}; {_products(record)}; median of {rounds}"


def _threads(record: Record) -> str:
    """Of the network where a CPU does it, and of what decodes and encodes."""
    own = f"{_many(record['threads'], 'thread')} for the pipeline"
    on_cpu = record["device"] == "cpu"
    return f"{_many(record['torch_threads'], 'thread')} for the network, {own}" if on_cpu else own


def _products(record: Record) -> str:
    return f"{', '.join(record['write'])} as {record['format']}"


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


def _hardly_any(soft: float) -> str:
    return (
        "" if soft >= SOFT_LEAST else " (hardly any: on photos with hair, foreground takes longer)"
    )


def _gigabytes(record: Record) -> str:
    host, device = record["peak_memory"], record["peak_device_memory"]
    text = "unknown" if host is None else f"{host / 1e9:.2f} GB"
    return text if device is None else f"{text}, {device / 1e9:.2f} GB on the device"


def _comparison(against: Record, size: list[int]) -> Iterator[str]:
    runner = f" in ONNX Runtime ({against['provider']})" if against["provider"] else ""
    width, height = against["size"]
    yield ""
    yield f"network alone, in turns with {against['name']}{runner} at {width}x{height}:"
    yield _row("ours", against["ours"])
    yield _row("theirs", {**against["theirs"], "share": against["ratio"]})
    cpu_ratio = f", {against['cpu_ratio']:.2f} times the CPU time" if against["cpu_ratio"] else ""
    apart = f", {width}x{height} against {size[0]}x{size[1]}: not the same work"
    sizes = apart if against["size"] != size else ""
    yield f"theirs takes {against['ratio']:.2f} times as long{cpu_ratio}{sizes}"
    if against["difference"] is not None:
        yield f"largest difference of alpha: {against['difference']:.2g}"


def _cost(record: Record) -> str:
    rate = record["pipeline"]["photos_per_second"]
    return (
        f"cost: {_plain(record['usd_per_1000'], 3)} USD per 1,000 photos"
        f" at {_plain(record['usd_per_hour'], 6)} USD an hour and {_plain(rate, 3)} photos/s"
        f" (of {record['megapixels']:g} MP, {_products(record)})"
    )


def _plain(value: float, digits: int) -> str:
    """A number of so many digits that count, without an exponent."""
    return f"{Decimal(f'{value:.{digits}g}'):f}"
