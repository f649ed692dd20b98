"""Which machines of a cluster get a worker, and who joins later."""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue

from birefcli.batch.patience import START
from birefcli.batch.workers.ray.actor import NodeInfo, Share
from birefcli.batch.workers.ray.candidate import Candidate, Work
from birefcli.batch.workers.ray.cluster import Cluster, Machine, in_thread
from birefcli.batch.workers.ray.worker import RayWorker, why_lost
from birefcli.batch.workers.source import Gone, Join, NewWorker, Notify, Receive, Settled, Worker
from birefcli.errors import BirefcliError, DeviceError
from birefcli.matting.device import Placement
from birefcli.options import ClusterOptions

LOOK = 2.0  # seconds between two looks at which machines the cluster has
REPLACED = 3  # workers of a machine that others come in the place of
WAITING = "waiting for the cluster"


@dataclass(frozen=True)
class Callbacks:
    """What a run hears of its machines."""

    on_placements: Callable[[Sequence[Placement]], object]
    """What all workers that have joined compute on, whenever there are more."""
    on_notice: Callable[[str], object]
    """What the user should know before the first photo."""
    on_state: Callable[[str], object]
    """What is waited for before the first photo; ``""`` for nothing any more."""


class RayWorkers:
    """A source of workers: an actor for each GPU of a cluster, or for each of its machines."""

    def __init__(self, work: Work, callbacks: Callbacks, cluster: Cluster | None = None) -> None:
        self._work, self._callbacks = work, callbacks
        self._cluster = cluster or Cluster()
        self._candidates: list[Candidate] = []
        self._changed: SimpleQueue[Candidate] = SimpleQueue()
        """Candidates whose actor has begun, or of which all is known."""
        self._closed = threading.Event()
        self._to_replace: SimpleQueue[tuple[Candidate, Settled]] = SimpleQueue()
        """Those that are lost, and whom another is to come in the place of."""
        self._replaced: Counter[str] = Counter()
        """How many of a machine, by its id."""
        self._looker: threading.Thread | None = None
        self._photos = 0
        self._most: float = 0
        """Workers at once."""
        self._device = "cpu"

    def open(self, photos: int, join: Join, notify: Notify) -> list[NewWorker]:
        """Join the cluster and see to its machines; those that come later are seen to as they come.

        A machine that will not do, of those that are there, refuses the run. Raises DeviceError,
        ModelError, OutputError, UsageError.
        """
        self._cluster.join()
        wanted = (self._work.options.cluster or ClusterOptions()).workers
        self._photos, self._most = photos, min(wanted or math.inf, photos)
        machines = in_thread(self._cluster.machines)
        self._device = self._chosen(machines)
        in_thread(partial(self._ask, machines))
        if not self._candidates:
            missing = "GPU" if self._device == "cuda" else "machine with a CPU"
            raise DeviceError(f"the cluster has no {missing}", option="on", value="ray")
        self._wait_for_first()
        ready = [c for c in self._candidates if isinstance(c.found, NodeInfo)]
        first = [self._new_worker(candidate) for candidate in ready]
        # Not before: it lets join whoever is ready and has not.
        self._looker = threading.Thread(target=self._look, args=(join, notify), daemon=True)
        self._looker.start()
        return first

    def replace(self, name: str, settled: Settled) -> bool:
        """Whether another worker is asked for on the machine of this one, if that still lives."""
        lost = next(candidate for candidate in self._candidates if candidate.name == name)
        if lost.refused or self._replaced[lost.machine.id] >= REPLACED:
            return False
        self._replaced[lost.machine.id] += 1
        self._to_replace.put((lost, settled))
        return True

    def close(self) -> None:
        """End all actors, and leave the cluster."""
        self._closed.set()
        if self._looker is not None:
            self._looker.join()
        actors = [candidate.actor for candidate in self._candidates]
        in_thread(partial(self._cluster.end_actors, actors))
        self._cluster.leave()

    def _chosen(self, machines: Sequence[Machine]) -> str:
        (device,) = self._work.options.device_names
        if device != "auto":
            return device
        return "cuda" if any(machine.gpus for machine in machines) else "cpu"

    def _ask(self, machines: Sequence[Machine]) -> None:
        """Ask for an actor wherever there is room for one that was never asked for."""
        room = self._most - sum(not candidate.is_dead for candidate in self._candidates)
        room -= self._to_replace.qsize()  # looked at last: who is replaced dies afterwards
        asked = {(candidate.machine.id, candidate.slot) for candidate in self._candidates}
        gpus = self._device == "cuda"
        for machine, slot in slots(machines, gpus=gpus):
            if room < 1:
                return
            if (machine.id, slot) in asked:
                continue
            room -= 1
            self._start(self._name(machine, slot), machine, slot)

    def _start(self, name: str, machine: Machine, slot: int) -> Candidate:
        actor = self._cluster.start_actor(machine, gpu=self._device == "cuda")
        candidate = Candidate(name, machine, slot, actor)
        self._candidates.append(candidate)
        threading.Thread(target=self._validate, args=(candidate,), daemon=True).start()
        return candidate

    def _name(self, machine: Machine, slot: int) -> str:
        name = f"{machine.name} GPU {slot}" if self._device == "cuda" else machine.name
        known = {candidate.name for candidate in self._candidates}
        return f"{name} ({machine.id[:6]})" if name in known else name

    def _validate(self, candidate: Candidate) -> None:
        """In a thread of its own: a machine may take as long as it likes to begin."""
        try:
            candidate.check_version()
            self._changed.put(candidate)
            candidate.found = candidate.validate(self._work, self._device)
        except Exception as error:
            candidate.found = error
        self._changed.put(candidate)

    # Before the first photo

    def _wait_for_first(self) -> None:
        """Wait until all machines that answer are seen to, and there is one of them."""
        end = time.monotonic() + START
        late = told = False
        self._callbacks.on_state(WAITING)
        while not self._may_begin(late=late):
            with suppress(Empty):
                self._report_unfit(self._changed.get(timeout=1.0))
            late = time.monotonic() >= end
            if late and not told:
                told = True
                self._report_silent()
        for candidate in self._candidates:
            self._report_unfit(candidate)
        self._callbacks.on_state("")
        if all(candidate.is_dead for candidate in self._candidates):
            raise DeviceError("no machine of the cluster can begin", option="on", value="ray")

    def _may_begin(self, *, late: bool) -> bool:
        left = [candidate for candidate in self._candidates if candidate.found is None]
        if not left:
            return True
        limit = self._work.options.photo_timeout or math.inf
        if any(c.answered and time.monotonic() - c.answered < limit for c in left):
            return False  # it downloads its weights, maybe
        return late and any(isinstance(c.found, NodeInfo) for c in self._candidates)

    def _report_unfit(self, candidate: Candidate) -> None:
        """Refuse the run where a machine will not do; say which one has gone meanwhile."""
        if isinstance(candidate.found, BirefcliError):
            raise candidate.found
        if isinstance(candidate.found, Exception) and not candidate.joined:
            candidate.joined = True  # it is reported once
            self._callbacks.on_notice(_lost(candidate, candidate.found))

    def _report_silent(self) -> None:
        for candidate in self._candidates:
            if not candidate.answered and candidate.found is None:
                wanted = "GPU" if self._device == "cuda" else "core"
                self._callbacks.on_notice(
                    f"{candidate.name} has not begun; it joins once it has a {wanted} to spare"
                )

    # Later, in a thread of its own

    def _look(self, join: Join, notify: Notify) -> None:
        looked = time.monotonic()
        while not self._closed.is_set():
            with suppress(Empty):
                self._let_join(self._changed.get(timeout=LOOK / 4), join, notify)
            self._replace_lost()
            if time.monotonic() - looked >= LOOK:
                with suppress(Exception):  # the next look may succeed
                    self._ask(self._cluster.machines())
                looked = time.monotonic()

    def _replace_lost(self) -> None:
        """Ask for new workers in the place of lost ones; wait no longer for who never begins."""
        with suppress(Empty):
            while True:
                lost, settled = self._to_replace.get_nowait()
                try:
                    self._start_again(lost, settled)
                except Exception:  # as where the cluster does not answer
                    settled()
        limit = self._work.options.photo_timeout or math.inf
        for candidate in self._candidates:
            if candidate.found is None and not candidate.is_waited_for(limit):
                self._settle(candidate)

    def _start_again(self, lost: Candidate, settled: Settled) -> None:
        place = (lost.machine.id, lost.slot)
        if all(machine.id != lost.machine.id for machine in self._cluster.machines()):
            settled()
            return
        before = [c for c in self._candidates if (c.machine.id, c.slot) == place]
        name = f"{before[0].name} ({len(before) + 1})"
        self._start(name, lost.machine, lost.slot).settled = settled

    def _settle(self, candidate: Candidate) -> None:
        settled, candidate.settled = candidate.settled, None
        if settled is not None:
            settled()

    def _let_join(self, candidate: Candidate, join: Join, notify: Notify) -> None:
        if candidate.joined or candidate.found is None:
            return
        if isinstance(candidate.found, NodeInfo):
            if candidate.settled is not None:
                notify(f"{candidate.name} begins in the place of a worker that is lost")
            join(self._new_worker(candidate, late=True))
        else:
            candidate.joined = True
            self._report_useless(candidate, candidate.found, notify)
        self._settle(candidate)

    def _report_useless(self, candidate: Candidate, why: Exception, notify: Notify) -> None:
        if isinstance(why, BirefcliError):
            notify(f"a machine that has come is not used: {why}")
        elif candidate.settled is None:  # else its machine is, of which another line tells
            notify(_lost(candidate, why))

    def _new_worker(self, candidate: Candidate, *, late: bool = False) -> NewWorker:
        candidate.joined = True
        working = [c for c in self._candidates if not c.is_dead]
        sharers = sum(c.machine.id == candidate.machine.id for c in working)
        share = Share(sharers, candidate.machine.cores, -(-self._photos // len(working)))
        self._callbacks.on_placements(
            [c.found.placement for c in working if c.joined and isinstance(c.found, NodeInfo)]
        )
        make = partial(self._make, candidate, share, late)
        return NewWorker(candidate.name, make, candidate.machine.id)

    def _make(
        self, candidate: Candidate, share: Share, late: bool, receive: Receive, gone: Gone
    ) -> Worker:
        name, actor, options = candidate.name, candidate.actor, self._work.options

        def start_process() -> object:
            return actor.start.remote(options, share)

        candidate.worker = RayWorker(name, actor, start_process, receive, gone, late=late)
        return candidate.worker


def slots(machines: Sequence[Machine], *, gpus: bool) -> Iterator[tuple[Machine, int]]:
    """Where workers can be, by machine and number: one on each before a second on any."""
    room = {m.id: m.gpus if gpus else min(1, m.cores) for m in machines}
    for slot in range(max(room.values(), default=0)):
        for machine in machines:
            if slot < room[machine.id]:
                yield machine, slot


def _lost(candidate: Candidate, error: Exception) -> str:
    return f"{candidate.name} is lost before it began: {why_lost(error).reason}"
