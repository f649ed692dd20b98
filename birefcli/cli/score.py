"""``birefcli score``: from the words of the command line to tables, JSON, CSV and a page."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from birefcli.cli import rules, score_options, shared_options, values
from birefcli.errors import ExitCode, OutputError, PairError, UsageError
from birefcli.models.load import load_model
from birefcli.options import PatchOrder, Precision
from birefcli.system import atomic, cpu

if TYPE_CHECKING:
    from collections.abc import Iterable

    from birefcli.matting.predictor import Predictor
    from birefcli.scoring.batch import Failure, Item
    from birefcli.scoring.measure import Settings
    from birefcli.scoring.pairs import Matched, Pair, Sources
    from birefcli.scoring.report.page import Page
    from birefcli.scoring.summary import ScoreSummary

OF_MODEL = ("size", "patch_order", "offline", "device", "precision", "batch")
NAMED = 5  # faults or notes that are told before they are only counted


@dataclass(frozen=True)
class Output:
    """What is printed and written."""

    as_json: bool
    as_csv: bool
    each: bool
    report: Path | None
    bar: bool


@dataclass(frozen=True)
class Machine:
    """What computes mattes, where predictions are not there yet."""

    model: str | None
    size: tuple[int, int] | None
    patch_order: PatchOrder
    offline: bool
    device: str
    precision: Precision
    batch: int | None


def score(
    context: typer.Context,
    predictions: score_options.Predictions,
    truths: score_options.Truths,
    trimaps: score_options.Trimaps = None,
    trimap_radius: score_options.TrimapRadius = None,
    foregrounds: score_options.Foregrounds = None,
    photos: score_options.Photos = None,
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
    offline: shared_options.Offline = False,
    device: shared_options.Device = "auto",
    precision: shared_options.Numbers = Precision.AUTO,
    batch: shared_options.Batch = "auto",
    threads: score_options.Threads = "auto",
    max_memory: score_options.MaxMemory = "auto",
    progress: shared_options.Progress = True,
    debug: shared_options.Debug = False,
) -> None:
    """Measure how good mattes are, against true ones.

    [bold]birefcli score predictions/ truths/[/bold]

    Pairs are found by name. Both may be folders of P3M-10k's or BiRefNet's layout.
    """
    rules.refuse_without(context, "--model", there=model is not None, names=OF_MODEL)
    pictured = report is not None and model is None
    rules.refuse_without(context, "--report (and no --model)", there=pictured, names=("photos",))
    if json_ and csv_:
        raise UsageError("--json and --csv both want stdout: choose one")
    if trimaps is not None and trimap_radius is not None:
        raise UsageError("--trimaps and --trimap-radius both make trimaps: choose one")
    machine = Machine(
        model=model,
        size=values.size(size),
        patch_order=patch_order,
        offline=offline,
        device=device,
        precision=precision,
        batch=values.automatic("--batch", batch),
    )
    workers = values.automatic("--threads", threads)
    memory = values.memory("--max-memory", max_memory)
    pixels = values.pixels("--max-megapixels", max_megapixels)
    output = Output(json_, csv_, each, report, progress)
    if report is not None:
        _check_report(report)

    from birefcli.scoring.measure import Settings
    from birefcli.scoring.pairs import Sources

    given = Sources(None if model else predictions, truths, predictions if model else photos,
                    trimaps, foregrounds)  # fmt: skip
    settings = Settings(trimap_radius, pixels, permille, pictures=report is not None)
    run = _Run(given, settings, machine, output, allow_missing, (workers, memory))
    raise typer.Exit(run())


def _check_report(report: Path) -> None:
    """See that the page can be written, before hours of work."""
    if report.is_dir():
        raise OutputError(f"--report {report}: is a folder; name a file")
    if report.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--report {report}: a page is called .html")
    try:
        atomic.check_writable(report.parent)
    except OSError as error:
        raise OutputError(f"--report {report}: cannot be written: {error.strerror}") from None


class _Run:
    """One run: match, measure, tell."""

    def __init__(
        self,
        given: "Sources",
        settings: "Settings",
        machine: Machine,
        output: Output,
        allow_missing: bool,
        limits: tuple[int | None, int],
    ) -> None:
        self.given, self.settings, self.machine, self.output = given, settings, machine, output
        self.allow_missing, self.limits = allow_missing, limits

    def __call__(self) -> ExitCode:
        """Everything that can be known to fail is checked before the first photo is read."""
        from birefcli.batch.interrupts import InterruptHandler, StoppedError
        from birefcli.scoring import pairs

        sources = pairs.resolve(self.given)
        matched = pairs.match(sources)
        self._check(matched)
        with InterruptHandler() as signals:
            try:
                tally, page, bugs = self._measure(sources, matched)
            except StoppedError:
                assert signals.code is not None
                print("birefcli: stopped before the end: no scores", file=sys.stderr)
                return signals.code
        self._tell(tally, page)
        if bugs:
            return ExitCode.BUG
        bad = not tally.photos or (tally.failed and not self.allow_missing)
        return ExitCode.SOME_FAILED if bad else ExitCode.OK

    def _check(self, matched: "Matched") -> None:
        """Refuse what has no partner, or name it."""
        faults = matched.faults
        if faults and not self.allow_missing:
            for side, what in ((matched.missing, "truths"), (matched.extra, "predictions")):
                for fault in side[:NAMED]:
                    say(fault)
                if len(side) > NAMED:
                    say(f"and {len(side) - NAMED} more {what} without a partner")
            raise PairError("some files have no partner; --allow-missing scores the others")
        for fault in faults:
            say(fault)
        if not matched.pairs:
            raise PairError("no prediction has a truth of its name")

    def _measure(
        self, sources: "Sources", matched: "Matched"
    ) -> tuple["ScoreSummary", "Page | None", int]:
        from birefcli.cli.terminal import ProgressBar
        from birefcli.scoring.batch import Failure, measure_all
        from birefcli.scoring.report.page import Page
        from birefcli.scoring.summary import ScoreSummary

        tally = ScoreSummary(permille=self.settings.permille, unmatched=matched.faults)
        page = Page() if self.settings.pictures else None
        workers = min(self.limits[0] or cpu.count(), len(matched.pairs))
        bugs = 0
        results = measure_all(self._items(matched.pairs), self.settings, workers, self.limits[1])
        with ProgressBar(len(matched.pairs), "scoring", bar=self.output.bar) as ticker:
            try:
                for result in results:
                    ticker.advance()
                    if isinstance(result, Failure):
                        bugs += result.bug
                        tally.failed[result.name] = result.error
                        ticker.say(result.error)
                        continue
                    tally.add(result)
                    if result.notes and len(tally.notes) <= NAMED:
                        ticker.say(f"{result.name}: {'; '.join(result.notes)}")
                    if page is not None:
                        page.add(result)
            finally:
                results.close()
        if len(tally.notes) > NAMED:
            say(f"and {len(tally.notes) - NAMED} more photos with notes like these: see --json")
        return tally, page, bugs

    def _items(self, pairs: "list[Pair]") -> "Iterable[Item | Failure]":
        from birefcli.scoring.batch import Item

        if self.machine.model is None:
            return (Item(pair) for pair in pairs)

        from birefcli.matting.device import default_batch
        from birefcli.scoring.predict import mattes

        predictor = _predictor(self.machine, self.machine.model, self.output.bar)
        batch = self.machine.batch or default_batch(predictor.placement.device)
        return mattes(pairs, predictor, batch, self.settings.max_pixels)

    def _tell(self, tally: "ScoreSummary", page: "Page | None") -> None:
        # The page first: whoever reads our output may have gone.
        if page is not None and self.output.report is not None and tally.photos:
            _write(self.output.report, page.render(tally, self._title()))
            say(f"{self.output.report}: written")
        if self.output.as_json:
            print(tally.as_json(each=self.output.each))
        elif self.output.as_csv:
            print(tally.as_csv(each=self.output.each), end="")
        elif tally.photos:
            from birefcli.cli.score_table import show

            show(tally, each=self.output.each)

    def _title(self) -> str:
        made = self.given.predictions or self.given.photos
        by = f"{self.machine.model} on " if self.machine.model else ""
        return f"{by}{made} against {self.given.truths}"


def _predictor(machine: Machine, model: str, bar: bool) -> "Predictor":
    return load_model(
        model,
        size=machine.size,
        patch_order=machine.patch_order,
        offline=machine.offline,
        device=machine.device,
        precision=machine.precision,
        progress=bar,
    ).predictor


def _write(target: Path, text: str) -> None:
    try:
        atomic.write_file(target, text.encode("utf-8"))
    except OSError as error:
        raise OutputError(f"--report {target}: {error.strerror}") from None


def say(text: str) -> None:
    """One line on stderr."""
    from birefcli.errors import printable

    print(printable(text), file=sys.stderr, flush=True)
