"""One scoring: pair the files, measure all pairs, take the means: ``birefcli score``."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol

from birefcli.errors import Message, Option, PairError
from birefcli.models.load import load_model
from birefcli.options import ModelOptions
from birefcli.scoring import pairs
from birefcli.scoring.batch import Failure, Item, measure_all
from birefcli.scoring.measure import Score, Settings
from birefcli.scoring.pairs import Matched, Pair, Sources
from birefcli.scoring.report.page import Page
from birefcli.scoring.summary import ScoreSummary
from birefcli.system import cpu


@dataclass(frozen=True)
class ScoreOptions:
    """What is scored, and how."""

    sources: Sources
    settings: Settings = field(default_factory=Settings)
    model: ModelOptions | None = None
    """Makes the predictions, of the photos among ``sources``; None where they are files."""
    batch: int | None = None
    """Photos the network sees at once; None chooses by device and network."""
    threads: int | None = None
    """Photos scored at once; None for one a core."""
    max_memory: int = 1 << 30
    """Bytes that photos in flight may take, by estimate."""
    hold_out: int = 0
    """N: score only every N-th photo, those that a training holds out; 0: all."""
    allow_missing: bool = False
    """Score what has a partner, where other files have none."""


class ScoreReporter(Protocol):
    """Callbacks of a scoring, all of them in the thread that runs it."""

    shows_progress: bool
    """Whether a download may show its own progress on stderr."""

    def on_unmatched(self, matched: Matched, *, refused: bool) -> None:
        """Some files have no partner; ``refused``: so nothing is scored."""

    def on_start(self, total: int) -> None:
        """From now on ``total`` photos are scored."""

    def on_result(self, result: Score | Failure) -> None:
        """One photo is scored, or cannot be."""


class NullScoreReporter:
    """Reports nothing: for programs that look at the result alone."""

    shows_progress = False

    def on_unmatched(self, matched: Matched, *, refused: bool) -> None:
        """Do nothing."""

    def on_start(self, total: int) -> None:
        """Do nothing."""

    def on_result(self, result: Score | Failure) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class ScoreResult:
    """Figures, and a page of them where ``settings.thumbnails`` is set."""

    summary: ScoreSummary
    page: Page | None


def run(options: ScoreOptions, reporter: ScoreReporter | None = None) -> ScoreResult:
    """Score photos; everything that can be known to fail is checked before the first is read.

    A photo that cannot be read or compared is a failure in the summary. Raises NoInputError,
    UsageError, PairError; with a model ModelError and DeviceError.
    """
    reporter = reporter or NullScoreReporter()
    sources = pairs.resolve(options.sources, options.hold_out)
    matched = pairs.match(sources, options.hold_out)
    _check(matched, options, reporter)
    settings, total = options.settings, len(matched.pairs)
    summary = ScoreSummary(permille=settings.permille, unmatched=matched.faults)
    page = Page() if settings.thumbnails else None
    items = _items(matched.pairs, options, progress=reporter.shows_progress)
    reporter.on_start(total)
    workers = min(options.threads or cpu.count(), total)
    with closing(measure_all(items, settings, workers, options.max_memory)) as results:
        for result in results:
            summary.add(result)
            if page is not None and isinstance(result, Score):
                page.add(result)
            reporter.on_result(result)
    return ScoreResult(summary, page)


def _check(matched: Matched, options: ScoreOptions, reporter: ScoreReporter) -> None:
    """Refuse what has no partner, or report it."""
    if matched.faults:
        reporter.on_unmatched(matched, refused=not options.allow_missing)
        if not options.allow_missing:
            hint = Message(Option("allow_missing"), " scores the others")
            raise PairError("some files have no partner", hint=hint)
    if not matched.pairs:
        raise PairError("no prediction has a truth of its name")


def _items(
    matched: list[Pair], options: ScoreOptions, *, progress: bool
) -> Iterable[Item | Failure]:
    if options.model is None:
        return (Item(pair) for pair in matched)

    from birefcli.matting.batch_size import default_batch  # torch takes a second to import
    from birefcli.scoring.predict import mattes

    predictor = load_model(options.model, progress=progress).predictor
    batch = options.batch or default_batch(predictor)
    return mattes(matched, predictor, batch, options.settings.max_pixels)
