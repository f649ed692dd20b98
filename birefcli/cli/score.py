"""``birefcli score``: a signature, options, one call, printing."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from birefcli import values
from birefcli.cli import rules, score_options, shared_options
from birefcli.cli.spelling import spelling
from birefcli.errors import ExitCode, OutputError, Spell, UsageError
from birefcli.options import Edges, ModelOptions, PatchOrder, Precision
from birefcli.system import atomic
from birefcli.system.paths import is_folder

if TYPE_CHECKING:
    from birefcli.scoring.run import ScoreOptions, ScoreResult

NEED_MODEL = ("size", "patch_order", "edges", "offline", "device", "precision", "batch")
"""Options that do nothing without a model."""


@dataclass(frozen=True)
class Output:
    """What is printed and written."""

    as_json: bool
    as_csv: bool
    each: bool
    report: Path | None
    title: str
    """Of the report."""


def score(
    context: typer.Context,
    predictions: score_options.Predictions,
    truths: score_options.Truths,
    trimaps: score_options.Trimaps = None,
    trimap_radius: score_options.TrimapRadius = None,
    foregrounds: score_options.Foregrounds = None,
    photos: score_options.Photos = None,
    hold_out: score_options.HoldOut = None,
    allow_missing: score_options.AllowMissing = False,
    max_megapixels: shared_options.MaxMegapixels = 300.0,
    json_: score_options.AsJson = False,
    csv_: score_options.AsCsv = False,
    each: score_options.Each = False,
    report: score_options.Report = None,
    permille: score_options.Permille = False,
    model: score_options.Model = None,
    size: shared_options.Size = None,
    patch_order: shared_options.Order = PatchOrder.AUTO,
    edges: shared_options.EdgesHow = Edges.AUTO,
    offline: shared_options.Offline = False,
    device: shared_options.Device = "auto",
    precision: shared_options.Numbers = Precision.AUTO,
    batch: shared_options.Batch = "auto",
    threads: score_options.Threads = "auto",
    max_memory: score_options.MaxMemory = "auto",
    quiet: score_options.Quiet = False,
    progress: shared_options.Progress = True,
    debug: shared_options.Debug = False,
) -> None:
    """Measure how good mattes are, against true ones.

    birefcli score predictions/ truths/

    Pairs are found by name. Both may be folders of P3M-10k's or BiRefNet's layout.
    """
    rules.refuse_without(context, "--model", there=model is not None, names=NEED_MODEL)
    pictured = report is not None and model is None
    rules.refuse_without(context, "--report (and no --model)", there=pictured, names=("photos",))
    if json_ and csv_:
        raise UsageError("--json and --csv both want stdout: choose one")
    if trimaps is not None and trimap_radius is not None:
        raise UsageError("--trimaps and --trimap-radius both make trimaps: choose one")
    network = None
    if model is not None:
        network = ModelOptions(
            model, values.size(size), patch_order, offline, device, precision, edges=edges
        )
    limits = (
        values.automatic("batch", batch),
        values.automatic("threads", threads),
        values.memory("max_memory", max_memory),
        values.pixels("max_megapixels", max_megapixels),
    )
    if report is not None:
        _check_report(report)

    from birefcli.scoring.measure import Settings
    from birefcli.scoring.pairs import Sources
    from birefcli.scoring.run import ScoreOptions

    options = ScoreOptions(
        Sources(
            predictions=None if model else predictions,
            truths=truths,
            photos=predictions if model else photos,
            trimaps=trimaps,
            foregrounds=foregrounds,
        ),
        Settings(trimap_radius, limits[3], permille, thumbnails=report is not None),
        model=network,
        batch=limits[0],
        threads=limits[1],
        max_memory=limits[2],
        hold_out=hold_out or 0,
        allow_missing=allow_missing,
    )
    made = f"{model} on {predictions}" if model else str(predictions)
    output = Output(json_, csv_, each, report, f"{made} against {truths}")
    raise typer.Exit(_score(options, output, spelling(context), quiet=quiet, progress=progress))


def _check_report(report: Path) -> None:
    """See that the page can be written, and replaces nobody's file, before hours of work."""
    if is_folder(report):
        raise OutputError("is a folder; name a file", option="report", value=report)
    if report.suffix.lower() not in (".html", ".htm"):
        raise UsageError("name a file that ends in .html", option="report", value=report)
    from birefcli.scoring.report.page import why_kept

    try:
        atomic.check_writes(report)
        kept = None if atomic.is_stream(report) else why_kept(report)
    except OSError as error:
        wrong = f"cannot be written: {error.strerror}"
        raise OutputError(wrong, option="report", value=report) from None
    if kept is not None:
        raise OutputError(kept, option="report", value=report, hint="name another file")
    atomic.clear_stale([report.parent])


def _score(
    options: "ScoreOptions", output: Output, spell: Spell, *, quiet: bool, progress: bool
) -> ExitCode:
    from birefcli.batch.interrupts import InterruptHandler, StoppedError
    from birefcli.cli.score_reporter import TerminalScoreReporter
    from birefcli.scoring.run import run

    reporter = TerminalScoreReporter(spell, quiet=quiet, progress=progress)

    def say_so() -> None:
        reporter.__exit__(None, None, None)  # the bar comes before the last line
        print("birefcli: stopped before the end: no scores", file=sys.stderr)

    with InterruptHandler() as signals:
        signals.before_exit = say_so
        try:
            with reporter:
                result = run(options, reporter)
        except StoppedError:
            assert signals.code is not None
            with signals.ending():
                say_so()
            return signals.code
    # The page first: whoever reads our output may have gone. And where the page cannot be written,
    # the scores are not lost.
    try:
        if output.report is not None and _write_page(output.report, output.title, result, spell):
            reporter.note(f"{output.report}: written")
    finally:
        _print(output, result, spell)
    summary = result.summary
    if summary.bugs:
        return ExitCode.BUG
    bad = not summary.photos or (summary.failed and not options.allow_missing)
    return ExitCode.SOME_FAILED if bad else ExitCode.OK


def _write_page(target: Path, title: str, result: "ScoreResult", spell: Spell) -> bool:
    """Write the report, unless nothing was scored; whether it was written."""
    if result.page is None or not result.summary.photos:
        return False
    page = result.page.render(result.summary, title, spell)
    try:
        atomic.write_file(target, page)
    except OSError as error:
        raise OutputError(str(error.strerror), option="report", value=target) from None
    return True


def _print(output: Output, result: "ScoreResult", spell: Spell) -> None:
    summary = result.summary
    if output.as_json:
        print(summary.as_json(each=output.each, spell=spell))
    elif output.as_csv:
        print(summary.as_csv(each=output.each), end="")
    elif summary.photos:
        from birefcli.cli.score_table import print_tables

        print_tables(summary, each=output.each)
