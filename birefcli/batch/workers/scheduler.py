"""Which worker does which photo: assigned on request, and again where a device was lost.

Only bookkeeping; it knows nothing of processes. Photos that were in flight on a device that died
are suspects: one of them may have killed it. They are done when all others are, each alone on its
device, so that what kills a second one is known, and costs nobody else's photos.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from birefcli.batch.freshness import Decision
from birefcli.batch.outcome import Outcome

TRIES = 2  # devices on which a photo is tried, where it costs the first, or does not fit it


class Scheduler:
    """The photos of a run, and the workers that do them, by their numbers from 0."""

    def __init__(self, todo: Iterable[Decision], workers: Iterable[str] = ()) -> None:
        """``workers``: names in messages of those that are there from the start."""
        self.names: list[str] = []
        self.decisions = {decision.job.label: decision for decision in todo}
        self.lost: dict[int, str] = {}
        """Workers that are gone, and why."""
        self.no_device_left = False
        """Whether photos were left because no worker was."""
        self._fresh = deque(self.decisions)
        self._suspects: deque[str] = deque()
        self._machines: list[str] = []
        self._expected = 0  # workers that are to come in the place of lost ones
        self._held: dict[int, set[str]] = {}
        self._tried: dict[str, dict[int, str]] = {}  # why a worker could not do a photo
        self._order = dict.fromkeys(self.decisions)  # in which they are reported
        self._ended: dict[str, Outcome] = {}
        for name in workers:
            self.join(name)

    def join(self, name: str, machine: str = "") -> int:
        """Count on one more worker, called ``name`` in messages; returns its number.

        ``machine``: what others may share with it.
        """
        self.names.append(name)
        number = len(self.names) - 1
        self._machines.append(machine or str(number))
        self._held[number] = set()
        return number

    @property
    def left(self) -> int:
        """Photos that have not ended."""
        return len(self._order) - len(self._ended)

    def assign(self, worker: int) -> Decision | None:
        """Give a worker its next photo; None when there is none for it now."""
        label = self._next(worker)
        if label is None:
            return None
        self._held[worker].add(label)
        return replace(self.decisions[label], retried=label in self._tried)

    def _next(self, worker: int) -> str | None:
        held = len(self._held[worker])
        if self._fresh:
            # No worker may fill its queue with what others could begin at once.
            fair = -(-self.left // len(self._alive))
            return self._fresh.popleft() if held < fair else None
        if held:
            return None
        for label in self._suspects:
            if self._suits(label, worker):
                self._suspects.remove(label)
                return label
        return None

    def _suits(self, label: str, worker: int) -> bool:
        """Whether this worker is to try a suspect: one of another machine, where there is any."""
        tried = self._tried[label]
        used = {self._machines[i] for i in tried}
        other = {i for i in self._alive if self._machines[i] not in used}
        return worker in other if other else worker not in tried

    @property
    def _alive(self) -> list[int]:
        return [i for i in range(len(self.names)) if i not in self.lost]

    def holds(self, worker: int) -> bool:
        """Whether a worker has photos that have not ended."""
        return bool(self._held[worker])

    def held(self, worker: int) -> list[Decision]:
        """Photos of a worker that have not ended."""
        return [self.decisions[label] for label in self._order if label in self._held[worker]]

    def end(self, worker: int, outcome: Outcome) -> None:
        """Note what became of a photo; for lack of device memory it may be tried elsewhere."""
        label = outcome.input
        if label not in self._held[worker]:
            return  # sent twice by a worker that was stopped
        self._held[worker].discard(label)
        if outcome.out_of_memory and self._may_go_elsewhere(label, worker, "out of memory"):
            self._suspect(label)
        else:
            self._ended[label] = outcome

    def lose(self, worker: int, reason: str, *, replaced: bool = False) -> list[Decision]:
        """Go on without a worker; returns what it had in flight.

        ``replaced``: another is to come, or :meth:`expect_no_more` is called.
        """
        self.lost[worker] = reason
        self._expected += replaced
        held = self.held(worker)
        self._held[worker].clear()
        for label in (decision.job.label for decision in held):
            if self._may_go_elsewhere(label, worker, reason):
                self._suspect(label)
            else:
                self._let_go(label)
        self._give_up()
        return held

    def expect_no_more(self) -> None:
        """The worker that was to come in the place of a lost one has joined, or never will."""
        self._expected -= 1
        self._give_up()

    def elsewhere(self, decisions: Iterable[Decision]) -> int:
        """How many of these photos another worker is to do, or does already."""
        others = set(self._suspects).union(*self._held.values())
        return sum(decision.job.label in others for decision in decisions)

    def _suspect(self, label: str) -> None:
        self._suspects.append(label)
        self._order[label] = self._order.pop(label)  # it will end last, and keeps no other waiting

    def _may_go_elsewhere(self, label: str, worker: int, reason: str) -> bool:
        tried = self._tried.setdefault(label, {})
        tried[worker] = reason
        others = self._expected > 0 or any(i not in tried for i in self._alive)
        return len(tried) < TRIES and others

    def _give_up(self) -> None:
        """Let go what no worker is left for."""
        if self._expected:
            return
        for label in list(self._suspects):
            if all(i in self._tried[label] for i in self._alive):
                self._suspects.remove(label)
                self._let_go(label)
        if not self._alive:
            for label in self._fresh:
                self._let_go(label)
            self._fresh.clear()

    def _let_go(self, label: str) -> None:
        """A photo fails where it may be its own fault; where no device is left, it is not done."""
        tried = self._tried.get(label, {})
        if len(tried) == TRIES:
            text = f"two devices could not do it: {self._reasons(tried)}"
        elif tried and self._alive:
            text = f"{self._reasons(tried)}, and no other device is left for it"
        else:
            self.no_device_left = True
            self._order.pop(label)
            return
        self._ended[label] = Outcome.failed(self.decisions[label].job, text)

    def _reasons(self, why: dict[int, str]) -> str:
        return "; ".join(f"{self.names[i]}: {reason}" for i, reason in why.items())

    def first(self) -> Outcome | None:
        """The outcome that is reported next; None while its photo has not ended."""
        label = next(iter(self._order), None)
        return None if label is None else self._ended.get(label)

    def reported(self, outcome: Outcome) -> None:
        """Forget a photo that was reported."""
        self._order.pop(outcome.input, None)
        self._ended.pop(outcome.input, None)

    def ended(self) -> list[Outcome]:
        """All that has ended and was not reported yet."""
        return [self._ended[label] for label in self._order if label in self._ended]
