"""``birefcli bench``: how fast this machine is, stage by stage."""

from typing import Annotated

import typer

from birefcli import values
from birefcli.bench.run import PHOTOS, BenchResult, BenchTask, run
from birefcli.cli import completion, shared_options
from birefcli.cli.help_page import Daily
from birefcli.cli.local_paths import local_name
from birefcli.cli.stderr import say
from birefcli.errors import ExitCode, InterruptError
from birefcli.models import zoo
from birefcli.options import (
    BatchOptions,
    Compress,
    Edges,
    ModelOptions,
    PatchOrder,
    Precision,
)
from birefcli.products.words import read_rendering
from birefcli.system import cpu
from birefcli.system.paths import with_home
from birefcli.system.text import json_line

Photos = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PHOTO",
        help="Photos or folders. Without any, photos are generated.",
        show_default=False,
        parser=local_name,
    ),
]
Megapixels = Annotated[
    float,
    typer.Option(
        "--megapixels",
        metavar="N",
        help="Size of generated photos.",
        rich_help_panel=Daily(shared_options.MEASURING),
    ),
]
Count = Annotated[
    int | None,
    typer.Option(
        "--count",
        metavar="N",
        help=f"Number of generated photos ({PHOTOS} by default), or the first N of those given.",
        min=1,
        rich_help_panel=Daily(shared_options.MEASURING),
        show_default=False,
    ),
]
Repeat = Annotated[
    int,
    typer.Option(
        "--repeat",
        metavar="N",
        help="Rounds; results are their median.",
        min=1,
        rich_help_panel=shared_options.MEASURING,
    ),
]
Against = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="FILE.onnx|MODEL",
        help="Compare the network with another model, or with an exported one in ONNX Runtime; the"
        " two take turns.",
        rich_help_panel=Daily(shared_options.MEASURING),
        autocompletion=completion.opponent,
        parser=with_home,
    ),
]
Price = Annotated[
    float | None,
    typer.Option(
        "--price",
        metavar="USD",
        help="What this machine costs an hour, in USD: prints the cost of 1,000 photos.",
        rich_help_panel=Daily(shared_options.MEASURING),
        show_default=False,
    ),
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON object.", rich_help_panel=Daily(shared_options.MEASURING)
    ),
]


def bench(
    photos: Photos = None,
    megapixels: Megapixels = 12.0,
    count: Count = None,
    repeat: Repeat = 3,
    against: Against = None,
    price: Price = None,
    as_json: AsJson = False,
    write: shared_options.Write = None,
    background: shared_options.Background = "white",
    format_: shared_options.FormatName = None,
    bits: shared_options.Bits = 8,
    compress: shared_options.Effort = Compress.FAST,
    refine: shared_options.Refine = True,
    model: shared_options.Model = zoo.DEFAULT,
    size: shared_options.Size = None,
    patch_order: shared_options.Order = PatchOrder.AUTO,
    edges: shared_options.EdgesHow = Edges.AUTO,
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
    """Measure the speed of this machine, stage by stage.

    Each stage is measured by itself, then all of them overlapped as `matte` runs them. Results are
    written to a temporary folder (TMPDIR chooses the disk) and deleted.
    """
    rendering = read_rendering(
        {
            "write": write,
            "format": format_,
            "bits": bits,
            "compress": compress,
            "background": background,
            "refine": refine,
        }
    )
    model_options = ModelOptions(
        name=model,
        size=values.size(size),
        patch_order=patch_order,
        offline=offline,
        device=device,
        precision=precision,
        compile=True,
        edges=edges,
    )
    options = BatchOptions(
        rendering=rendering,
        model=model_options,
        batch=values.automatic("batch", batch),
        threads=values.automatic("threads", threads) or cpu.count(),
        max_pixels=values.pixels("max_megapixels", max_megapixels),
        max_memory=values.memory("max_memory", max_memory),
        max_failures=1,
    )
    task = BenchTask(
        tuple(photos or ()), options, megapixels, count, repeat, against, price, progress
    )
    result = _run(task)
    _print(result, as_json=as_json)
    if result.interrupted:
        say(f"birefcli: interrupted after {result.rounds} of {repeat} rounds")
    raise typer.Exit(ExitCode.INTERRUPTED if result.interrupted else ExitCode.OK)


def _run(task: BenchTask) -> BenchResult:
    from birefcli.cli.terminal import ProgressBar  # rich takes its time

    with ProgressBar(None, bar=task.progress, lines=False) as bar:
        try:
            return run(task, bar.begin)
        except KeyboardInterrupt:
            raise InterruptError("interrupted before the first round ended") from None


def _print(result: BenchResult, *, as_json: bool) -> None:
    from birefcli.cli import bench_table

    record = bench_table.as_record(result)
    print(json_line(record) if as_json else "\n".join(bench_table.as_lines(record, result)))
    noise = bench_table.noise_warning(result.bench.rounds)
    if noise is not None:
        say(noise)
