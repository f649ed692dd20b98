"""One run of ``birefcli matte``: what is checked, told and done, in which order."""

import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from birefcli.batch import freshness
from birefcli.batch.freshness import Decision
from birefcli.batch.inputs import MADE_BY_US, PIPE, FoundPhoto, Search, find_photos, split_missing
from birefcli.batch.interrupts import InterruptHandler, StoppedError
from birefcli.batch.lock import hold_folder
from birefcli.batch.outcome import Outcome, Status, Summary
from birefcli.batch.targets import (
    Job,
    check_output,
    listed_as,
    names_a_file,
    output_folder,
    plan_targets,
    remove_empty,
)
from birefcli.errors import ExitCode, OutputError, UsageError
from birefcli.images.files import entry_key
from birefcli.models import checksum, hub, zoo
from birefcli.models.cache import cached
from birefcli.models.load import load_predictor, prefetch_weights
from birefcli.options import Existing, Lock, Options, Precision, Product, Selection
from birefcli.system import atomic

if TYPE_CHECKING:
    from birefcli.batch.freshness import Fingerprints
    from birefcli.batch.pipeline import Pipeline
    from birefcli.batch.workers.pool import WorkerPool
    from birefcli.batch.workers.protocol import WorkerLost
    from birefcli.cli.batch_reporter import ProgressDisplay
    from birefcli.matting.device import Placement
    from birefcli.models.weights import Checkpoint
    from birefcli.products.background import Background


@dataclass(frozen=True)
class Task:
    """What is to be run, and how."""

    selection: Selection
    options: Options
    existing: Existing
    lock: Lock
    dry_run: bool
    failed_to: str | None


@dataclass(frozen=True)
class Verbosity:
    """How a run tells of itself."""

    json_lines: bool
    quiet: bool
    verbose: bool
    bar: bool
    debug: bool

    def display(self) -> "ProgressDisplay":
        """Build the display."""
        from birefcli.cli.batch_reporter import ProgressDisplay

        return ProgressDisplay(quiet=self.quiet, verbose=self.verbose, bar=self.bar)


def run(task: Task, voice: Verbosity) -> ExitCode:
    """Everything that can be known to fail is checked before the model loads."""
    search = find_photos(task.selection)
    rendering = task.options.rendering
    found, missing = split_missing(search.found)
    jobs = plan_targets(found, task.selection, rendering.products, rendering.format)
    if task.failed_to is not None and not task.dry_run:
        _check_list(Path(task.failed_to), jobs)
    background = _background(task.options) if Product.COMPOSITE in rendering.products else None
    behind = (lambda _: "") if background is None else background.identity
    fingerprints = freshness.fingerprints(task.options, _identity(task.options.model), behind)
    made = check_output(jobs, task.selection, make=not task.dry_run)
    with _locked(task, made), voice.display() as display:
        if not task.dry_run:
            atomic.clear_stale(_folders(jobs))
        precision = task.options.precision
        decisions = [freshness.decide(j, task.existing, fingerprints(j), precision) for j in jobs]
        teller = _Teller(display, voice, task.options.max_failures)
        _tell_unfit(search, missing, teller)
        teller.expect(list(_tell_kept(decisions, jobs, task.existing, teller)))
        if task.dry_run:
            _check_means(task.options, teller)
            _tell_planned(teller)
        elif teller.left:
            display.begin(len(teller.left))
            with InterruptHandler() as signals:
                _matte(task, fingerprints, background, teller, signals)
        return _end(task, teller)


class _Teller:
    """Tells of each photo as it ends, and counts."""

    def __init__(
        self, display: "ProgressDisplay", voice: Verbosity, max_failures: int | None
    ) -> None:
        self.display, self.voice, self.max_failures = display, voice, max_failures
        self.started = time.monotonic()
        self.report = Summary()
        self.failed: list[str] = []
        self._left: dict[str, Decision] = {}

    def tell(self, outcome: Outcome) -> None:
        """One photo has ended."""
        self.report.add(outcome)
        self.display.add(outcome)
        if outcome.bug is not None and self.voice.debug:
            traceback.print_exception(outcome.bug)
        if self.voice.json_lines:
            print(outcome.as_json(), flush=True)

    def expect(self, todo: Iterable[Decision]) -> None:
        """Count on these photos to end."""
        self._left = {decision.job.label: decision for decision in todo}

    @property
    def left(self) -> list[Decision]:
        """Photos that have not ended."""
        return list(self._left.values())

    def end(self, outcome: Outcome) -> None:
        """A photo has ended; the same outcome given twice is told once."""
        decision = self._left.pop(outcome.input, None)
        if decision is None:
            return
        self.tell(outcome)
        if outcome.fatal:
            self.report.stopped = self.report.stopped or ExitCode.OUTPUT
        if outcome.status is Status.FAILED and decision.job.source is not None:
            self.failed.append(listed_as(decision.job))

    def notice(self, text: str) -> None:
        """Tell what is worth knowing, and no failure."""
        if not self.voice.quiet:
            self.display.say(text)

    def lose(self, name: str, lost: "WorkerLost", photos: int) -> None:
        """A device is of no more use; others do so many of its photos."""
        self.report.lost.append(f"{name}: {lost.reason}")
        flying = f"; photos that go to others: {photos}" if photos else ""
        self.display.say(f"{name} is lost: {lost.reason}{flying}")
        if lost.trace and self.voice.debug:
            print(lost.trace, file=sys.stderr)

    @property
    def enough(self) -> bool:
        """Whether the run is to stop here."""
        if self.report.stopped is not None:
            return True
        limit = self.max_failures
        return limit is not None and self.report.counts[Status.FAILED] >= limit


def _tell_unfit(search: Search, missing: list[tuple[FoundPhoto, str]], teller: _Teller) -> None:
    """Tell of what is no photo, and of photos that cannot be looked at or are not there."""
    for path, reason in search.skipped:
        teller.tell(Outcome(str(path), Status.SKIPPED, reason=reason))
    own = sum(reason == MADE_BY_US for _, reason in search.skipped)
    if own and not teller.voice.verbose and not teller.voice.quiet:
        teller.display.say(f"{own} file{'s' * (own != 1)} made by birefcli: not taken for photos")
    for path, reason in search.failed:
        teller.tell(Outcome(str(path), Status.FAILED, error=reason))
    for photo, reason in missing:
        job = Job(photo.source, {}, photo.relative)
        teller.tell(Outcome.failed(job, reason))
        teller.failed.append(listed_as(job))


def _tell_kept(
    decisions: list[Decision], jobs: list[Job], existing: Existing, teller: _Teller
) -> Iterator[Decision]:
    """Tell of photos that need nothing; yield the others."""
    for decision, job in zip(decisions, jobs, strict=True):
        if decision.job.targets:
            yield decision
            continue
        skipped = decision.not_ours or existing is Existing.SKIP
        status = Status.SKIPPED if skipped else Status.CURRENT
        teller.tell(Outcome(job.label, status, dict(job.targets), reason=decision.reason))


def _check_means(options: Options, teller: _Teller) -> None:
    """See that a run could begin: what it would fail for is what a dry run is to find.

    Where nothing is left to do, nothing is needed. Raises DeviceError, ModelError, UsageError.
    """
    if not teller.left:
        return
    if options.device not in ("auto", "cpu"):  # those are there, and torch takes seconds
        from birefcli.matting.device import parse_devices

        parse_devices(options.device, options.precision)
    if zoo.is_file(options.model):
        from birefcli.models import weights

        weights.resolve(options.model, offline=True)
        return
    known = zoo.lookup(options.model)
    if known.bundled or cached(known) is not None:
        return
    if options.offline or hub.is_offline():
        hub.fetch(known, offline=True)  # says so
    teller.notice(f"{known.name} is to be downloaded first: {known.megabytes} MB")


def _tell_planned(teller: _Teller) -> None:
    for decision in teller.left:
        job = decision.job
        outcome = Outcome(job.label, Status.PENDING, dict(job.targets), reason=decision.reason)
        teller.tell(outcome)
        if not teller.voice.json_lines and not teller.voice.quiet:
            teller.display.result(outcome)


def _end(task: Task, teller: _Teller) -> ExitCode:
    report = teller.report
    if not task.dry_run:
        report.leave(len(teller.left))
    report.seconds = time.monotonic() - teller.started
    if teller.voice.json_lines:
        print(report.as_json(), flush=True)
    if report.stopped is ExitCode.OUTPUT and task.selection.output != PIPE:
        teller.display.say(
            f"{task.selection.output}: nothing more can be written here; when it can, the same"
            " command goes on where it stopped"
        )
    teller.display.summary(report)
    if task.failed_to is not None and not task.dry_run:
        _write_failed(task.failed_to, teller.failed)
    return report.exit_code


def _give_up(
    run: "Pipeline | WorkerPool", task: Task, teller: _Teller, signals: InterruptHandler
) -> None:
    """End a run that does not end by itself: what is in flight is not waited for any longer."""
    for outcome in run.finished_unreported:
        teller.end(outcome)
    teller.report.stopped = signals.code
    _end(task, teller)


def _check_list(file: Path, jobs: list[Job]) -> None:
    """See that --failed-to can be written and is none of the photos."""
    used = {entry_key(j.source) for j in jobs if j.source is not None}
    used |= {entry_key(t) for j in jobs for t in j.targets.values() if t is not None}
    if entry_key(file) in used:
        raise OutputError(f"--failed-to {file}: is one of the photos or results; name another file")
    if file.is_dir():
        raise OutputError(f"--failed-to {file}: is a folder; name a file")
    try:
        atomic.check_writable(file.parent)
    except OSError as error:
        raise OutputError(f"--failed-to {file}: cannot be written: {error.strerror}") from None


def _write_failed(file: str, names: list[str]) -> None:
    """Write names a line each, or ending in NUL where one of them holds a line break."""
    end = "\0" if any("\n" in name or "\r" in name for name in names) else "\n"
    data = b"".join(os.fsencode(name + end) for name in names)
    try:
        atomic.write_file(Path(file), data)
    except OSError as error:
        raise OutputError(f"--failed-to {file}: {error.strerror}") from None


def _matte(
    task: Task,
    fingerprints: "Fingerprints",
    background: "Background | None",
    teller: _Teller,
    signals: "InterruptHandler",
) -> None:
    try:
        with signals.held():
            devices = _libraries(task.options.model)
        several = devices.several(task.options.device, task.options.precision)
        todo = teller.left
        if min(len(several), len(todo)) == 1:
            first = next(iter(several.values()))
            options = replace(task.options, device=str(first.device))
            _drain(_alone(options, fingerprints, background, teller), todo, task, teller, signals)
        else:
            pool = _worker_pool(
                task.options, dict(islice(several.items(), len(todo))), fingerprints, teller
            )
            _drain(pool, todo, task, teller, signals)
            if pool.no_device_left:
                teller.display.say("no device is left; the same command goes on where it stopped")
                teller.report.stopped = teller.report.stopped or ExitCode.MODEL
    except StoppedError:
        teller.report.stopped = signals.code


def _libraries(model: str) -> ModuleType:
    """Import torch and what needs it, in one go: an exception of ours in there may be swallowed."""
    prefetch_weights(model)
    from birefcli.matting import device
    from birefcli.models import weights  # noqa: F401 - for those who come after

    return device


def _drain(
    run: "Pipeline | WorkerPool",
    todo: list[Decision],
    task: Task,
    teller: _Teller,
    signals: "InterruptHandler",
) -> None:
    """Tell of every photo as it ends, until all have, or enough of them failed."""
    from birefcli.birefnet import kernels

    outcomes = run(todo)
    teller.display.limit = run.limit
    signals.last_words = lambda: _give_up(run, task, teller, signals)
    try:
        for outcome in outcomes:
            with signals.held():  # no photo is told by half, or twice
                teller.end(outcome)
            if teller.enough:
                break
    finally:
        outcomes.close()  # waits for what is being written
        with signals.held():
            for outcome in run.finished_unreported:
                teller.end(outcome)
            for notice in kernels.notices:
                teller.notice(notice)


def _alone(
    options: Options, fingerprints: "Fingerprints", background: "Background | None", teller: _Teller
) -> "Pipeline":
    """A run in this process."""
    from birefcli.batch.memory import MemoryBudget
    from birefcli.batch.pipeline import Pipeline
    from birefcli.matting.batch_size import choose_batch_size
    from birefcli.matting.device import parse_device

    placement = parse_device(options.device, options.precision)
    checkpoint = _checkpoint(options, [placement], teller)
    predictor = load_predictor(options, checkpoint, teller.display.state)
    batch = options.batch or choose_batch_size(predictor, len(teller.left))
    budget = MemoryBudget(options.max_memory)
    return Pipeline(
        options, predictor, batch, background or _background(options), fingerprints, budget
    )


def _worker_pool(
    options: Options,
    placements: "Mapping[str, Placement]",
    fingerprints: "Fingerprints",
    teller: _Teller,
) -> "WorkerPool":
    """A run with a process for each device."""
    from birefcli.batch.workers.pool import PoolListener, WorkerPool

    _refuse_pipes(teller.left, options.device)
    checkpoint = _checkpoint(options, list(placements.values()), teller)
    listener = PoolListener(teller.display.state, teller.notice, teller.lose)
    return WorkerPool(options, checkpoint, placements, fingerprints, listener)


def _refuse_pipes(todo: list[Decision], device: str) -> None:
    """A pipe can be read once, and by this process; a worker would find nothing in it."""
    for decision in todo:
        source = decision.job.source
        if source is None or not source.is_file():
            label = "stdin (-)" if source is None else decision.job.label
            raise UsageError(f"--device {device}: {label} is no file; do it alone, on one device")


def _checkpoint(
    options: Options, placements: "Sequence[Placement]", teller: _Teller
) -> "Checkpoint":
    """The weights of a run, on this machine; the report hears what they run on."""
    from birefcli.models import weights

    voice, report = teller.voice, teller.report
    shown = not voice.quiet and voice.bar
    for slow in {c.precision.value for c in placements if _is_slow(c)}:
        teller.notice(f"{slow} is slower than fp32 on most CPUs; leave out --precision for fp32")
    checkpoint = weights.resolve(options.model, offline=options.offline, progress=shown)
    report.device = ",".join(str(placement.device) for placement in placements)
    report.precision = ",".join(dict.fromkeys(c.precision.value for c in placements))
    report.model = checkpoint.name
    return checkpoint


def _is_slow(placement: "Placement") -> bool:
    return placement.device.type == "cpu" and placement.precision is not Precision.FP32


def _background(options: Options) -> "Background":
    from birefcli.products.background import Background

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
        return checksum.sha256_of(path)
    except OSError:
        return ""  # loading it, if it comes to that, says what is wrong


def _folders(jobs: list[Job]) -> set[Path]:
    return {t.parent for job in jobs for t in job.targets.values() if t is not None}


@contextmanager
def _locked(task: Task, made: list[Path]) -> Iterator[None]:
    """Hold the output folder; one file, which is replaced in one step, needs no lock.

    Of the folders that were ``made`` none is left behind empty. Only who holds the lock takes them
    back: others may be waiting to write there.
    """
    selection = task.selection
    if task.dry_run or selection.output == PIPE or names_a_file(selection):
        yield
        return
    with hold_folder(output_folder(selection), task.lock):
        try:
            yield
        finally:
            if task.lock is not Lock.NONE:
                remove_empty(made)
