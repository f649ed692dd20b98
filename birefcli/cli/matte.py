"""``birefcli matte``: from the words of the command line to one task."""

import os
import re
from pathlib import Path

import typer

from birefcli import values
from birefcli.batch.lists import read_list
from birefcli.batch.places import PIPE
from birefcli.batch.targets import names_a_file
from birefcli.cli import rules, shared_options
from birefcli.cli.spelling import spelling
from birefcli.errors import Message, NoInputError, Option, UsageError
from birefcli.images.files import PHOTO_SUFFIXES
from birefcli.models import zoo
from birefcli.options import (
    SUFFIXES,
    BatchOptions,
    ClusterOptions,
    Compress,
    Edges,
    Existing,
    Format,
    Lock,
    ModelOptions,
    PatchOrder,
    Precision,
    Product,
    Rendering,
    RunOn,
    Selection,
    check_device,
)
from birefcli.system import cpu
from birefcli.system.paths import is_folder


def matte(
    context: typer.Context,
    inputs: shared_options.Inputs = None,
    output: shared_options.Output = "",
    write: shared_options.Write = "cutout",
    background: shared_options.Background = "white",
    format_: shared_options.FormatName = None,
    bits: shared_options.Bits = 8,
    compress: shared_options.Effort = Compress.FAST,
    name: shared_options.Name = "{stem}",
    crop: shared_options.Crop = False,
    margin: shared_options.Margin = "0",
    refine: shared_options.Refine = True,
    strip: shared_options.Strip = False,
    recursive: shared_options.Recursive = True,
    include: shared_options.Include = None,
    exclude: shared_options.Exclude = None,
    files_from: shared_options.FilesFrom = None,
    null: shared_options.Null = False,
    max_megapixels: shared_options.MaxMegapixels = 300.0,
    model: shared_options.Model = zoo.DEFAULT,
    size: shared_options.Size = None,
    patch_order: shared_options.Order = PatchOrder.AUTO,
    edges: shared_options.EdgesHow = Edges.AUTO,
    offline: shared_options.Offline = False,
    max_memory: shared_options.MaxMemory = "auto",
    device: shared_options.Devices = "auto",
    precision: shared_options.Numbers = Precision.AUTO,
    batch: shared_options.Batch = "auto",
    compiled: shared_options.Compiled = True,
    threads: shared_options.Threads = "auto",
    on: shared_options.On = RunOn.LOCAL,
    workers: shared_options.Workers = None,
    photo_timeout: shared_options.PhotoTimeout = "1800",
    existing: shared_options.WhenThere = Existing.UPDATE,
    dry_run: shared_options.DryRun = False,
    lock: shared_options.WhenBusy = Lock.LEAVE,
    failed_to: shared_options.FailedTo = None,
    max_failures: shared_options.MaxFailures = None,
    fail_fast: shared_options.FailFast = False,
    fail_if_empty: shared_options.FailIfEmpty = False,
    json_lines: shared_options.JsonLines = False,
    quiet: shared_options.Quiet = False,
    verbose: shared_options.Verbose = False,
    progress: shared_options.Progress = True,
    debug: shared_options.Debug = False,
) -> None:
    """Cut the subject out of photos.

    [bold]birefcli matte photos/ -o cutouts/[/bold]
    """
    selection = Selection(
        inputs=tuple(inputs or ()),
        output=output,
        recursive=recursive,
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        name=name,
        listed=() if files_from is None else read_list(files_from, null=null),
    )
    if files_from == PIPE and PIPE in selection.inputs:
        both = Message(Option("files_from", "-"), " and the photo - both want stdin")
        raise UsageError(both)
    if files_from is not None and not selection.inputs and not selection.listed:
        raise NoInputError("names no photo", option="files_from", value=files_from)
    _check_selection(selection, json_lines)
    rendering = Rendering(
        products=values.choices("write", write, Product),
        format=_format(values.file_format(format_), selection),
        bits=bits,
        compress=compress,
        background=background,
        crop=crop,
        margin=values.margin(margin),
        refine=refine,
        strip=strip,
    )
    rendering.check()
    if rules.is_typed(context, "quiet") and rules.is_typed(context, "verbose"):
        raise UsageError("--quiet and --verbose: choose one")
    rules.refuse_without(context, "--files-from", there=files_from is not None, names=("null",))
    _check_effects(context, selection, rendering)
    rules.refuse_without(context, "--on ray", there=on is RunOn.RAY, names=("workers",))
    options = BatchOptions(
        rendering=rendering,
        model=ModelOptions(
            name=model,
            size=values.size(size),
            patch_order=patch_order,
            offline=offline,
            device=_devices(device, on),
            precision=precision,
            compile=compiled,
            edges=edges,
        ),
        batch=values.automatic("batch", batch),
        threads=values.automatic("threads", threads) or cpu.count(),
        max_pixels=values.pixels("max_megapixels", max_megapixels),
        max_memory=values.memory("max_memory", max_memory),
        max_failures=1 if fail_fast else max_failures,
        fail_if_empty=fail_if_empty,
        photo_timeout=values.seconds("photo_timeout", photo_timeout),
        cluster=_cluster(on, workers, threads, max_memory),
    )
    from birefcli.batch.run import BatchTask, run  # help needs neither, and rich takes its time
    from birefcli.cli.batch_reporter import TerminalReporter, Verbosity

    task = BatchTask(selection, options, existing, lock, dry_run, failed_to)
    quiet = quiet and not rules.is_typed(context, "verbose")  # over a variable's --quiet
    verbosity = Verbosity(json_lines, quiet, verbose, progress, debug)
    with TerminalReporter(verbosity, spelling(context)) as reporter:
        summary = run(task, reporter)
    if summary.nothing_found is not None:
        raise NoInputError(summary.nothing_found)
    raise typer.Exit(summary.exit_code)


def _check_selection(selection: Selection, json_lines: bool) -> None:
    if not selection.inputs and not selection.listed:
        raise UsageError("no photo named; see birefcli matte --help")
    if "" in selection.inputs:
        raise UsageError("a photo's name is empty: is a variable not set?")
    if not selection.output:
        raise UsageError("say where the results go: --output FOLDER, FILE or -")
    if selection.output == PIPE and json_lines:
        given = Option("json", given=True)
        raise UsageError(Message(given, " and ", Option("output", "-"), " both want stdout"))
    if selection.inputs.count(PIPE) > 1:
        raise UsageError("stdin (-) can be read once")
    made = selection.name.replace("{stem}", "a").replace("{name}", "a")
    if (
        "{" in made
        or "}" in made
        or not made
        or made in (".", "..")
        or "/" in made
        or os.sep in made
    ):
        wrong = "only {stem}, {name} and plain text"
        raise UsageError(wrong, option="name", value=selection.name)


def _check_effects(context: typer.Context, selection: Selection, rendering: Rendering) -> None:
    composed = Product.COMPOSITE in rendering.products
    rules.refuse_without(context, "--write composite", there=composed, names=("background",))
    rules.refuse_without(context, "--crop", there=rendering.crop, names=("margin",))
    folder = selection.output != PIPE and not names_a_file(selection)
    rules.refuse_without(context, "a folder as --output", there=folder, names=("name",))


def _format(asked: Format | None, selection: Selection) -> Format:
    _refuse_odd(selection)
    if not names_a_file(selection):
        return asked or Format.PNG
    named = SUFFIXES[Path(selection.output).suffix.lower()]
    if asked not in (None, named):
        both = (Option("format", asked.value), " and ", Option("output", selection.output))
        raise UsageError(Message(*both, " disagree"))
    return named


def _devices(text: str, on: RunOn) -> str:
    """See that these can be devices, before it takes torch to see whether they are there."""
    if on is RunOn.RAY and text not in ("auto", "cpu", "cuda"):
        wrong = Message("choose auto, cpu or cuda with ", Option("on", "ray"))
        raise UsageError(wrong, option="device", value=text)
    for name in text.split(","):
        check_device(name.strip())
    return text


def _cluster(
    on: RunOn, workers: int | None, threads: str, max_memory: str
) -> ClusterOptions | None:
    """What is each worker's own on a cluster; its machine decides what is ``auto``."""
    if on is RunOn.LOCAL:
        return None
    memory = None if max_memory == "auto" else values.memory("max_memory", max_memory)
    return ClusterOptions(workers, values.automatic("threads", threads), memory)


def _refuse_odd(selection: Selection) -> None:
    """Refuse a folder that looks like a file of a format that cannot be written.

    One photo may have been meant for one file; several go to a folder, whatever it is called.
    """
    output, suffix = selection.output, Path(selection.output).suffix.lower()
    if suffix in SUFFIXES or output.endswith(("/", os.sep)) or is_folder(Path(output)):
        return
    alone = len(selection.inputs) == 1 and not is_folder(Path(selection.inputs[0]))
    meant = alone and re.fullmatch(r"\.[a-z][a-z0-9]{1,3}", suffix)
    if suffix in PHOTO_SUFFIXES or meant:
        raise UsageError(
            f"{suffix} is no format that can be written; use {', '.join(SUFFIXES)}, or end a"
            " folder's name in /",
            option="output",
            value=output,
        )
