"""What the run and its workers say to each other. Plain values: they are pickled."""

from collections.abc import Mapping
from dataclasses import dataclass

from birefcli.current import Decision
from birefcli.errors import BirefcliError
from birefcli.options import Options, Product
from birefcli.report import Outcome
from birefcli.weights import Checkpoint

# From a worker.


@dataclass(frozen=True)
class Want:
    """Give me a photo. ``patient``: I hold none, and can wait for one as long as it takes."""

    patient: bool


@dataclass(frozen=True)
class Done:
    """A photo has ended. ``shares``: of my time, by stage, see :class:`birefcli.limits.Waits`."""

    outcome: Outcome
    shares: Mapping[str, float]


@dataclass(frozen=True)
class State:
    """What my photos wait for, in a few words; ``""`` for nothing."""

    text: str


@dataclass(frozen=True)
class Notice:
    """Something the user should know, in a line."""

    text: str


@dataclass(frozen=True)
class Refused:
    """I cannot start, nor could any other: the user is to mend it."""

    error: BirefcliError


@dataclass(frozen=True)
class Lost:
    """My device is of no more use to me, and I end. ``trace``: where that was seen."""

    reason: str
    trace: str


FromWorker = Want | Done | State | Notice | Refused | Lost

# To a worker.


@dataclass(frozen=True)
class Take:
    """A photo to be done. ``recipes``: by product, see :func:`birefcli.current.recipes`."""

    decision: Decision
    recipes: Mapping[Product, str]


@dataclass(frozen=True)
class Drain:
    """There is none for you now: end what you hold."""


@dataclass(frozen=True)
class Stop:
    """The run is over: what has not started is dropped."""


ToWorker = Take | Drain | Stop


@dataclass(frozen=True)
class Setup:
    """What a worker is to be."""

    options: Options
    """With its own device, and its part of threads and memory."""
    checkpoint: Checkpoint
    sharers: int
    """How many workers have the machine between them."""
    photos: int
    """How many it can expect."""
