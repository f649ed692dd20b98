"""``birefcli matte``: its options, and the order in which things are checked and done."""

import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from birefcli import current, digests, files, locks, zoo
from birefcli.cli import parse
from birefcli.current import Decision
from birefcli.errors import ExitCode, NoInputError, OutputError, UsageError
from birefcli.files import Job
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
)
from birefcli.report import Outcome, Report, Status

if TYPE_CHECKING:
    from birefcli.cli.display import Display
    from birefcli.compose import Background
    from birefcli.current import Recipes
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
    strip: Annotated[
        bool, _option(OUTPUT, "--strip", help="Leave out where the photo was taken.")
    ] = False,
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
    max_memory: Annotated[
        str,
        _option(
            SPEED,
            "--max-memory",
            metavar="GB",
            help="What photos in flight may take by estimate, or auto: a quarter of the memory.",
        ),
    ] = "auto",
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
    dry_run: Annotated[
        bool, _option(RUNNING, "--dry-run", help="Say what would be done and why, and do nothing.")
    ] = False,
    lock: Annotated[
        Lock, _option(RUNNING, "--lock", help="What to do while another run writes there.")
    ] = Lock.LEAVE,
    failed_to: Annotated[
        str | None,
        _option(
            RUNNING,
            "--failed-to",
            metavar="FILE",
            help="Write the failed photos' names, for --files-from.",
        ),
    ] = None,
    max_failures: Annotated[
        int | None,
        _option(RUNNING, "--max-failures", metavar="N", help="Stop after N failed photos.", min=1),
    ] = None,
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
        strip=strip,
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
        max_memory=parse.memory("--max-memory", max_memory),
        max_failures=1 if fail_fast else max_failures,
        fail_if_empty=fail_if_empty,
    )
    voice = _Voice(json_lines, quiet, verbose, progress)
    task = _Task(selection, options, existing, lock, dry_run, failed_to)
    raise typer.Exit(_run(task, voice))


@dataclass(frozen=True)
class _Task:
    """What is to be run, and how."""

    selection: Selection
    options: Options
    existing: Existing
    lock: Lock
    dry_run: bool
    failed_to: str | None


@dataclass(frozen=True)
class _Voice:
    """How a run tells of itself."""

    json_lines: bool
    quiet: bool
    verbose: bool
    bar: bool

    def display(self, total: int) -> "Display":
        """Build the progress display for ``total`` photos."""
        from birefcli.cli.display import Display

        return Display(total, quiet=self.quiet, verbose=self.verbose, bar=self.bar)


def _run(task: _Task, voice: _Voice) -> ExitCode:
    """Everything that can be known to fail is checked before the model loads."""
    search = files.find(task.selection)
    rendering = task.options.rendering
    jobs = files.plan(search.found, task.selection, rendering.products, rendering.format)
    files.check_output(jobs, task.selection, make=not task.dry_run)
    background = _background(task.options) if Product.COMPOSITE in rendering.products else None
    behind = (lambda _: "") if background is None else background.identity
    recipes = current.recipes(task.options, _identity(task.options.model), behind)
    with _locked(task), voice.display(len(jobs)) as display:
        if not task.dry_run:
            files.clear_stale(_folders(jobs))
        decisions = [current.decide(job, task.existing, recipes(job)) for job in jobs]
        teller = _Teller(display, voice, started=time.monotonic())
        for path, reason in search.skipped:
            teller.tell(Outcome(str(path), Status.SKIPPED, reason=reason))
        todo = list(_tell_kept(decisions, jobs, task.existing, teller))
        if task.dry_run:
            _tell_planned(todo, teller)
        elif todo:
            with _signals():
                _matte(todo, task, recipes, background, teller)
        return _end(todo, task, teller)


class _Teller:
    """Tells of each photo as it ends, and counts."""

    def __init__(self, display: "Display", voice: _Voice, started: float) -> None:
        self.display, self.voice, self.started = display, voice, started
        self.report = Report()
        self.failed: list[str] = []
        self.ended = 0

    def tell(self, outcome: Outcome) -> None:
        """One photo has ended."""
        self.report.add(outcome)
        self.display.add(outcome)
        if self.voice.json_lines:
            print(outcome.as_json(), flush=True)


def _tell_kept(
    decisions: list[Decision], jobs: list[Job], existing: Existing, teller: _Teller
) -> Iterator[Decision]:
    """Tell of photos that need nothing; yield the others."""
    for decision, job in zip(decisions, jobs, strict=True):
        if decision.job.targets:
            yield decision
            continue
        skipped = decision.foreign or existing is Existing.SKIP
        status = Status.SKIPPED if skipped else Status.CURRENT
        teller.tell(Outcome(job.label, status, dict(job.targets), reason=decision.reason))


def _tell_planned(todo: list[Decision], teller: _Teller) -> None:
    for decision in todo:
        job = decision.job
        outcome = Outcome(job.label, Status.PENDING, dict(job.targets), reason=decision.reason)
        teller.tell(outcome)
        if not teller.voice.json_lines:
            teller.display.result(outcome)


def _end(todo: list[Decision], task: _Task, teller: _Teller) -> ExitCode:
    report = teller.report
    if not task.dry_run:
        report.leave(len(todo) - teller.ended)
    report.seconds = time.monotonic() - teller.started
    if task.failed_to is not None and not task.dry_run:
        _write_failed(task.failed_to, teller.failed)
    if teller.voice.json_lines:
        print(report.as_json(), flush=True)
    teller.display.summary(report)
    return report.exit_code


def _write_failed(file: str, names: list[str]) -> None:
    """Write names a line each, or ending in NUL where one of them holds a line break."""
    end = "\0" if any("\n" in name for name in names) else "\n"
    data = b"".join(os.fsencode(name + end) for name in names)
    try:
        files.write_atomically(Path(file), data)
    except OSError as error:
        raise OutputError(f"--failed-to {file}: {error.strerror}") from None


def _matte(
    todo: list[Decision],
    task: _Task,
    recipes: "Recipes",
    background: "Background | None",
    teller: _Teller,
) -> None:
    from birefcli.budget import Budget
    from birefcli.devices import default_batch
    from birefcli.pipeline import Run

    options, voice = task.options, teller.voice
    try:
        matter = _matter(options, teller.report, show_bar=not voice.quiet and voice.bar)
        batch = options.batch or default_batch(matter.compute.device)
        budget = Budget(options.max_memory)
        run = Run(options, matter, batch, background or _background(options), recipes, budget)
        outcomes = run(todo)
        try:
            _follow(outcomes, todo, options.max_failures, teller)
        finally:
            outcomes.close()  # waits for what is being written
    except KeyboardInterrupt:
        teller.report.stopped = ExitCode.INTERRUPTED
    except _TerminatedError:
        teller.report.stopped = ExitCode.TERMINATED


def _follow(
    outcomes: Iterable[Outcome], todo: list[Decision], limit: int | None, teller: _Teller
) -> None:
    for outcome, decision in zip(outcomes, todo, strict=True):
        teller.ended += 1
        teller.tell(outcome)
        if outcome.status is not Status.FAILED:
            continue
        if decision.job.source is not None:
            teller.failed.append(files.listed_as(decision.job))
        if outcome.fatal:
            teller.report.stopped = ExitCode.OUTPUT
            return
        if limit is not None and teller.report.counts[Status.FAILED] >= limit:
            return


def _background(options: Options) -> "Background":
    from birefcli.compose import Background

    return Background(options.rendering.background, options.max_pixels)


def _identity(model: str) -> str:
    """What tells these weights from others, without loading them."""
    if zoo.is_file(model):
        path = Path(model)
    else:
        known = zoo.lookup(model)
        if known.sha256 is not None:
            return known.sha256
        path = zoo.MINI_FILE
    try:
        return digests.of(path)
    except OSError:
        return ""  # loading it, if it comes to that, says what is wrong


def _folders(jobs: list[Job]) -> set[Path]:
    return {t.parent for job in jobs for t in job.targets.values() if t is not None}


def _locked(task: _Task) -> AbstractContextManager[None]:
    """Hold the output folder; one file, which is replaced in one step, needs no lock."""
    selection = task.selection
    if task.dry_run or selection.output == files.PIPE or files.names_a_file(selection):
        return nullcontext()
    return locks.hold(files.output_folder(selection), task.lock)


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


def _listed(source: str | None, null: bool) -> tuple[str, ...]:
    if source is None:
        return ()
    try:
        data = sys.stdin.buffer.read() if source == files.PIPE else Path(source).read_bytes()
    except OSError as error:
        raise NoInputError(f"--files-from {source}: {error.strerror}") from None
    # No file name holds NUL: a list that does is one whose names end in it.
    names = data.split(b"\0" if null or b"\0" in data else b"\n")
    return tuple(os.fsdecode(name.removesuffix(b"\r")) for name in names if name.strip())


def _cores() -> int:
    return max(
        1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )


class _TerminatedError(BaseException):
    pass


@contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM and the first Ctrl-C become exceptions; the second Ctrl-C ends it at once."""
    pressed = 0

    def interrupt(number: int, frame: object) -> None:
        nonlocal pressed
        pressed += 1
        if pressed > 1:
            files.drop_unfinished()
            os._exit(ExitCode.INTERRUPTED)
        raise KeyboardInterrupt

    def terminate(number: int, frame: object) -> None:
        raise _TerminatedError

    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, interrupt),
        signal.SIGTERM: signal.signal(signal.SIGTERM, terminate),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
