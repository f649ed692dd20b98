"""One run of a batch: find, plan, check, execute, report. The story of ``birefcli matte``.

It can be run again and again with the same :class:`.executor.Executors`, which keep the model.
"""

import time
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from birefcli.batch import fingerprints
from birefcli.batch.checks import check_failed_to, refuse_other_kinds
from birefcli.batch.executor import Executor, Executors
from birefcli.batch.fingerprints import Fingerprints
from birefcli.batch.freshness import Decision
from birefcli.batch.inputs import Search, nothing_found, search_photos
from birefcli.batch.interrupts import InterruptHandler, StoppedError, leave
from birefcli.batch.lock import clear_made, hold_output
from birefcli.batch.missing import Missing, all_missing, partition_missing
from birefcli.batch.named_products import note_of_products
from birefcli.batch.notices import notices_to
from birefcli.batch.outcome import Outcome, Status, Summary
from birefcli.batch.patience import no_answer, silence, watched
from birefcli.batch.places import MADE_BY_US, PIPE, Target, local_folders
from birefcli.batch.products_among import set_products_aside
from birefcli.batch.progress import Progress
from birefcli.batch.reporter import NullReporter, Reporter
from birefcli.batch.shard import described
from birefcli.batch.survey import decide_all
from birefcli.batch.targets import (
    Job,
    check_output,
    plan_targets,
    refuse_overwriting,
)
from birefcli.errors import ExitCode, Message, OutputError
from birefcli.models import hub, stored
from birefcli.models.load import identify_weights, prefetch_weights
from birefcli.models.locate import Place, locate
from birefcli.options import BatchOptions, BatchTask, Existing
from birefcli.products.photo_notes import NO_SUBJECT
from birefcli.products.quality.defects import Defect
from birefcli.system import atomic, process_settings
from birefcli.system.text import name_list
from birefcli.system.watchdog import Activity, Sign

if TYPE_CHECKING:
    from birefcli.products.background import Background


NO_DEVICE = "no device is left; the same command goes on where it stopped"


@dataclass(frozen=True)
class Plan:
    """What a run is about, before anything is decided or written."""

    search: Search
    missing: list[Missing]
    jobs: list[Job]
    nothing_found: Message | None = None
    """Why there is no photo, if there is none."""


def run(
    task: BatchTask, reporter: Reporter | None = None, executors: Executors | None = None
) -> Summary:
    """Do a batch; everything that can be known to fail is checked before the model loads.

    ``executors``: of an earlier run with the same options, whose model is used again. That no photo
    was found is no error: the summary says so. Raises UsageError, OutputError, ModelError,
    DeviceError, BusyError; ValueError for executors of other options.
    """
    reporter = reporter or NullReporter()
    if executors is not None and executors.options != task.options:
        raise ValueError("the executors are those of other options")
    plan = _plan(task)
    shard = task.selection.shard
    if plan.nothing_found is not None:
        return _end_without_photos(task, plan)
    if shard is not None:
        reporter.on_notice(described(shard, len(plan.search.found), plan.search.elsewhere))
    note = None if task.photo_by_photo else note_of_products(plan.search.found)
    if note is not None:
        reporter.on_notice(note)
    executors = executors or Executors(task.options)
    background, read = executors.files.background(), executors.files.read()
    refuse_overwriting(plan.jobs, read, plan.search.replaceable)
    if task.failed_to is not None:
        check_failed_to(task.failed_to, plan.jobs, read, make=not task.dry_run)
    made = check_output(plan.jobs, task.selection, make=not task.dry_run)
    with _held(task, made, reporter):
        if not task.dry_run:
            atomic.clear_stale(local_folders(_targets(plan.jobs)))
        # After the output is checked: to tell weights of a store, they may have to be downloaded.
        wanted = _fingerprints(task, background, progress=reporter.shows_progress)
        precision = task.options.model.precision
        decisions = decide_all(plan.jobs, task.existing, wanted, precision)
        if not task.photo_by_photo:
            refuse_other_kinds(decisions)
        progress = Progress(task, reporter, made, executors.slow_cpu)
        progress.summary.left_out, progress.summary.shard = plan.search.left_out, shard
        _report_unfit(plan, progress)
        progress.expect(list(_report_up_to_date(decisions, plan.jobs, task, progress)))
        if progress.left and not task.dry_run:
            return _execute(executors, background, progress)
        if task.dry_run:
            _dry_run(task.options, progress)
        return _end(task, progress)


def _note_background(background: "Background | None", reporter: Reporter) -> None:
    if background is None:
        return
    from birefcli.products.background import note_of

    if (note := note_of(background)) is not None:
        reporter.on_notice(note)


def _held(task: BatchTask, made: list[Path], reporter: Reporter) -> AbstractContextManager[None]:
    """The output folder, held for the run; a dry run looks and changes nothing."""
    if task.dry_run:
        return nullcontext()
    return hold_output(task.selection, task.lock, made, reporter.on_notice)


# Find and plan


def _plan(task: BatchTask) -> Plan:
    """The photos and their targets."""
    rendering = task.options.rendering
    search = search_photos(task.selection)
    set_products_aside(search, task.selection, rendering.products, rendering.format)
    if not search.found and not search.elsewhere:
        return Plan(search, [], [], nothing_found(task.selection, search))
    found, missing = partition_missing(search.found)
    if missing and not found and not search.elsewhere:
        return Plan(search, missing, [], all_missing(missing, len(search.failed)))
    jobs = plan_targets(found, task.selection, rendering.products, rendering.format)
    return Plan(search, missing, jobs)


def _fingerprints(
    task: BatchTask, background: "Background | None", *, progress: bool
) -> Fingerprints:
    model = task.options.model
    return fingerprints.of_products(
        task.options,
        identify_weights(model, progress=progress, download=not task.dry_run),
        (lambda _: "") if background is None else background.identity,
    )


def _targets(jobs: list[Job]) -> list[Target]:
    return [target for job in jobs for target in job.targets.values()]


# Report what needs no work


def _report_unfit(plan: Plan, progress: Progress) -> None:
    """Report what is no photo, and photos that cannot be looked at or are not there."""
    skipped = plan.search.skipped
    for path, reason in skipped:
        notable = reason != MADE_BY_US
        outcome = Outcome(str(path), Status.SKIPPED, reason=Message(reason), notable=notable)
        progress.report(outcome)
    ours = sum(reason == MADE_BY_US for _, reason in skipped)
    if ours:
        progress.reporter.on_products_skipped(ours)
    for unread in plan.search.failed:
        progress.fail_search(unread)
    for photo, reason in plan.missing:
        progress.fail(Job(photo.source, {}, photo.relative), reason, unread=True)


def _report_up_to_date(
    decisions: list[Decision], jobs: list[Job], task: BatchTask, progress: Progress
) -> Iterator[Decision]:
    """Report photos that need nothing, or cannot be done; yield the others."""
    for decision, job in zip(decisions, jobs, strict=True):
        if decision.job.targets:
            for target, why in decision.kept.items():
                progress.reporter.on_notice(Message(f"{target}: ", why))
            yield decision
            continue
        if decision.trouble is not None:
            progress.fail(job, decision.trouble)
            continue
        if task.options.fail_if_empty and _is_empty(decision):
            progress.fail(job, NO_SUBJECT)
            continue
        skipped = decision.kept or task.existing is Existing.SKIP
        status = Status.SKIPPED if skipped else Status.CURRENT
        notable, reason = bool(decision.kept), decision.reason
        outcome = Outcome(job.label, status, dict(job.targets), reason=reason, notable=notable)
        if decision.found is not None:
            outcome = outcome.found_by(decision.found, of_several=decision.of_several)
        progress.report(outcome)


def _is_empty(decision: Decision) -> bool:
    """Whether the run that made a photo's products saw no subject."""
    return decision.found is not None and Defect.EMPTY.value in decision.found.flags


def _dry_run(options: BatchOptions, progress: Progress) -> None:
    """Report what would be done, and why; what a run would fail for is an error here too."""
    if progress.left:
        check_model(options, progress.reporter)
    for decision in progress.left:
        job = decision.job
        outcome = Outcome(job.label, Status.PENDING, dict(job.targets), reason=decision.reason)
        progress.count_replaced(decision)
        progress.report(outcome)
        progress.reporter.on_planned(outcome)


def check_model(options: BatchOptions, reporter: Reporter) -> None:
    """See that a run could begin. Raises DeviceError, ModelError, UsageError."""
    model = options.model
    if options.cluster is not None:
        from birefcli.batch.workers.ray.run import check_cluster

        check_cluster()
    elif set(options.device_names) not in ({"auto"}, {"cpu"}):  # there, and torch takes seconds
        from birefcli.matting.device import parse_devices

        parse_devices(options.device_names, model.precision)
    found = locate(model.name)
    if found.place is Place.FILE:
        from birefcli.models import weights

        weights.resolve(model.name, offline=True)
    elif found.model is not None and found.place is Place.ABSENT:
        if model.offline or hub.is_offline():
            hub.fetch(found.model, offline=True)  # says so
        size = f"{found.model.megabytes} MB"
        reporter.on_notice(f"{found.model.name} is to be downloaded first: {size}")
    elif found.url is not None:
        seen = stored.glance(found.url, offline=model.offline)
        if seen.path is None:
            size = f"{max(1, round(seen.size / 1e6))} MB"
            unknown = "before, nobody can tell which products were made with it"
            reporter.on_notice(f"{found.url} is to be downloaded first: {size}; {unknown}")


# Execute


def _execute(executors: Executors, background: "Background | None", progress: Progress) -> Summary:
    """Have the executor do the photos; report each as it ends, and the end.

    It stops when all have, when enough of them failed, or when a signal asks for it. Where nothing
    moves any more, or a second Ctrl-C comes, the process ends here.
    """
    activity = Activity()
    limit = progress.task.options.photo_timeout

    def overdue(sign: Sign) -> None:
        _lose_device(activity, sign, progress, signals)

    with InterruptHandler() as signals:
        signals.before_exit = lambda: _give_up(progress, signals.code)
        try:
            with notices_to(progress.reporter.on_notice), watched(activity, limit, overdue):
                executor = _prepare(executors, background, progress, activity, signals)
                outcomes = executor(progress.left, progress.begin_work)
                try:
                    for outcome in outcomes:
                        with signals.held():  # no photo is reported by half, or twice
                            progress.end(outcome)
                        if progress.should_stop:
                            break
                finally:
                    _close(outcomes, progress, signals)
                if executor.no_device_left:
                    progress.reporter.on_trouble(NO_DEVICE)
                    progress.summary.stopped = progress.summary.stopped or ExitCode.MODEL
        except StoppedError:
            progress.summary.stopped = signals.code
        with signals.ending():
            return _end(progress.task, progress)


def _prepare(
    executors: Executors,
    background: "Background | None",
    progress: Progress,
    activity: Activity,
    signals: InterruptHandler,
) -> Executor:
    """Announce the run, and make what does its photos. Raises StoppedError."""
    reporter = progress.reporter
    _note_background(background, reporter)
    reporter.on_start(progress.pace)
    with signals.held():
        _import_libraries(executors)
    todo, summary = progress.left, progress.summary
    progress.executor = executors.for_run(todo, background, reporter, summary, activity)
    return progress.executor


def _close(
    outcomes: Generator[Outcome, None, None], progress: Progress, signals: InterruptHandler
) -> None:
    """Wait for what is being written, and report it too, also where a signal ends the wait."""
    try:
        outcomes.close()
    finally:
        with signals.held():
            progress.end_finished()


def _import_libraries(executors: Executors) -> None:
    """Import torch and what needs it, in one go: an exception of ours in there may be swallowed."""
    if not executors.is_loaded:
        prefetch_weights(executors.options.model.name)
    with process_settings.importing():
        from birefcli.batch import pipeline  # noqa: F401 - for those who come after
        from birefcli.matting import batch_size  # noqa: F401
        from birefcli.models import weights  # noqa: F401


def _lose_device(
    activity: Activity, sign: Sign, progress: Progress, signals: InterruptHandler
) -> None:
    """End a run whose only device does not answer: what is stuck can be neither ended nor awaited.

    In a thread of its own; the one that runs the batch may be the one that is stuck.
    """
    with progress.lock:
        if activity.moves != sign.moves:
            return  # it has gone on meanwhile
        device, stuck = progress.summary.device or "the device", activity.names
        code = signals.code or progress.summary.stopped or ExitCode.MODEL
        try:
            progress.end_finished()
            for decision in progress.left:
                if decision.job.label in stuck:
                    why = no_answer(sign.limit, device)
                    progress.end(Outcome.failed(decision.job, why))
            progress.summary.lost.append(f"{device}: {no_answer(sign.limit)}")
            progress.reporter.on_device_lost(device, silence(sign.limit), 0)
            progress.reporter.on_trouble(NO_DEVICE)
            _give_up(progress, code)
        finally:
            leave(code)


def _give_up(progress: Progress, code: ExitCode | None) -> None:
    """End a run that does not end by itself: what is in flight is not waited for any longer."""
    progress.end_finished()
    if progress.executor is not None:
        progress.executor.give_up()
    progress.summary.stopped = code
    try:
        _end(progress.task, progress)
    finally:
        clear_made(progress.task.selection, progress.task.lock, progress.made)


# Report the end


def _end(task: BatchTask, progress: Progress) -> Summary:
    summary = progress.summary
    if not task.dry_run:
        summary.leave(len(progress.left))
    summary.seconds = time.monotonic() - progress.started
    summary.working = progress.pace.seconds
    output = task.selection.output
    if summary.stopped is ExitCode.OUTPUT and output != PIPE:
        progress.reporter.on_trouble(
            f"{output}: nothing more can be written here; when it can, the same command goes on"
            " where it stopped"
        )
    progress.reporter.on_end(summary)
    if task.failed_to is not None and not task.dry_run:
        _write_failed(task.failed_to, name_list(progress.failed, null=task.null))
    return summary


def _end_without_photos(task: BatchTask, plan: Plan) -> Summary:
    """The end of a run that found no photo: the names of an earlier one's failures go, too."""
    if task.failed_to is not None and not task.dry_run:
        check_failed_to(task.failed_to, [], ())
        lines = [photo.source.listed_as(photo.relative) for photo, _ in plan.missing]
        names = [line for line in lines if line is not None]
        names += [unread.listed for unread in plan.search.failed]
        _write_failed(task.failed_to, name_list(names, null=task.null))
    return Summary(nothing_found=plan.nothing_found, shard=task.selection.shard)


def _write_failed(file: Path, names: bytes) -> None:
    try:
        atomic.write_file(file, names)
    except OSError as error:
        raise OutputError(str(error.strerror), option="failed_to", value=file) from None
