"""``birefcli matte``: its options, and the order in which things are checked and done."""

import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from birefcli import files
from birefcli.cli import parse
from birefcli.errors import ExitCode, NoInputError, UsageError
from birefcli.files import Job
from birefcli.options import (
    SUFFIXES,
    Compress,
    Existing,
    Format,
    Options,
    PatchOrder,
    Precision,
    Product,
    Rendering,
    Selection,
)
from birefcli.report import Outcome, Report, Status

if TYPE_CHECKING:
    from birefcli.cli.display import Display
    from birefcli.compose import Background
    from birefcli.matting import Matter

OUTPUT, MODEL, SPEED, RUNNING, SELECTION = "Output", "Model", "Speed", "Running", "Photos"
MAX_MEGAPIXELS = 300.0


def _option(panel: str, *names: str, help: str, **more: object) -> typer.models.OptionInfo:  # noqa: A002
    """Describe an option of ``panel`` that a crontab can set as BIREFCLI_NAME too."""
    variable = "BIREFCLI_" + names[0].split("/")[0].lstrip("-").replace("-", "_").upper()
    info: typer.models.OptionInfo = typer.Option(
        *names,
        help=help,
        rich_help_panel=panel,
        envvar=variable,
        show_envvar=False,
        **more,  # type: ignore[arg-type]
    )
    return info


def matte(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Photos, folders of photos, or - for stdin.", show_default=False),
    ] = None,
    output: Annotated[
        str,
        _option(
            OUTPUT,
            "--output",
            "-o",
            metavar="PATH",
            help="Folder, file (for one photo), or -.",
            show_default=False,
        ),
    ] = "",
    write: Annotated[
        str,
        _option(
            OUTPUT,
            "--write",
            metavar="LIST",
            help="cutout, mask, composite, foreground, trimap; several with commas.",
        ),
    ] = "cutout",
    background: Annotated[
        str,
        _option(
            OUTPUT,
            "--background",
            metavar="WHAT",
            help="CSS colour, image, folder of images, or blur[:RADIUS].",
        ),
    ] = "white",
    format_: Annotated[
        Format | None,
        _option(OUTPUT, "--format", help="File format. [default: png]", show_default=False),
    ] = None,
    bits: Annotated[
        int, _option(OUTPUT, "--bits", metavar="8|16", help="Bits a channel: 8 or 16.")
    ] = 8,
    compress: Annotated[
        Compress, _option(OUTPUT, "--compress", help="Speed against file size.")
    ] = Compress.FAST,
    name: Annotated[
        str,
        _option(
            OUTPUT,
            "--name",
            metavar="TEMPLATE",
            help="Name of the result; {name} keeps the photo's extension.",
        ),
    ] = "{stem}",
    crop: Annotated[bool, _option(OUTPUT, "--crop", help="Cut to the subject.")] = False,
    margin: Annotated[
        str,
        _option(OUTPUT, "--margin", metavar="N|N%", help="Room around a crop: pixels, or like 5%."),
    ] = "0",
    refine: Annotated[
        bool,
        _option(
            OUTPUT, "--refine/--no-refine", help="Estimate the subject's own colour at soft edges."
        ),
    ] = True,
    recursive: Annotated[
        bool, _option(SELECTION, "--recursive/--no-recursive", help="Walk folders inside folders.")
    ] = True,
    include: Annotated[
        list[str] | None,
        _option(SELECTION, "--include", metavar="GLOB", help="Only names like this, in folders."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        _option(SELECTION, "--exclude", metavar="GLOB", help="No names like this, in folders."),
    ] = None,
    files_from: Annotated[
        str | None,
        _option(
            SELECTION, "--files-from", metavar="FILE", help="Read photo names from a file, or -."
        ),
    ] = None,
    null: Annotated[
        bool, _option(SELECTION, "--null", "-0", help="Names of --files-from end in NUL.")
    ] = False,
    max_megapixels: Annotated[
        float, _option(SELECTION, "--max-megapixels", metavar="N", help="Refuse larger photos.")
    ] = MAX_MEGAPIXELS,
    model: Annotated[
        str,
        _option(
            MODEL,
            "--model",
            "-m",
            metavar="NAME|FILE",
            help="Name (see birefcli models) or weights file.",
        ),
    ] = "portrait",
    size: Annotated[
        str | None,
        _option(
            MODEL, "--size", metavar="N|WxH", help="Input size N or WxH instead of the model's own."
        ),
    ] = None,
    patch_order: Annotated[
        PatchOrder, _option(MODEL, "--patch-order", help="How the weights read image patches.")
    ] = PatchOrder.AUTO,
    offline: Annotated[
        bool, _option(MODEL, "--offline", help="Use downloaded weights only.")
    ] = False,
    device: Annotated[
        str, _option(SPEED, "--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:N, mps.")
    ] = "auto",
    precision: Annotated[
        Precision, _option(SPEED, "--precision", help="auto is fp16 on CUDA, fp32 elsewhere.")
    ] = Precision.AUTO,
    batch: Annotated[
        str, _option(SPEED, "--batch", metavar="N", help="Photos at once, or auto.")
    ] = "auto",
    threads: Annotated[
        str,
        _option(
            SPEED, "--threads", metavar="N", help="Photos decoded and encoded at once, or auto."
        ),
    ] = "auto",
    existing: Annotated[
        Existing, _option(RUNNING, "--existing", help="What to do where results are there.")
    ] = Existing.UPDATE,
    fail_fast: Annotated[
        bool, _option(RUNNING, "--fail-fast", help="Stop at the first photo that fails.")
    ] = False,
    fail_if_empty: Annotated[
        bool, _option(RUNNING, "--fail-if-empty", help="A matte without a subject is a failure.")
    ] = False,
    json_lines: Annotated[
        bool, _option(RUNNING, "--json", help="A JSON line per photo and a summary, on stdout.")
    ] = False,
    quiet: Annotated[bool, _option(RUNNING, "--quiet", "-q", help="Only failures.")] = False,
    verbose: Annotated[bool, _option(RUNNING, "--verbose", "-v", help="A line per photo.")] = False,
    progress: Annotated[
        bool, _option(RUNNING, "--progress/--no-progress", help="Show a progress bar.")
    ] = True,
    debug: Annotated[
        bool, _option(RUNNING, "--debug", help="Traceback when something fails.")
    ] = False,
) -> None:
    """Cut the subject out of photos.

    [bold]birefcli matte photos/ -o cutouts/[/bold]
    """
    del debug  # __main__ looks for it itself
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
    _check_selection(selection, json_lines)
    rendering = Rendering(
        products=parse.choices("--write", write, Product),
        format=_format(format_, selection),
        bits=bits,
        compress=compress,
        background=background,
        crop=crop,
        margin=parse.margin(margin),
        refine=refine,
    )
    _check_rendering(rendering)
    options = Options(
        rendering=rendering,
        model=model,
        size=parse.size(size),
        patch_order=patch_order,
        offline=offline,
        device=device,
        precision=precision,
        batch=parse.automatic("--batch", batch),
        threads=parse.automatic("--threads", threads) or _cores(),
        max_pixels=int(max_megapixels * 1e6),
        fail_fast=fail_fast,
        fail_if_empty=fail_if_empty,
    )
    voice = _Voice(json_lines, quiet, verbose, progress)
    raise typer.Exit(_run(selection, options, existing, voice))


class _Voice:
    """How a run tells of itself."""

    def __init__(self, json_lines: bool, quiet: bool, verbose: bool, bar: bool) -> None:
        self.json_lines, self.quiet, self.verbose, self.bar = json_lines, quiet, verbose, bar

    def display(self, total: int) -> "Display":
        """Build the progress display for ``total`` photos."""
        from birefcli.cli.display import Display

        return Display(total, quiet=self.quiet, verbose=self.verbose, bar=self.bar)


def _run(selection: Selection, options: Options, existing: Existing, voice: _Voice) -> ExitCode:
    """Everything that can be known to fail is checked before the model loads."""
    search = files.find(selection)
    jobs = files.plan(search.found, selection, options.rendering.products, options.rendering.format)
    files.check_output(jobs, selection)
    todo, done = files.pending(jobs, existing)
    started = time.monotonic()
    report = Report()
    with voice.display(len(jobs)) as display, _sigterm_as_exception():
        for path, reason in search.skipped:
            _tell(Outcome(str(path), Status.SKIPPED, reason=reason), report, display, voice)
        for job, reason in done:
            status = Status.CURRENT if existing is Existing.UPDATE else Status.SKIPPED
            outcome = Outcome(job.label, status, dict(job.targets), reason=reason)
            _tell(outcome, report, display, voice)
        try:
            if todo:
                _matte(todo, options, report, display, voice)
        except KeyboardInterrupt:
            report.interrupted = ExitCode.INTERRUPTED
        except _TerminatedError:
            report.interrupted = ExitCode.TERMINATED
    report.seconds = time.monotonic() - started
    if voice.json_lines:
        print(report.as_json(), flush=True)
    display.summary(report)
    return report.exit_code


def _matte(
    todo: list[Job], options: Options, report: Report, display: "Display", voice: _Voice
) -> None:
    from birefcli import pipeline
    from birefcli.devices import default_batch

    background = _background(options.rendering, options.max_pixels)
    matter = _matter(options, report, show_bar=not voice.quiet and voice.bar)
    batch = options.batch or default_batch(matter.compute.device)
    outcomes = pipeline.run(todo, options, matter, batch, background)
    try:
        _follow(outcomes, options.fail_fast, report, display, voice)
    finally:
        outcomes.close()  # waits for what is being written


def _follow(
    outcomes: Iterable[Outcome], fail_fast: bool, report: Report, display: "Display", voice: _Voice
) -> None:
    for outcome in outcomes:
        _tell(outcome, report, display, voice)
        if fail_fast and outcome.status is Status.FAILED:
            return


def _tell(outcome: Outcome, report: Report, display: "Display", voice: _Voice) -> None:
    report.add(outcome)
    display.add(outcome)
    if voice.json_lines:
        print(outcome.as_json(), flush=True)


def _background(rendering: Rendering, max_pixels: int) -> "Background":
    from birefcli.compose import Background

    return Background(rendering.background, max_pixels)


def _matter(options: Options, report: Report, show_bar: bool) -> "Matter":
    from birefcli import devices, weights
    from birefcli.matting import Matter

    compute = devices.choose(options.device, options.precision)
    checkpoint = weights.resolve(options.model, offline=options.offline, progress=show_bar)
    network = weights.load(checkpoint, patch_order=options.patch_order)
    report.device, report.precision = str(compute.device), compute.precision.value
    report.model = checkpoint.name
    return Matter(network, options.size or checkpoint.size, compute)


def _check_selection(selection: Selection, json_lines: bool) -> None:
    if not selection.inputs and not selection.listed:
        raise NoInputError("no photo named; see birefcli matte --help")
    if not selection.output:
        raise UsageError("say where the results go: --output FOLDER, FILE or -")
    if selection.output == files.PIPE and json_lines:
        raise UsageError("--json and --output - both want stdout")
    if selection.inputs.count(files.PIPE) > 1:
        raise UsageError("stdin (-) can be read once")
    try:
        made = selection.name.format(stem="a", name="a.jpg")
    except (KeyError, IndexError, ValueError):
        made = ""
    if not made or made in (".", "..") or "/" in made or os.sep in made:
        raise UsageError(f"--name {selection.name}: only {{stem}}, {{name}} and plain text")


def _check_rendering(rendering: Rendering) -> None:
    if rendering.bits not in rendering.format.bits:
        held = " or ".join(map(str, rendering.format.bits))
        raise UsageError(f"--bits {rendering.bits}: {rendering.format.value} holds {held} bits")
    transparent = [kind.value for kind in rendering.products if kind.has_alpha]
    if rendering.format is Format.JPG and transparent:
        raise UsageError(
            f"--format jpg cannot hold a {transparent[0]}: use --write composite, or png"
        )


def _format(asked: Format | None, selection: Selection) -> Format:
    if not files.names_a_file(selection):
        return asked or Format.PNG
    named = SUFFIXES[Path(selection.output).suffix.lower()]
    if asked not in (None, named):
        raise UsageError(f"--format {asked.value} and --output {selection.output} disagree")
    return named


def _listed(source: str | None, null: bool) -> tuple[Path, ...]:
    if source is None:
        return ()
    try:
        data = sys.stdin.buffer.read() if source == files.PIPE else Path(source).read_bytes()
    except OSError as error:
        raise NoInputError(f"--files-from {source}: {error.strerror}") from None
    names = data.split(b"\0" if null else b"\n")
    return tuple(Path(os.fsdecode(name.removesuffix(b"\r"))) for name in names if name.strip())


def _cores() -> int:
    return max(
        1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )


class _TerminatedError(BaseException):
    pass


@contextmanager
def _sigterm_as_exception() -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        raise _TerminatedError

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
