"""Photos of a run that have not ended, and what became of the others."""

import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from birefcli.batch.executor import Executor
from birefcli.batch.freshness import Decision, Verdict
from birefcli.batch.inputs import Unread
from birefcli.batch.outcome import Outcome, Status, Summary
from birefcli.batch.output import output_of
from birefcli.batch.pace import Pace
from birefcli.batch.reporter import Reporter
from birefcli.batch.slow_cpu import SlowCpuNotice
from birefcli.batch.targets import Job
from birefcli.errors import ExitCode, Message
from birefcli.options import BatchTask
from birefcli.system.mounts import MountedFolder

ELSEWHERE = Message("the output folder was moved, removed or unmounted meanwhile")


class Progress:
    """Photos that have not ended, and what became of the others."""

    def __init__(
        self, task: BatchTask, reporter: Reporter, made: list[Path], slow_cpu: SlowCpuNotice
    ) -> None:
        """``made``: folders that are there for this run."""
        self.task, self.reporter, self.made = task, reporter, made
        self._slow_cpu = slow_cpu
        self.started = time.monotonic()
        self.summary = Summary()
        self.failed: list[str] = []
        self.lock = threading.RLock()
        """Held by whoever reports: the run, or the thread that ends it."""
        self.executor: Executor | None = None
        """What does the photos, once there is one."""
        self.pace = Pace(0)
        """Of the photos that are expected."""
        self._left: dict[str, Decision] = {}
        self._timed = False
        self._output, self._gone = _folder_of(task), False

    def report(self, outcome: Outcome) -> None:
        """One photo has ended."""
        self.summary.add(outcome)
        self.reporter.on_outcome(outcome)

    def fail(self, job: Job, reason: str | Message, *, unread: bool = False) -> None:
        """A photo fails before any work."""
        self.report(replace(Outcome.failed(job, reason), unread=unread))
        self._list_failed(job)

    def fail_search(self, unread: Unread) -> None:
        """A folder that may hold photos, or what may be one, could not be looked at."""
        error = Message(unread.reason)
        self.report(Outcome(str(unread.place), Status.FAILED, error=error))
        self.failed.append(unread.listed)

    def _list_failed(self, job: Job) -> None:
        line = job.source.listed_as(job.relative)
        if line is not None:
            self.failed.append(line)

    def expect(self, todo: Iterable[Decision]) -> None:
        """Count on these photos to end."""
        self._left = {decision.job.label: decision for decision in todo}
        self.pace = Pace(len(self._left))

    def begin_work(self) -> None:
        """What was to be loaded is loaded; the first photo can be done."""
        self.summary.loading = time.monotonic() - self.started
        self.pace.begin()
        if self.executor is not None:
            self.reporter.on_running(self.executor.bottleneck)

    @property
    def left(self) -> list[Decision]:
        """Photos that have not ended."""
        return list(self._left.values())

    def end(self, outcome: Outcome) -> None:
        """A photo has ended; the same outcome given twice is reported once."""
        with self.lock:
            decision = self._left.pop(outcome.input, None)
            if decision is None:
                return
            if outcome.status is Status.WRITTEN and self._is_elsewhere():
                outcome = replace(Outcome.failed(decision.job, ELSEWHERE), fatal=True)
            self.pace.end(written=outcome.status is Status.WRITTEN)
            if outcome.status is Status.WRITTEN and _replaces_theirs(decision):
                outcome = replace(outcome, notable=True)
            self.report(outcome)
            if outcome.fatal:
                self.summary.stopped = self.summary.stopped or ExitCode.OUTPUT
            if outcome.status is Status.FAILED:
                self._list_failed(decision.job)
            if outcome.status is Status.WRITTEN:
                self.count_replaced(decision)
            if not self._timed and outcome.status is Status.WRITTEN:
                self._say_if_slow(outcome)

    def _is_elsewhere(self) -> bool:
        """Whether the output folder is no longer that which the run began with."""
        if self._output is not None and not self._gone:
            self._gone = self._output.trouble() is not None or self._output.is_another()
        return self._gone

    def count_replaced(self, decision: Decision) -> None:
        """Count what of somebody's work a photo's products have replaced, or would."""
        verdicts = decision.verdicts.values()
        self.summary.edited += sum(verdict.replaces_edited for verdict in verdicts)
        self.summary.foreign += sum(verdict is Verdict.OVERWRITE_FOREIGN for verdict in verdicts)

    def _say_if_slow(self, first: Outcome) -> None:
        self._timed = True
        if self.task.options.cluster is not None:  # of its machines nobody knows here
            return
        notice = self._slow_cpu.of(first, len(self._left), self.summary)
        if notice is not None:
            self.reporter.on_notice(notice)

    def end_finished(self) -> None:
        """Report what has ended and was not given by the executor, which is closed or stuck."""
        for outcome in () if self.executor is None else self.executor.finished_unreported:
            self.end(outcome)

    @property
    def should_stop(self) -> bool:
        """Whether the run is to stop here."""
        if self.summary.stopped is not None:
            return True
        limit = self.task.options.max_failures
        return limit is not None and self.summary.counts[Status.FAILED] >= limit


def _folder_of(task: BatchTask) -> MountedFolder | None:
    """The output folder; a watch looks after its own."""
    folder = output_of(task.selection).folder
    if folder is None or task.dry_run or task.photo_by_photo:
        return None
    with suppress(OSError):
        return MountedFolder(folder)
    return None


def _replaces_theirs(decision: Decision) -> bool:
    """Whether somebody's work goes: nobody can ask later what it was."""
    return any(verdict.replaces_theirs for verdict in decision.verdicts.values())
