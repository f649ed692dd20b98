"""What became of each photo, and of all of them."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from birefcli.batch.places import Target
from birefcli.batch.targets import Job
from birefcli.errors import ExitCode, Message, Spell
from birefcli.images.findings import LOWERED, Findings
from birefcli.options import Product, Shard
from birefcli.system.text import json_line


class Status(StrEnum):
    """How a photo ended."""

    WRITTEN = "written"
    CURRENT = "current"
    SKIPPED = "skipped"
    FAILED = "failed"
    PENDING = "pending"

    @property
    def words(self) -> str:
        """As a person says it."""
        return "up to date" if self is Status.CURRENT else self.value


@dataclass
class Seconds:
    """Time spent on one photo, per stage."""

    load: float = 0.0
    matte: float = 0.0
    save: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """One photo's end. ``coverage``: share of the photo its subject covers, 0..1."""

    input: str
    status: Status
    outputs: dict[Product, Target] = field(default_factory=dict)
    seconds: Seconds = field(default_factory=Seconds)
    coverage: float | None = None
    flags: tuple[str, ...] = ()
    """Why its matte asks for a look."""
    doubt: float | None = None
    """Mean absolute error of alpha that mattes with such signs have, 0..1."""
    error: Message | None = None
    reason: Message | None = None
    """Why it was done, or not."""
    notes: tuple[str, ...] = ()
    """What was found on the way that its owner may want to know."""
    is_new: bool = False
    """Whether there was none of its products before."""
    notable: bool = False
    """Whether its owner should hear of it, though it did not fail."""
    fatal: bool = False
    """Whether the failure would meet every other photo too: the disk is full."""
    bug: Exception | None = None
    """What failed where nothing should."""
    out_of_memory: bool = False
    """Whether the device had too little memory for it; another may have more."""
    unread: bool = False
    """Whether the photo itself could not be read: somebody may be writing it still."""

    def found_by(self, earlier: Findings) -> "Outcome":
        """The same with what an earlier run found out about the photo."""
        return replace(
            self,
            coverage=earlier.coverage,
            flags=earlier.flags,
            doubt=earlier.doubt,
            notes=earlier.notes,
        )

    @property
    def notes_on_quality(self) -> tuple[str, ...]:
        """Those notes that say how far a file's quality was lowered, as was asked for."""
        return tuple(note for note in self.notes if LOWERED in note)

    @classmethod
    def failed(cls, job: Job, error: str | Message, seconds: Seconds | None = None) -> "Outcome":
        """Build the outcome of a photo that could not be done."""
        return cls(job.label, Status.FAILED, seconds=seconds or Seconds(), error=Message(error))

    def as_json(self, spell: Spell = str) -> str:
        """One line of JSON, ASCII, whatever the file names hold; ``spell`` writes options."""
        return json_line(
            {
                "input": self.input,
                "status": self.status.value,
                "outputs": {kind.value: str(target) for kind, target in self.outputs.items()},
                "seconds": {k: round(v, 4) for k, v in vars(self.seconds).items()},
                "coverage": None if self.coverage is None else round(self.coverage, 5),
                "flags": list(self.flags),
                "doubt": None if self.doubt is None else round(self.doubt, 5),
                "error": None if self.error is None else self.error.spelled(spell),
                "reason": None if self.reason is None else self.reason.spelled(spell),
                "notes": list(self.notes),
            }
        )


@dataclass
class Summary:
    """Counts of a run."""

    counts: dict[Status, int] = field(default_factory=lambda: dict.fromkeys(Status, 0))
    seconds: float = 0.0
    """All that the run took."""
    loading: float = 0.0
    """Seconds of them before the first photo could be done: libraries and the model are loaded."""
    working: float = 0.0
    """Seconds of them from then on until the last photo ended."""
    device: str | None = None
    precision: str | None = None
    model: str | None = None
    stopped: ExitCode | None = None
    """Why the run ended before its end, if it did."""
    nothing_found: Message | None = None
    """Why there was no photo, if there was none."""
    bugs: int = 0
    """Photos that failed because of a bug."""
    lost: list[str] = field(default_factory=list)
    """Devices that the run had to go on without, and why."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Pictures of kinds that no search tries: how many, by suffix."""
    shard: Shard | None = None
    """The part of a batch that the run did."""
    flagged: int = 0
    """Photos written, or up to date, whose matte asks for a look."""
    noted: int = 0
    """Those of which there is something to know, other than of their files' quality."""
    lowered: int = 0
    """Those with a file whose quality was lowered: :attr:`Outcome.notes_on_quality`."""
    edited: int = 0
    """Products that somebody edited, or may have, which were replaced; in a dry run, would be."""
    foreign: int = 0
    """Files that birefcli did not make, and that were replaced, or would be."""

    def add(self, outcome: Outcome) -> None:
        """Count one photo."""
        self.counts[outcome.status] += 1
        self.bugs += outcome.bug is not None
        if outcome.status is not Status.FAILED:
            self.flagged += bool(outcome.flags)
            self.noted += len(outcome.notes) > len(outcome.notes_on_quality)
            self.lowered += bool(outcome.notes_on_quality)

    def leave(self, photos: int) -> None:
        """Count the photos of a run that stopped and that nobody has tried."""
        self.counts[Status.PENDING] += photos

    @property
    def rate(self) -> float:
        """Photos written a second of work: the last that :class:`.Pace` had."""
        return self.counts[Status.WRITTEN] / self.working if self.working > 0 else 0.0

    @property
    def exit_code(self) -> ExitCode:
        """The one place where the exit code of a run that started is decided."""
        if self.nothing_found is not None:
            return ExitCode.NO_INPUT
        if self.stopped is not None:
            return self.stopped
        if self.bugs:
            return ExitCode.BUG
        return ExitCode.SOME_FAILED if self.counts[Status.FAILED] else ExitCode.OK

    def line(self) -> str:
        """One line for a person."""
        counted = ", ".join(f"{n} {s.words}" for s, n in self.counts.items() if n) or "nothing done"
        if self.stopped in (ExitCode.INTERRUPTED, ExitCode.TERMINATED):
            counted = f"{self.stopped.name.lower()}: {counted}"
        if self.shard is not None:
            counted = f"shard {self.shard}: {counted}"
        looks = {
            "flagged": self.flagged,
            "with notes": self.noted,
            "quality lowered": self.lowered,
        }
        look = ", ".join(f"{word}: {count}" for word, count in looks.items() if count)
        look = f"{'; ' * bool(look)}{look}"
        if not self.counts[Status.WRITTEN]:
            return f"{counted}{look}{self._replaced('to replace')}"
        where = f", {self.model} on {self.device} in {self.precision}" if self.device else ""
        look += self._replaced("replaced")
        loading = f", {self.loading:.1f} s of it loading" if self.loading >= 0.05 else ""
        return f"{counted} in {self.seconds:.1f} s{loading} ({self.rate:.2f} photos/s{where}){look}"

    def _replaced(self, verb: str) -> str:
        """How much of somebody's work is replaced; nothing where none is."""
        counts = {"edited": self.edited, "not made by birefcli": self.foreign}
        told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
        return f"; {verb}: {told}" if told else ""

    def as_json(self) -> str:
        """One line of JSON."""
        summary: dict[str, Any] = {status.value: n for status, n in self.counts.items()}
        summary |= {
            "seconds": round(self.seconds, 3),
            "loading_seconds": round(self.loading, 3),
            "images_per_second": round(self.rate, 4),
            "device": self.device,
            "precision": self.precision,
            "model": self.model,
            "lost": self.lost,
            "left_out": self.left_out,
            "flagged": self.flagged,
            "noted": self.noted,
            "lowered": self.lowered,
            "replaced": {"edited": self.edited, "foreign": self.foreign},
            "shard": None if self.shard is None else str(self.shard),
            "interrupted": self.stopped in (ExitCode.INTERRUPTED, ExitCode.TERMINATED),
            "exit_code": int(self.exit_code),
        }
        return json_line({"summary": summary})
