"""``birefcli export``: a model as an ONNX file, for programs without torch."""

from pathlib import Path
from typing import Annotated

import typer

from birefcli import values
from birefcli.cli import completion, shared_options
from birefcli.cli.local_paths import local_path
from birefcli.cli.shared_options import MODEL, OUTPUT, reworded
from birefcli.errors import UsageError, printable
from birefcli.options import PatchOrder
from birefcli.system.paths import with_home

Exported = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL",
        help="Name (see birefcli models list), weights file, its URL, or folder with one.",
        show_default=False,
        autocompletion=completion.model,
        parser=with_home,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE.onnx",
        help="The file to write.",
        rich_help_panel=OUTPUT,
        show_default=False,
        parser=local_path,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace a file of that name.", rich_help_panel=OUTPUT),
]
Logits = Annotated[
    bool,
    typer.Option(
        "--logits",
        help="Give logits, as other ONNX files of BiRefNet do.",
        rich_help_panel=OUTPUT,
    ),
]
# As for training: no variable that is set for every night's photos may change what is exported.
Size = Annotated[
    str | None,
    reworded(
        shared_options.Size,
        "The input size, instead of the model's own.",
        envvar=None,
        rich_help_panel=MODEL,
    ),
]
Order = Annotated[
    PatchOrder,
    reworded(
        shared_options.Order,
        "Patch order of your own weights.",
        envvar=None,
    ),
]
Offline = Annotated[
    bool, reworded(shared_options.Offline, "Use downloaded weights only.", envvar=None)
]


def export(
    model: Exported = None,
    output: Output = None,
    overwrite: Overwrite = False,
    logits: Logits = False,
    size: Size = None,
    patch_order: Order = PatchOrder.AUTO,
    offline: Offline = False,
    quiet: shared_options.PlainQuiet = False,
    progress: shared_options.PlainProgress = True,
    debug: shared_options.PlainDebug = False,
) -> None:
    """Write a model as one ONNX file, for programs without torch.

    birefcli export lite -o lite.onnx

    The file is compared with torch in ONNX Runtime before it gets its name; the largest difference
    of alpha is printed.
    """
    if model is None:
        raise UsageError("no model named; see birefcli export --help")
    if output is None:
        raise UsageError("say where the file goes: --output FILE.onnx")
    network_size = values.size(size)
    from birefcli.cli.terminal import ProgressBar  # rich takes its time
    from birefcli.models.onnx_export import ExportTask
    from birefcli.models.onnx_export import export as write

    shown = progress and not quiet
    task = ExportTask(
        model, output, network_size, patch_order, offline, logits, overwrite, progress=shown
    )
    with ProgressBar(None, bar=shown, lines=False) as bar:
        made = write(task, lambda what: bar.begin(what, 1))
    if not quiet:
        size_ = f"{made.checkpoint.size}, {made.size_bytes / 1e6:.0f} MB"
        print(printable(f"{made.path}: {made.checkpoint.name} at {size_}"))
        print(f"largest difference of alpha from torch: {made.difference:.1e}")
