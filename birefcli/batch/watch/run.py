"""Photos as they come: look, wait until they are whole, run, again and again. ``birefcli watch``.

Nothing is remembered but what the products say: a watch that is started again looks at everything
once, as a run does. What the system tells of changes only wakes it; each look is the truth.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from birefcli.batch.executor import Executors
from birefcli.batch.interrupts import InterruptHandler, StoppedError
from birefcli.batch.lock import hold_output
from birefcli.batch.outcome import Outcome, Status, Summary
from birefcli.batch.output import output_of
from birefcli.batch.places import PIPE
from birefcli.batch.reporter import WatchReporter
from birefcli.batch.run import check_model, run
from birefcli.batch.targets import Job, check_output, plan_job
from birefcli.batch.watch.claims import Claims
from birefcli.batch.watch.folder_look import FolderLook, Look
from birefcli.batch.watch.input import WatchedInput
from birefcli.batch.watch.listener import RunListener
from birefcli.batch.watch.pause import Pause
from birefcli.batch.watch.settling import GRACE
from birefcli.batch.watch.store_look import StoreLook
from birefcli.errors import ExitCode, Message, ModelError, NoInputError, OutputError, UsageError
from birefcli.models.load import identify_weights
from birefcli.options import BatchTask, Lock, Selection
from birefcli.system import allocator, file_events
from birefcli.system.clock import Clock
from birefcli.system.mounts import MountedFolder
from birefcli.system.notify import notify
from birefcli.system.object_url import is_url
from birefcli.system.paths import absence, is_folder, real_path

PAUSE = 30.0  # seconds between two tries where nothing can be done
CLOSED = "cannot be written"
SHARE = 10  # times as long as a look takes, nothing is looked at afterwards: a tenth of a core
SHORTEST = 0.1  # seconds between two looks
QUIET = 60.0  # seconds without work after which memory that photos took is given back

Runs: TypeAlias = Callable[[BatchTask, "RunListener", Executors], Summary]
"""What does photos: :func:`birefcli.batch.run.run`."""


@dataclass(frozen=True)
class WatchTask:
    """What is watched, and how patiently. Times are in seconds."""

    batch: BatchTask
    """The inputs of its selection are folders, and its output is one."""
    every: float = 5.0
    """From one look to the next."""
    settle: float = 2.0
    """A photo is tried when it has not changed for so long."""
    idle: float | None = 600.0
    """Without work for so long, the model is let go; None keeps it."""
    events: bool = True
    """Whether what the system tells of changes wakes it earlier."""
    grace: float = GRACE
    """A photo that cannot be read fails when it has not changed for so long."""
    pause: float = PAUSE
    """From one try to the next where nothing can be written, or the model cannot be loaded."""


def watch(
    task: WatchTask, reporter: WatchReporter, clock: Clock | None = None, do: Runs = run
) -> Summary:
    """Do photos as they come, until a signal ends it.

    ``clock`` and ``do`` may be others than those of this machine. Raises what
    :func:`birefcli.batch.run.run` does, but what goes by only at the start: later it waits for an
    output, for weights and for a background that cannot be used.
    """
    looks = _looks(task.batch.selection)
    check_model(task.batch.options, reporter)
    with InterruptHandler() as signals:
        watching = _Watch(task, looks, reporter, clock or Clock(), do)
        signals.before_exit = lambda: watching.end(signals.code)
        try:
            watching.go_on()
        except StoppedError:
            with signals.ending():
                watching.end(signals.code or watching.stopped)
        finally:
            notify("STOPPING=1")
            watching.close()
    return watching.total


def _looks(selection: Selection) -> list[Look]:
    """A look for each input. Raises UsageError, NoInputError."""
    if output_of(selection).is_one:
        text = "photos come and go: name a folder"
        raise UsageError(text, option="output", value=selection.output)
    looks: list[Look] = []
    roots: dict[str, str] = {}
    for name in selection.inputs:
        look = _look_at(name, selection)
        root = look.name if isinstance(look, StoreLook) else _as_prefix(real_path(Path(name)))
        for other, spelled in roots.items():
            if root.startswith(other) or other.startswith(root):
                raise UsageError(f"{name} and {spelled} hold the same photos; name one of them")
        roots[root] = name
        looks.append(look)
    return looks


def _as_prefix(folder: Path) -> str:
    """What the paths below a folder begin with; ``/`` ends with its separator already."""
    return f"{folder}".removesuffix(os.sep) + os.sep


def _look_at(name: str, selection: Selection) -> Look:
    """A look at one input, which is there. Raises UsageError, NoInputError."""
    if name == PIPE:
        raise UsageError("stdin (-) cannot be watched; name folders")
    if is_url(name):
        try:
            look = StoreLook(name, selection)
        except ValueError as error:
            raise UsageError(f"{name}: {error}") from None
        try:
            next(look(), None)  # asks whether it can be listed
        except OSError as error:
            raise NoInputError(f"{error.filename}: {error.strerror}") from error
        return look
    path = Path(name)
    if not is_folder(path):
        raise NoInputError(f"{name}: {absence(path, 'folder')}")
    return FolderLook(path, selection)


def _output(selection: Selection) -> MountedFolder | None:
    """The output as a folder that may go; None for a store, which does not. Raises OSError."""
    folder = output_of(selection).folder
    return None if folder is None else MountedFolder(folder)


class _Watch:
    """What is known from one look to the next."""

    def __init__(
        self, task: WatchTask, looks: list[Look], reporter: WatchReporter, clock: Clock, do: Runs
    ) -> None:
        self._task, self._reporter, self._clock, self._do = task, reporter, clock, do
        self._batch = task.batch
        options = task.batch.options
        self._inputs = [WatchedInput(look, task.settle, task.grace, reporter) for look in looks]
        self._executors = Executors(options)
        self._claims = Claims()
        self._claims.reserve(self._executors.files.read())
        self._identity = identify_weights(options.model)
        self._was_good = False
        """Whether the model could be loaded once, or is another than at the start."""
        self._listener = RunListener(reporter, task.batch.selection.shard, self._waiting)
        self._events = ExitStack()
        self._no_events: str | None = None
        """Why nothing is told any more, from the thread that listened."""
        self._out = task.batch.selection.output
        self._pause = Pause(task.pause, reporter)
        self._worked = clock.now()
        self._cost = 0.0
        self._was_loaded = self._was_tidied = False
        self.stopped: ExitCode | None = None
        """Why a run ended before its end, where that ends the watch."""

    @property
    def total(self) -> Summary:
        """What became of all photos."""
        return self._listener.total

    def go_on(self) -> None:
        """Watch, for as long as nothing stops it. Raises StoppedError."""
        selection, lock = self._batch.selection, self._batch.lock
        made = check_output([], selection)
        there, begun = None, False
        while True:
            with hold_output(selection, lock, made):
                if not begun:
                    there = _output(selection)
                    self._begin()
                    begun = True
                self._while_there(there)
            made = []  # a folder that has gone is not made again: it may lie on a disk that has
            lock = Lock.WAIT if lock is Lock.LEAVE else lock  # and whoever came first ends once
            self._await(there)

    def end(self, code: ExitCode | None) -> None:
        """Report the whole."""
        self._listener.end(code)

    def _waiting(self) -> int:
        return sum(watched.settling.waiting for watched in self._inputs)

    def close(self) -> None:
        """Listen to no more events."""
        self._events.close()

    def _begin(self) -> None:
        self._reporter.on_notice(self._greeting())
        self._listen()
        self._look()
        notify("READY=1")

    def _while_there(self, there: MountedFolder | None) -> None:
        """Look, work and rest, until the output folder is gone or another."""
        while there is None or (there.trouble() is None and not there.is_another()):
            now = self._look()
            if there is None or there.trouble() is None:
                self._work(now)
            self._let_go()
            self._rest(now)

    def _await(self, there: MountedFolder | None) -> None:
        """Wait for the output folder."""
        if there is None or (trouble := there.trouble()) is None:
            return
        self._reporter.on_trouble(f"{self._out}: {trouble}; waits until it is there again")
        while there.trouble() is not None:
            self._clock.wait(self._task.pause)
        there.is_another()
        self._reporter.on_notice(f"{self._out}: is there again")

    # Look

    def _look(self) -> float:
        """Look at every input; returns when."""
        now = self._clock.now()
        came_back = False
        for watched in self._inputs:
            was_there = watched.is_there
            for label in watched.look(now):
                for other in self._claims.give_up(label):
                    self._again(other, now)
            came_back |= watched.is_there and not was_there
        if came_back:
            self._listen()  # what was told of the folder that has gone, is told no more
        if self._no_events is not None:
            self._reporter.on_notice(f"no file events: {self._no_events}; looks{self._how_often}")
            self._no_events = None
        self._cost = self._clock.now() - now
        return now

    def _again(self, label: str, now: float) -> None:
        for watched in self._inputs:
            watched.settling.again(label, now)

    def _listen(self) -> None:
        """Have changes below the folders wake it, from now on."""
        self._events.close()
        folders = [Path(watched.look_at.name) for watched in self._inputs if self._tells(watched)]
        if folders and self._task.events and file_events.available():
            self._events.enter_context(
                file_events.wake_on_changes(folders, self._clock.wake, self._lose_events)
            )

    def _tells(self, watched: WatchedInput) -> bool:
        return watched.is_there and watched.look_at.why_no_events() is None

    def _lose_events(self, reason: str) -> None:
        self._no_events = reason
        self._clock.wake()

    @property
    def _how_often(self) -> str:
        return f" every {self._task.every:g} s"

    def _greeting(self) -> Message:
        names = ", ".join(watched.look_at.name for watched in self._inputs)
        text = f"watching {names}: looks{self._how_often}"
        silent = [why for w in self._inputs if (why := w.look_at.why_no_events()) is not None]
        if silent:
            return Message(f"{text}; no file events: {', '.join(silent)}")
        if not self._task.events:
            return Message(text)
        if not file_events.available():
            install = "pip install 'birefcli[watch]'"
            return Message(f"{text}; for file events, which wake it at once: {install}")
        return Message(f"{text}, and when files change")

    # Work

    def _work(self, now: float) -> None:
        """Run what is due."""
        if self._pause.holds(now):
            return
        due = {}
        jobs = []
        for watched, label in self._due(now):
            job = self._plan(watched, label)
            jobs.append(job)
            due[job.label] = (watched.settling, label)
        if not jobs or not self._is_ready(now):
            return
        self._listener.expect(due)
        taken, refused = self._claims.take(jobs)
        for job, reason in refused:
            self._listener.on_outcome(Outcome.failed(job, reason))
        if taken:
            self._run(taken)
        for settling, label in self._listener.left():
            settling.put_off(label, now + self._task.every)
        self._worked, self._was_tidied = self._clock.now(), False

    def _due(self, now: float) -> Iterator[tuple[WatchedInput, str]]:
        for watched in self._inputs:
            labels = watched.settling.due(now) if watched.is_there else []
            ours = watched.look_at.products(labels) if labels else set()
            for label in labels:
                if label in ours:
                    watched.settling.end(label)
                else:
                    yield watched, label

    def _plan(self, watched: WatchedInput, label: str) -> Job:
        rendering = self._batch.options.rendering
        photo = watched.look_at.photo(label)
        return plan_job(photo, self._batch.selection, rendering.products, rendering.format)

    def _run(self, jobs: list[Job]) -> None:
        """Do photos that have their targets for themselves. Raises StoppedError."""
        listed = [job.source.listed_as(job.relative) for job in jobs]
        selection = replace(
            self._batch.selection,
            inputs=(),
            listed=tuple(name for name in listed if name),
            shard=None,  # of which all of them are
        )
        task = replace(self._batch, selection=selection, lock=Lock.NONE, photo_by_photo=True)
        try:
            summary = self._do(task, self._listener, self._executors)
        except OutputError as error:
            self._await_output(error.message)
        except (ModelError, UsageError) as error:
            self._await_file(error)
        else:
            self._take_in(summary)

    def _take_in(self, summary: Summary) -> None:
        """What a run has come to. Raises StoppedError."""
        if summary.stopped is ExitCode.OUTPUT:
            self._await_output(Message(f"{self._out}: ", self._listener.obstacle or CLOSED))
            return
        if summary.stopped is not None:
            self.stopped = summary.stopped
            raise StoppedError
        worked = summary.counts[Status.WRITTEN] > 0
        self._was_good |= worked or self._executors.is_loaded
        if worked:
            self._pause.end()

    def _is_ready(self, now: float) -> bool:
        """Whether weights and background can be used, as they are now."""
        try:
            self._renew()
            shared = self._executors.files.read()
        except (ModelError, UsageError) as error:
            self._await_file(error)
            return False
        for label in self._claims.reserve(shared):
            self._again(label, now)
        return True

    def _renew(self) -> None:
        """See that the model is that of the file that is there now. Raises ModelError."""
        identity = identify_weights(self._batch.options.model)
        if identity != self._identity:
            self._identity, self._executors = identity, Executors(self._batch.options)
            self._was_good = True
            if self._pause.until is None:
                self._reporter.on_notice("the weights have changed: they are loaded again")
        elif self._was_loaded and not self._executors.is_loaded:
            self._reporter.on_detail("the model is loaded again")
        self._was_loaded = False

    def _await_output(self, why: Message) -> None:
        self._pause.begin(self._clock.now(), why, f"{self._out}: can be written again")

    def _await_file(self, error: ModelError | UsageError) -> None:
        """Weights or a background may be half-copied: they are waited for.

        Raises what is no matter of waiting: weights that never were good, and wrong options.
        """
        if isinstance(error, ModelError):
            if not self._was_good:
                raise error
            self._executors = Executors(self._batch.options)  # nothing half-read is kept
        elif error.option != "background":
            raise error
        what = "the weights" if isinstance(error, ModelError) else "the background"
        self._pause.begin(self._clock.now(), error.message, f"{what} can be read again")

    # Rest

    def _let_go(self) -> None:
        """Let go of the model, and of memory, where there has been no work for long."""
        without = self._clock.now() - self._worked
        if without >= QUIET and not self._was_tidied:
            allocator.give_back()
            self._was_tidied = True
        idle = self._task.idle
        if idle is None or not self._executors.is_loaded:
            return
        if without >= idle:
            self._executors.release()
            self._was_loaded = True
            self._reporter.on_detail(f"no photo for {idle:g} s: the model is let go")

    def _rest(self, looked: float) -> None:
        """Wait for the next look: until its time comes, a photo has settled, or files change."""
        until = [looked + self._task.every]
        if self._pause.until is not None and self._pause.until > looked:
            until.append(self._pause.until)
        else:
            dues = (w.settling.next_due for w in self._inputs if w.is_there)
            until += [due for due in dues if due is not None]
        if self._task.idle is not None and self._executors.is_loaded:
            until.append(self._worked + self._task.idle)
        now = self._clock.now()
        least = max(SHORTEST, SHARE * self._cost)
        self._clock.wait(max(min(until) - now, least), at_least=least)
