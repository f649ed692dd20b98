"""What the run and its workers say to each other. Plain values: they are pickled."""

from collections.abc import Mapping
from dataclasses import dataclass

from birefcli.batch.freshness import Decision
from birefcli.batch.outcome import Outcome
from birefcli.errors import BirefcliError
from birefcli.matting.device import Placement
from birefcli.models.weights import Checkpoint
from birefcli.options import BatchOptions

# From a worker.


@dataclass(frozen=True)
class Request:
    """Give me a photo. ``patient``: I hold none, and can wait for one as long as it takes."""

    patient: bool


@dataclass(frozen=True)
class Result:
    """A photo has ended. ``shares``: of my time, by stage, see :class:`.bottleneck.StageTimer`."""

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
class Beat:
    """Something moved: a stage began or ended, or a layer of the network."""


@dataclass(frozen=True)
class Refused:
    """I cannot start, nor could any other: the user is to mend it."""

    error: BirefcliError


@dataclass(frozen=True)
class WorkerLost:
    """My device is of no more use to me, and I end. ``trace``: where that was seen."""

    reason: str
    trace: str


FromWorker = Request | Result | State | Notice | Beat | Refused | WorkerLost

# To a worker.


@dataclass(frozen=True)
class Assign:
    """A photo to be done."""

    decision: Decision


@dataclass(frozen=True)
class NoWork:
    """There is none for you now: end what you hold."""


@dataclass(frozen=True)
class Shutdown:
    """The run is over: what has not started is dropped."""


ToWorker = Assign | NoWork | Shutdown


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker is to be."""

    options: BatchOptions
    """With its part of threads and memory."""
    checkpoint: Checkpoint
    placement: Placement
    sharers: int
    """How many workers have the machine between them."""
    photos: int
    """How many it can expect."""
    cores: int | None = None
    """Of the machine that those workers have between them; None: all."""
    folder: str | None = None
    """Where relative paths begin; None: where the worker is started."""
