"""A batch on several devices, as the one process sees it that plans and reports."""

import math
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from birefcli.batch.bottleneck import largest
from birefcli.batch.freshness import Decision, found_since
from birefcli.batch.interrupts import GRACE
from birefcli.batch.outcome import Outcome, Status
from birefcli.batch.patience import no_answer, step, to_begin
from birefcli.batch.places import local_folders
from birefcli.batch.workers.channel import STOPPING
from birefcli.batch.workers.protocol import (
    Assign,
    Beat,
    FromWorker,
    Notice,
    NoWork,
    Refused,
    Request,
    Result,
    State,
    WorkerLost,
)
from birefcli.batch.workers.scheduler import Scheduler
from birefcli.batch.workers.source import LEAVE, NewWorker, Worker, WorkerSource
from birefcli.errors import BirefcliError
from birefcli.images.findings import Findings
from birefcli.system.watchdog import Sign, Watchdog

UNHEARD = "its worker was lost when it was written: how long it took is not known"
LAST = 1.0  # seconds for a worker that was killed to be gone, where the run gives up


@dataclass(frozen=True)
class PoolListener:
    """Callbacks for what happens beside outcomes, in the thread that takes those."""

    on_state: Callable[[str], None]
    """What photos wait for, ``""`` for nothing."""
    on_notice: Callable[[str], None]
    """What the user should know."""
    on_lost: Callable[[str, WorkerLost, int], None]
    """A device that is lost, why, and how many of its photos are done elsewhere."""


class WorkerPool:
    """An executor with a worker for each device: the promises are those of the pipeline."""

    def __init__(
        self, source: WorkerSource, listener: PoolListener, photo_timeout: float | None
    ) -> None:
        """``source``: of the workers; ``photo_timeout``: that of the batch's options."""
        self._source, self._listener = source, listener
        self._limit = math.inf if photo_timeout is None else photo_timeout
        # The workers' listeners change what the run looks at; a run that gives up looks at it in a
        # signal handler, which may have interrupted it while it was looking.
        self._lock = threading.RLock()
        self._notices: set[str] = set()
        self._reset((), _nothing)

    def _reset(self, todo: Sequence[Decision], on_ready: Callable[[], object]) -> None:
        self._workers: list[Worker] = []
        self._scheduler = Scheduler(todo)
        self._waiting: set[int] = set()
        self._shares: dict[int, Mapping[str, float]] = {}
        self._events: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._over = False
        self._starting: set[int] = set()
        self._on_ready: Callable[[], object] | None = on_ready

    def __call__(
        self, todo: Sequence[Decision], on_ready: Callable[[], object] = lambda: None
    ) -> Generator[Outcome, None, None]:
        """Do every job; outcomes come in the jobs' order, but those of a lost device last.

        ``on_ready`` is called when the first worker has loaded its model. Closing the iterator
        drops what has not started and waits for what has. Workers live as long as one call.
        """
        self._reset(todo, on_ready)
        with Watchdog(step(self._limit), self._signs, self._overdue):
            try:
                # All of them, before the first asks for its share.
                new = self._source.open(len(todo), self._join, self._notice)
                for worker in list(map(self._add, new)):
                    worker.start()
                while (outcome := self._next()) is not None:
                    yield outcome
                    with self._lock:
                        self._scheduler.reported(outcome)
            finally:
                with self._lock:
                    self._over = True
                try:
                    self._end_workers()
                finally:
                    self._source.close()

    def _end_workers(self) -> None:
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.join()

    def _add(self, new: NewWorker) -> Worker:
        with self._lock:
            number = self._scheduler.join(new.name, new.machine)
            worker = new.make(partial(self._receive, number), partial(self._gone, number))
            self._workers.append(worker)
            self._starting.add(number)
        return worker

    def _join(self, new: NewWorker) -> None:
        """Go on with one more worker, which comes while others are at work."""
        with self._lock:
            if not self._over:
                self._add(new).start()

    @property
    def finished_unreported(self) -> list[Outcome]:
        """What has ended since the last outcome that was given, and that one, of a closed run."""
        with self._lock:
            return self._scheduler.ended()

    @property
    def no_device_left(self) -> bool:
        """Whether photos were left because no device was."""
        return self._scheduler.no_device_left

    def give_up(self) -> None:
        """End every worker that has not ended: nobody would hear of what it does."""
        left = [worker for worker in self._workers if not worker.over]
        for worker in left:
            worker.abandon()
        for worker in left:
            worker.wait(LAST)
        with self._lock:
            for number, worker in enumerate(self._workers):
                worker.clear_parts(_folders(self._scheduler.held(number)))

    def bottleneck(self) -> tuple[str, float] | None:
        """The stage that took most of the workers' time, and its share of it, 0..1."""
        with self._lock:
            known = list(self._shares.values())
        stages = {stage for shares in known for stage in shares}
        mean = {s: sum(shares.get(s, 0.0) for shares in known) / len(known) for s in stages}
        return largest(mean)

    def _next(self) -> Outcome | None:
        """Wait for the next outcome; None after the last."""
        while True:
            with self._lock:
                outcome = self._scheduler.first()
                if outcome is not None:
                    return outcome
                over = not self._scheduler.left and self._events.empty()
            if over:
                return None
            self._events.get()()

    # In the thread that watches.

    def _signs(self) -> dict[tuple[int, bool], Sign]:
        """Of the workers that are waited for; one that has nothing to do may say nothing."""
        with self._lock:
            over = self._over
            waited = {(i, over): p for i, p in enumerate(self._workers) if not p.over}
            signs = {who: Sign(p.heard, self._patience(who[0])) for who, p in waited.items()}
            return {who: sign for who, sign in signs.items() if sign.limit < math.inf}

    def _patience(self, worker: int) -> float:
        """Seconds for which a worker may be silent."""
        holds = self._scheduler.holds(worker)
        if self._over:
            # It leaves at once, or gives up what it holds after a while.
            return LEAVE if not holds else GRACE + LEAVE if STOPPING else self._limit
        if worker in self._starting:
            return to_begin(self._limit)
        return self._limit if holds else math.inf

    def _overdue(self, who: tuple[int, bool], sign: Sign) -> None:
        self._workers[who[0]].kill(WorkerLost(no_answer(sign.limit), ""))

    # In the threads of the listeners.

    def _receive(self, worker: int, message: FromWorker) -> None:
        match message:
            case Request():
                with self._lock:
                    self._starting.discard(worker)
                    if self._on_ready is not None:
                        self._events.put(self._on_ready)
                        self._on_ready = None
                    self._answer(worker, patient=message.patient)
            case Result():
                self._done(worker, message)
            case Beat():
                pass
            case State():
                self._events.put(partial(self._listener.on_state, message.text))
            case Notice():
                self._notice(message.text)
            case Refused():
                self._events.put(partial(_raise, message.error))

    def _answer(self, worker: int, *, patient: bool) -> None:
        decision = self._scheduler.assign(worker)
        if decision is not None:
            self._workers[worker].send(Assign(decision))
        elif patient:
            self._waiting.add(worker)
        else:
            self._workers[worker].send(NoWork())

    def _answer_waiting(self) -> None:
        for worker in sorted(self._waiting):
            self._waiting.discard(worker)
            self._answer(worker, patient=True)

    def _done(self, worker: int, message: Result) -> None:
        with self._lock:
            self._scheduler.end(worker, message.outcome)
            self._shares[worker] = message.shares
            self._answer_waiting()
        self._events.put(_nothing)

    def _notice(self, text: str) -> None:
        with self._lock:
            known = text in self._notices
            self._notices.add(text)
        if not known:
            self._events.put(partial(self._listener.on_notice, text))

    def _gone(self, worker: int, why: WorkerLost) -> None:
        if self._over:
            return
        made = self._made(worker)
        with self._lock:
            for decision, found in made:
                self._scheduler.end(worker, _unheard(decision, found))
            self._waiting.discard(worker)
            self._shares.pop(worker, None)
            name = self._scheduler.names[worker]
            replaced = self._source.replace(name, self._settled)
            held = self._scheduler.lose(worker, why.reason, replaced=replaced)
            self._workers[worker].clear_parts(_folders(held))
            self._answer_waiting()
            # Within the lock: a run that has ended by it ends after it was reported.
            taken = self._scheduler.elsewhere(held)
            self._events.put(partial(self._listener.on_lost, name, why, taken))

    def _made(self, worker: int) -> list[tuple[Decision, Findings]]:
        """Photos that a worker which is gone has done and could not tell of, and what it found."""
        with self._lock:
            held = self._scheduler.held(worker)
        try:
            every = [(decision, found_since(decision)) for decision in held]
        except (OSError, MemoryError):  # then they are done again
            return []
        return [(decision, found) for decision, found in every if found is not None]

    def _settled(self) -> None:
        with self._lock:
            self._scheduler.expect_no_more()
            self._answer_waiting()
        self._events.put(_nothing)


def _folders(held: Sequence[Decision]) -> set[Path]:
    """Where the products of these photos are written, as far as that is a disk."""
    return local_folders([target for decision in held for target in decision.job.targets.values()])


def _unheard(decision: Decision, found: Findings) -> Outcome:
    """That of a photo which a worker has done, as its products tell."""
    job = decision.job
    written = Outcome(
        job.label,
        Status.WRITTEN,
        dict(job.targets),
        reason=decision.reason,
        is_new=decision.is_new,
    )
    every = found.after(decision.found).noting([UNHEARD])
    return written.found_by(every, of_several=decision.of_several)


def _nothing() -> None:
    """Wake whoever waits for an event."""


def _raise(error: BirefcliError) -> None:
    raise error
