"""A run on several devices, as its one process sees it that finds, plans, tells and counts."""

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from queue import SimpleQueue

from birefcli import files
from birefcli.crew.dealer import Dealer
from birefcli.crew.messages import (
    Done,
    Drain,
    FromWorker,
    Lost,
    Notice,
    Refused,
    Setup,
    State,
    Take,
    Want,
)
from birefcli.crew.post import Post
from birefcli.current import Decision, Recipes
from birefcli.devices import Compute
from birefcli.errors import BirefcliError
from birefcli.limits import largest
from birefcli.options import Options
from birefcli.report import Outcome
from birefcli.weights import Checkpoint


@dataclass(frozen=True)
class Ears:
    """Who is told what a crew has to say beside its outcomes, in the thread that takes those."""

    state: Callable[[str], None]
    """What photos wait for, ``""`` for nothing."""
    notice: Callable[[str], None]
    """What the user should know."""
    lost: Callable[[str, Lost, int], None]
    """A device that is lost, why, and how many of its photos are done elsewhere."""


class Crew:
    """Does what :class:`birefcli.pipeline.Run` does, with a process for each device."""

    def __init__(
        self,
        options: Options,
        checkpoint: Checkpoint,
        devices: Mapping[str, Compute],
        recipes: Recipes,
        ears: Ears,
    ) -> None:
        """``devices``: by the names they are told as."""
        self._options, self._checkpoint, self._devices = options, checkpoint, devices
        self._recipes, self._ears = recipes, ears
        self._posts: list[Post] = []
        self._dealer = Dealer((), [])
        self._waiting: set[int] = set()
        self._shares: dict[int, Mapping[str, float]] = {}
        self._news: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._said: set[str] = set()
        self._over = False
        # The workers' listeners change what the run looks at; a run that gives up looks at it in a
        # signal handler, which may have interrupted it while it was looking.
        self._lock = threading.RLock()

    def __call__(self, todo: Sequence[Decision]) -> Generator[Outcome, None, None]:
        """Do every job; outcomes come in the jobs' order, but those of a lost device last.

        Closing the iterator drops what has not started and waits for what has.
        """
        self._dealer = Dealer(todo, list(self._devices))
        try:
            for setup in self._setups(len(todo)):
                self._hire(setup)
            while (outcome := self._next()) is not None:
                yield outcome
                with self._lock:
                    self._dealer.told(outcome)
        finally:
            self._over = True
            for post in self._posts:
                post.stop()
            for post in self._posts:
                post.join()

    def _setups(self, photos: int) -> Iterator[Setup]:
        sharers, options = len(self._devices), self._options
        for i, compute in enumerate(self._devices.values()):
            own = replace(
                options,
                device=str(compute.device),
                threads=max(1, (options.threads + i) // sharers),
                max_memory=options.max_memory // sharers,
            )
            yield Setup(own, self._checkpoint, sharers, -(-photos // sharers))

    def _hire(self, setup: Setup) -> None:
        worker = len(self._posts)
        post = Post(setup, partial(self._hear, worker), partial(self._gone, worker))
        self._posts.append(post)
        post.start()

    @property
    def late(self) -> list[Outcome]:
        """What has ended since the last outcome that was given, and that one, of a closed run."""
        with self._lock:
            return self._dealer.ended()

    @property
    def helpless(self) -> bool:
        """Whether photos were left because no device was."""
        return self._dealer.helpless

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
                outcome = self._dealer.first()
                if outcome is not None:
                    return outcome
                over = not self._dealer.left and self._news.empty()
            if over:
                return None
            self._news.get()()

    # In the threads of the listeners.

    def _hear(self, worker: int, message: FromWorker) -> None:
        match message:
            case Want():
                with self._lock:
                    self._answer(worker, patient=message.patient)
            case Done():
                self._done(worker, message)
            case State():
                self._news.put(partial(self._ears.state, message.text))
            case Notice():
                self._notice(message.text)
            case Refused():
                self._news.put(partial(_raise, message.error))

    def _answer(self, worker: int, *, patient: bool) -> None:
        decision = self._dealer.deal(worker)
        if decision is not None:
            self._posts[worker].tell(Take(decision, self._recipes(decision.job)))
        elif patient:
            self._waiting.add(worker)
        else:
            self._posts[worker].tell(Drain())

    def _answer_waiting(self) -> None:
        for worker in sorted(self._waiting):
            self._waiting.discard(worker)
            self._answer(worker, patient=True)

    def _done(self, worker: int, message: Done) -> None:
        with self._lock:
            self._dealer.end(worker, message.outcome)
            self._shares[worker] = message.shares
            self._answer_waiting()
        self._news.put(_nothing)

    def _notice(self, text: str) -> None:
        with self._lock:
            known = text in self._said
            self._said.add(text)
        if not known:
            self._news.put(partial(self._ears.notice, text))

    def _gone(self, worker: int, why: Lost) -> None:
        if self._over:
            return
        with self._lock:
            self._waiting.discard(worker)
            self._shares.pop(worker, None)
            held = self._dealer.lose(worker, why.reason)
            # Its half-written files are nobody's now.
            files.clear_stale({t.parent for d in held for t in d.job.targets.values() if t})
            self._answer_waiting()
            # Within the lock: a run that has ended by it ends after it was told.
            name, taken = self._dealer.names[worker], self._dealer.elsewhere(held)
            self._news.put(partial(self._ears.lost, name, why, taken))


def _nothing() -> None:
    """Wake whoever waits for news."""


def _raise(error: BirefcliError) -> None:
    raise error
