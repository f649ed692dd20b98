"""A run on several devices, as its one process sees it that finds, plans, tells and counts."""

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from queue import SimpleQueue

from birefcli.batch.bottleneck import largest
from birefcli.batch.freshness import Decision, Fingerprints
from birefcli.batch.outcome import Outcome
from birefcli.batch.workers.process import WorkerProcess
from birefcli.batch.workers.protocol import (
    Assign,
    FromWorker,
    Notice,
    NoWork,
    Refused,
    Request,
    Result,
    State,
    WorkerConfig,
    WorkerLost,
)
from birefcli.batch.workers.scheduler import Scheduler
from birefcli.errors import BirefcliError
from birefcli.matting.device import Placement
from birefcli.models.weights import Checkpoint
from birefcli.options import Options
from birefcli.system import atomic


@dataclass(frozen=True)
class PoolListener:
    """Who is told what a crew has to say beside its outcomes, in the thread that takes those."""

    state: Callable[[str], None]
    """What photos wait for, ``""`` for nothing."""
    notice: Callable[[str], None]
    """What the user should know."""
    lost: Callable[[str, WorkerLost, int], None]
    """A device that is lost, why, and how many of its photos are done elsewhere."""


class WorkerPool:
    """Does what :class:`birefcli.batch.pipeline.Pipeline` does, with a process for each device."""

    def __init__(
        self,
        options: Options,
        checkpoint: Checkpoint,
        devices: Mapping[str, Placement],
        fingerprints: Fingerprints,
        listener: PoolListener,
    ) -> None:
        """``devices``: by the names they are told as."""
        self._options, self._checkpoint, self._devices = options, checkpoint, devices
        self._fingerprints, self._listener = fingerprints, listener
        self._processes: list[WorkerProcess] = []
        self._scheduler = Scheduler((), [])
        self._waiting: set[int] = set()
        self._shares: dict[int, Mapping[str, float]] = {}
        self._events: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._said: set[str] = set()
        self._over = False
        # The workers' listeners change what the run looks at; a run that gives up looks at it in a
        # signal handler, which may have interrupted it while it was looking.
        self._lock = threading.RLock()

    def __call__(self, todo: Sequence[Decision]) -> Generator[Outcome, None, None]:
        """Do every job; outcomes come in the jobs' order, but those of a lost device last.

        Closing the iterator drops what has not started and waits for what has.
        """
        self._scheduler = Scheduler(todo, list(self._devices))
        try:
            for config in self._configs(len(todo)):
                self._start_process(config)
            while (outcome := self._next()) is not None:
                yield outcome
                with self._lock:
                    self._scheduler.told(outcome)
        finally:
            self._over = True
            for process in self._processes:
                process.stop()
            for process in self._processes:
                process.join()

    def _configs(self, photos: int) -> Iterator[WorkerConfig]:
        sharers, options = len(self._devices), self._options
        for i, placement in enumerate(self._devices.values()):
            own = replace(
                options,
                device=str(placement.device),
                threads=max(1, (options.threads + i) // sharers),
                max_memory=options.max_memory // sharers,
            )
            yield WorkerConfig(own, self._checkpoint, sharers, -(-photos // sharers))

    def _start_process(self, config: WorkerConfig) -> None:
        worker = len(self._processes)
        process = WorkerProcess(config, partial(self._hear, worker), partial(self._gone, worker))
        self._processes.append(process)
        process.start()

    @property
    def finished_unreported(self) -> list[Outcome]:
        """What has ended since the last outcome that was given, and that one, of a closed run."""
        with self._lock:
            return self._scheduler.ended()

    @property
    def no_device_left(self) -> bool:
        """Whether photos were left because no device was."""
        return self._scheduler.no_device_left

    def limit(self) -> tuple[str, float] | None:
        """The stage that took most of the workers' time, and its share of it, 0..1."""
        with self._lock:
            told = list(self._shares.values())
        stages = {stage for shares in told for stage in shares}
        return largest({s: sum(shares.get(s, 0.0) for shares in told) / len(told) for s in stages})

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

    # In the threads of the listeners.

    def _hear(self, worker: int, message: FromWorker) -> None:
        match message:
            case Request():
                with self._lock:
                    self._answer(worker, patient=message.patient)
            case Result():
                self._done(worker, message)
            case State():
                self._events.put(partial(self._listener.state, message.text))
            case Notice():
                self._notice(message.text)
            case Refused():
                self._events.put(partial(_raise, message.error))

    def _answer(self, worker: int, *, patient: bool) -> None:
        decision = self._scheduler.assign(worker)
        if decision is not None:
            self._processes[worker].tell(Assign(decision, self._fingerprints(decision.job)))
        elif patient:
            self._waiting.add(worker)
        else:
            self._processes[worker].tell(NoWork())

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
            known = text in self._said
            self._said.add(text)
        if not known:
            self._events.put(partial(self._listener.notice, text))

    def _gone(self, worker: int, why: WorkerLost) -> None:
        if self._over:
            return
        with self._lock:
            self._waiting.discard(worker)
            self._shares.pop(worker, None)
            held = self._scheduler.lose(worker, why.reason)
            # Its half-written files are nobody's now.
            atomic.clear_stale({t.parent for d in held for t in d.job.targets.values() if t})
            self._answer_waiting()
            # Within the lock: a run that has ended by it ends after it was told.
            name, taken = self._scheduler.names[worker], self._scheduler.elsewhere(held)
            self._events.put(partial(self._listener.lost, name, why, taken))


def _nothing() -> None:
    """Wake whoever waits for news."""


def _raise(error: BirefcliError) -> None:
    raise error
