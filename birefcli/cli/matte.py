"""``birefcli matte``: from the words of the command line to one task."""

import os
import re
import sys
from pathlib import Path

import typer

from birefcli import cores, files, zoo
from birefcli.cli import arguments, needed, parse
from birefcli.cli.run import Task, Voice, run
from birefcli.errors import NoInputError, UsageError
from birefcli.options import (
    SUFFIXES,
    Compress,
    Existing,
    Format,
    Lock,
    Options,
    PatchOrder,
    Precision,
    Product,
    Rendering,
    Selection,
    check_device,
)


def matte(
    context: typer.Context,
    inputs: arguments.Inputs = None,
    output: arguments.Output = "",
    write: arguments.Write = "cutout",
    background: arguments.Background = "white",
    format_: arguments.FormatName = None,
    bits: arguments.Bits = 8,
    compress: arguments.Effort = Compress.FAST,
    name: arguments.Name = "{stem}",
    crop: arguments.Crop = False,
    margin: arguments.Margin = "0",
    refine: arguments.Refine = True,
    strip: arguments.Strip = False,
    recursive: arguments.Recursive = True,
    include: arguments.Include = None,
    exclude: arguments.Exclude = None,
    files_from: arguments.FilesFrom = None,
    null: arguments.Null = False,
    max_megapixels: arguments.MaxMegapixels = 300.0,
    model: arguments.Model = zoo.DEFAULT,
    size: arguments.Size = None,
    patch_order: arguments.Order = PatchOrder.AUTO,
    offline: arguments.Offline = False,
    max_memory: arguments.MaxMemory = "auto",
    device: arguments.Devices = "auto",
    precision: arguments.Numbers = Precision.AUTO,
    batch: arguments.Batch = "auto",
    compiled: arguments.Compiled = True,
    threads: arguments.Threads = "auto",
    existing: arguments.WhenThere = Existing.UPDATE,
    dry_run: arguments.DryRun = False,
    lock: arguments.WhenBusy = Lock.LEAVE,
    failed_to: arguments.FailedTo = None,
    max_failures: arguments.MaxFailures = None,
    fail_fast: arguments.FailFast = False,
    fail_if_empty: arguments.FailIfEmpty = False,
    json_lines: arguments.JsonLines = False,
    quiet: arguments.Quiet = False,
    verbose: arguments.Verbose = False,
    progress: arguments.Progress = True,
    debug: arguments.Debug = False,
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
        listed=_listed(files_from, null),
    )
    if files_from == files.PIPE and files.PIPE in selection.inputs:
        raise UsageError("--files-from - and the photo - both want stdin")
    if files_from is not None and not selection.inputs and not selection.listed:
        raise NoInputError(f"--files-from {files_from}: names no photo")
    _check_selection(selection, json_lines)
    rendering = Rendering(
        products=parse.choices("--write", write, Product),
        format=_format(parse.file_format(format_), selection),
        bits=bits,
        compress=compress,
        background=background,
        crop=crop,
        margin=parse.margin(margin),
        refine=refine,
        strip=strip,
    )
    rendering.check()
    if needed.typed(context, "quiet") and needed.typed(context, "verbose"):
        raise UsageError("--quiet and --verbose: choose one")
    needed.refuse(context, "--files-from", there=files_from is not None, names=("null",))
    _check_effects(context, selection, rendering)
    options = Options(
        rendering=rendering,
        model=model,
        size=parse.size(size),
        patch_order=patch_order,
        offline=offline,
        device=_devices(device),
        precision=precision,
        batch=parse.automatic("--batch", batch),
        compiled=compiled,
        threads=parse.automatic("--threads", threads) or cores.count(),
        max_pixels=parse.pixels("--max-megapixels", max_megapixels),
        max_memory=parse.memory("--max-memory", max_memory),
        max_failures=1 if fail_fast else max_failures,
        fail_if_empty=fail_if_empty,
    )
    quiet = quiet and not needed.typed(context, "verbose")  # over a variable's --quiet
    voice = Voice(json_lines, quiet, verbose, progress, debug)
    task = Task(selection, options, existing, lock, dry_run, failed_to)
    raise typer.Exit(run(task, voice))


def _check_selection(selection: Selection, json_lines: bool) -> None:
    if not selection.inputs and not selection.listed:
        raise UsageError("no photo named; see birefcli matte --help")
    if "" in selection.inputs:
        raise UsageError("a photo's name is empty: is a variable not set?")
    if not selection.output:
        raise UsageError("say where the results go: --output FOLDER, FILE or -")
    if selection.output == files.PIPE and json_lines:
        raise UsageError("--json and --output - both want stdout")
    if selection.inputs.count(files.PIPE) > 1:
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
        raise UsageError(f"--name {selection.name}: only {{stem}}, {{name}} and plain text")


def _check_effects(context: typer.Context, selection: Selection, rendering: Rendering) -> None:
    composed = Product.COMPOSITE in rendering.products
    needed.refuse(context, "--write composite", there=composed, names=("background",))
    needed.refuse(context, "--crop", there=rendering.crop, names=("margin",))
    folder = selection.output != files.PIPE and not files.names_a_file(selection)
    needed.refuse(context, "a folder as --output", there=folder, names=("name",))


def _format(asked: Format | None, selection: Selection) -> Format:
    _refuse_odd(selection)
    if not files.names_a_file(selection):
        return asked or Format.PNG
    named = SUFFIXES[Path(selection.output).suffix.lower()]
    if asked not in (None, named):
        raise UsageError(f"--format {asked.value} and --output {selection.output} disagree")
    return named


def _devices(text: str) -> str:
    """See that these can be devices, before it takes torch to see whether they are there."""
    for name in text.split(","):
        check_device(name.strip())
    return text


def _refuse_odd(selection: Selection) -> None:
    """Refuse a folder that looks like a file of a format that cannot be written.

    One photo may have been meant for one file; several go to a folder, whatever it is called.
    """
    output, suffix = selection.output, Path(selection.output).suffix.lower()
    if suffix in SUFFIXES or output.endswith(("/", os.sep)) or files.is_folder(Path(output)):
        return
    alone = len(selection.inputs) == 1 and not files.is_folder(Path(selection.inputs[0]))
    meant = alone and re.fullmatch(r"\.[a-z][a-z0-9]{1,3}", suffix)
    if suffix in files.PHOTO_SUFFIXES or meant:
        raise UsageError(
            f"--output {output}: {suffix} is no format that can be written; use"
            f" {', '.join(SUFFIXES)}, or end a folder's name in /"
        )


def _listed(source: str | None, null: bool) -> tuple[str, ...]:
    if source is None:
        return ()
    try:
        data = sys.stdin.buffer.read() if source == files.PIPE else Path(source).read_bytes()
    except OSError as error:
        raise NoInputError(f"--files-from {source}: {error.strerror}") from None
    if Path(source).suffix.lower() in files.PHOTO_SUFFIXES:
        raise UsageError(f"--files-from {source}: is a photo by its name; give a list of names")
    if null and data.strip() and b"\0" not in data:
        raise UsageError(f"--files-from {source}: its names do not end in NUL; leave out --null")
    # No file name holds NUL: a list that does is one whose names end in it.
    if null or b"\0" in data:
        names = data.split(b"\0")
    else:
        names = [line.removesuffix(b"\r") for line in data.split(b"\n")]
    return tuple(os.fsdecode(name) for name in names if name.strip())
