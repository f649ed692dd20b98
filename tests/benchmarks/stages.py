"""Time of each stage from one photo to its cutout: ``python tests/benchmarks/stages.py``.

The photo is a sample enlarged to ``--width`` and grained as a camera's, matted by ``--model``. With
``--against`` another checkout of birefcli is measured in turns with this one; both keep their
processes, so neither start nor compilation counts. CPU seconds are those of all threads.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
Times = dict[str, tuple[float, float]]
"""Seconds of CPU and of wall clock by stage."""
STAGES = ["decode", "prepare", "network", "enlarge", "foreground", "levels"]
STAGES += ["compose", "encode", "write"]


def photo(width: int, seed: int = 0) -> bytes:
    """JPEG of quality 90, 4:3, with the grain of a camera."""
    import numpy as np
    from PIL import Image

    with Image.open(ROOT / "samples" / "astronaut.png") as sample:
        box = (0, 0, sample.width, sample.width * 3 // 4)
        size = (width, width * 3 // 4)
        large = sample.convert("RGB").resize(size, Image.Resampling.BICUBIC, box)
    grain = np.random.default_rng(seed).normal(0, 2, (size[1], size[0], 1))
    grained = (np.asarray(large) + grain).round().clip(0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(grained).save(out, "JPEG", quality=90)
    return out.getvalue()


class Clock:
    """Adds up times by stage; an inner stage's are taken from the stage around it."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._inner = [0.0, 0.0]

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what is done within."""
        outer, self._inner = self._inner, [0.0, 0.0]
        start = time.process_time(), time.perf_counter()
        yield
        spent = time.process_time() - start[0], time.perf_counter() - start[1]
        for i in range(2):
            self.times[name][i] += spent[i] - self._inner[i]
            outer[i] += spent[i]
        self._inner = outer

    def wrap(self, owner: Any, function: str, name: str) -> None:
        """Time every call of a function of a module, if it has that function."""
        plain: Callable[..., Any] | None = getattr(owner, function, None)
        if plain is None:
            return

        def timed(*values: Any, **options: Any) -> Any:
            with self.stage(name):
                return plain(*values, **options)

        setattr(owner, function, timed)


def predictor_of(model: str) -> Any:
    """A model that is here already, on the device that birefcli would choose."""
    from birefcli.matting import predictor
    from birefcli.matting.device import parse_device
    from birefcli.models import weights
    from birefcli.options import Precision

    checkpoint = weights.resolve(model, offline=True, progress=False)
    network = weights.load_network(checkpoint)
    placement = parse_device("auto", Precision.AUTO)
    return predictor.Predictor(network, checkpoint.size, placement)


def matted(data: bytes, model: str, kinds: Iterable[Any]) -> list[Any]:
    """Products of a photo, 8 bits."""
    from birefcli.images.decode import decode_photo
    from birefcli.matting import predictor
    from birefcli.options import Rendering
    from birefcli.products.background import Colour
    from birefcli.products.render import render_product

    network = predictor_of(model)
    decoded = decode_photo(data, 10**9)
    alpha = network.alphas([network.prepare(decoded)])[0]
    matte = network.matte(decoded, alpha, predictor.ForegroundOptions())
    white = Colour((255, 255, 255))
    return [
        render_product(kind, decoded, matte, Rendering(), white, Path("a.jpg")) for kind in kinds
    ]


def work(model: str, product: str, compress: str) -> None:
    """Answer each line of stdin, the name of a JPEG, with its times."""
    import torch

    from birefcli.images.decode import decode_photo
    from birefcli.images.encode import encode
    from birefcli.matting import predictor
    from birefcli.matting.foreground import cpu as foreground_cpu
    from birefcli.options import Compress, Format, Product, Rendering
    from birefcli.products.background import Colour
    from birefcli.products.render import render_product
    from birefcli.system import atomic

    network = predictor_of(model)
    background = Colour((255, 255, 255))
    kind = Product(product)
    colour = predictor.ForegroundOptions() if kind.has_colour else None
    clock = Clock()
    clock.wrap(predictor, "enlarge", "enlarge")
    clock.wrap(predictor, "enlarged_levels", "enlarge")
    clock.wrap(foreground_cpu, "estimate_pixels", "foreground")
    for line in sys.stdin:
        file = Path(line.strip())
        data = file.read_bytes()
        clock.times.clear()
        with clock.stage("decode"):
            decoded = decode_photo(data, 10**9)
        with clock.stage("prepare"):
            prepared = network.prepare(decoded)
        with clock.stage("network"):
            alpha = network.alphas([prepared])[0]
            if alpha.device.type == "cuda":
                torch.cuda.synchronize()
        with clock.stage("levels"):
            matte = network.matte(decoded, alpha, colour)
        with clock.stage("compose"):
            made = render_product(kind, decoded, matte, Rendering(), background, file)
        with clock.stage("encode"):
            encoded = encode(made, Format.PNG, Compress(compress))
        with clock.stage("write"):
            atomic.write_file(file.with_suffix(f".{os.getpid()}.png"), encoded)
        print(json.dumps({"times": clock.times, "bytes": len(encoded)}), flush=True)


def start(checkout: Path, arguments: argparse.Namespace) -> "subprocess.Popen[str]":
    """A process that measures one checkout."""
    words = [sys.executable, __file__, "--work", "--model", arguments.model]
    words += ["--product", arguments.product, "--compress", arguments.compress]
    path = {**os.environ, "PYTHONPATH": str(checkout)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(words, env=path, text=True, cwd=checkout, **pipes)


def ask(process: "subprocess.Popen[str]", file: Path) -> dict[str, Any]:
    """Times of one photo."""
    assert process.stdin is not None
    assert process.stdout is not None
    print(file, file=process.stdin, flush=True)
    answer: dict[str, Any] = json.loads(process.stdout.readline())
    return answer


def table(runs: list[list[dict[str, Any]]], names: list[str]) -> Iterator[str]:
    """Median CPU and wall seconds by stage, a column for each checkout."""
    yield "| stage | " + " | ".join(f"{name}: CPU s (wall)" for name in names) + " |"
    yield "|---" * (len(names) + 1) + "|"

    def median(answers: list[dict[str, Any]], stages: list[str], i: int) -> float:
        return statistics.median(
            sum(answer["times"].get(stage, (0, 0))[i] for stage in stages) for answer in answers
        )

    rows = [(stage, [stage]) for stage in STAGES]
    rows.append(("**all but the network**", [stage for stage in STAGES if stage != "network"]))
    for label, stages in rows:
        cells = (f"{median(r, stages, 0):.3f} ({median(r, stages, 1):.3f})" for r in runs)
        yield f"| {label} | " + " | ".join(cells) + " |"
    yield "| file, MB | " + " | ".join(f"{r[-1]['bytes'] / 1e6:.1f}" for r in runs) + " |"


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, help="another checkout of birefcli")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--width", type=int, default=4000, help="of the photo, in pixels")
    parser.add_argument("--product", default="cutout")
    parser.add_argument("--compress", default="fast")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.model, arguments.product, arguments.compress)
        return
    checkouts = [path for path in (arguments.against, ROOT) if path is not None]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "photo.jpg")
        file.write_bytes(photo(arguments.width))
        processes = [start(checkout.resolve(), arguments) for checkout in checkouts]
        runs: list[list[dict[str, Any]]] = [[] for _ in processes]
        for round_ in range(arguments.rounds + 1):  # the first warms up
            for process, answers in zip(processes, runs, strict=True):
                answer = ask(process, file)
                answers += [answer] if round_ else []
        for process in processes:
            process.communicate()
    print("\n".join(table(runs, [path.resolve().name for path in checkouts])))


if __name__ == "__main__":
    main()
