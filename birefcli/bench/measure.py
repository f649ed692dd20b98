"""Each stage by itself, one photo after the other, and the run as ``birefcli matte`` does it."""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from birefcli.batch import stages
from birefcli.batch.freshness import Decision
from birefcli.batch.pipeline import Pipeline
from birefcli.batch.places import LocalFile, Target
from birefcli.batch.stages import StageContext
from birefcli.batch.targets import Job
from birefcli.errors import Message, PhotoError
from birefcli.images.photo import Photo, to_depth
from birefcli.matting.matte import Matte
from birefcli.options import Product

STAGES = {
    "load": ("decode", "prepare"),
    "matte": ("network", "upsample", "foreground"),
    "save": ("compose", "encode", "write"),
}
"""What is measured, under the verb that does it. Verbs overlap with each other."""
NAMES = tuple(name for names in STAGES.values() for name in names)
PIPELINE = "pipeline"
"""Name of the overlapped run among the figures."""


@dataclass(frozen=True)
class Figure:
    """Seconds a photo takes: the median of the rounds, the least and the most."""

    seconds: float
    least: float
    most: float
    cpu: float
    """CPU seconds, of all threads."""

    @classmethod
    def of(cls, rounds: "Sequence[tuple[float, float]]") -> "Figure":
        """Summarise (seconds, CPU seconds) of each round."""
        walls = [wall for wall, _ in rounds]
        cpu = statistics.median(cpu for _, cpu in rounds)
        return cls(statistics.median(walls), min(walls), max(walls), cpu)

    @property
    def rate(self) -> float:
        """Photos a second; 0 where there was nothing to do."""
        return 1 / self.seconds if self.seconds > 0 else 0.0


@dataclass
class Rounds:
    """Seconds and CPU seconds of a photo in each round that ended, by name."""

    taken: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def add(self, name: str, seconds: float, cpu: float) -> None:
        """Add one round."""
        self.taken.setdefault(name, []).append((seconds, cpu))

    def figure(self, name: str) -> Figure | None:
        """The figure of this name; None where no round of it ended."""
        return Figure.of(self.taken[name]) if self.taken.get(name) else None

    def sequential(self) -> Figure | None:
        """All stages one after the other."""
        rounds = [self.taken.get(name, []) for name in NAMES]
        if not all(rounds):
            return None
        added = [
            (sum(w for w, _ in stage), sum(c for _, c in stage))
            for stage in zip(*rounds, strict=False)
        ]
        return Figure.of(added)


class Clock:
    """Sums wall and CPU time by stage."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.taken = dict.fromkeys(NAMES, (0.0, 0.0))
        self._last: dict[str, tuple[float, float]] = {}

    @contextmanager
    def __call__(self, stage: str, but: str | None = None) -> Iterator[None]:
        """Measure what is done within; a device's queue is waited for at both ends.

        ``but``: a stage that is done again within, and took as long when it was last measured.
        """
        synchronize(self.device)
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        synchronize(self.device)
        spent = time.perf_counter() - wall, time.process_time() - cpu
        known = (0.0, 0.0) if but is None else self._last[but]
        self._last[stage] = max(0.0, spent[0] - known[0]), max(0.0, spent[1] - known[1])
        before, last = self.taken[stage], self._last[stage]
        self.taken[stage] = before[0] + last[0], before[1] + last[1]


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@dataclass
class Bench:
    """Photos in files, and everything that a run over them needs."""

    context: StageContext
    batch: int
    photos: list[Path]
    folder: Path
    """Where products are written, and replaced by those of the next round."""
    rounds: Rounds = field(default_factory=Rounds)
    soft: float = 0.0
    """Share of the photos' pixels where alpha in 8 bits is neither 0 nor 255, of the last round."""
    megapixels: float = 0.0
    """Of a photo, in the mean over the last round."""

    def warm_up(self) -> None:
        """Do one photo that does not count: caches are filled, kernels chosen, workers started."""
        self._stage_by_stage(self.photos[:1], Clock(self.context.predictor.placement.device))

    def by_stage(self, step: Callable[[], None] = lambda: None) -> None:
        """One round of each stage by itself; ``step`` is called after each batch."""
        clock = Clock(self.context.predictor.placement.device)
        soft = self.megapixels = 0.0
        for start in range(0, len(self.photos), self.batch):
            some = self.photos[start : start + self.batch]
            soft += self._stage_by_stage(some, clock)
            step()
        self.soft = soft / len(self.photos)
        for name, (wall, cpu) in clock.taken.items():
            self.rounds.add(name, wall / len(self.photos), cpu / len(self.photos))

    def overlapped(self, step: Callable[[], None] = lambda: None) -> None:
        """One round of the real run, its stages overlapped; ``step`` is called after each photo.

        Raises PhotoError for a photo that fails.
        """
        pipeline = Pipeline(self.context, self.batch)
        wall, cpu = time.perf_counter(), time.process_time()
        for outcome in pipeline([self._decision(photo) for photo in self.photos]):
            if outcome.error is not None:
                raise PhotoError(Message(f"{outcome.input}: ", outcome.error))
            step()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        self.rounds.add(PIPELINE, wall / len(self.photos), cpu / len(self.photos))

    def _decision(self, photo: Path) -> Decision:
        rendering = self.context.options.rendering
        number = self.photos.index(photo)
        targets: dict[Product, Target] = {
            kind: LocalFile(self.folder / f"{number}-{kind.value}{rendering.format.suffix}")
            for kind in rendering.products
        }
        job = Job(LocalFile(photo), targets, Path(photo.name))
        return Decision(job, fingerprints=dict.fromkeys(targets, ""))

    def _stage_by_stage(self, paths: list[Path], clock: Clock) -> float:
        """All stages of a batch; returns the sum of its photos' shares of soft alpha."""
        decisions = [self._decision(path) for path in paths]
        loaded = []
        for decision in decisions:
            with clock("decode"):
                loaded.append(self._read(decision.job))
        with clock("prepare"):
            inputs = [self.context.predictor.prepare(photo) for photo, _ in loaded]
        with clock("network"):
            alphas = self.context.predictor.alphas(inputs)
        soft = 0.0
        for decision, (photo, state), alpha in zip(decisions, loaded, alphas, strict=True):
            with torch.inference_mode():
                matte = self._matte(decision.job, photo, alpha, clock)
            self.megapixels += matte.alpha.size / 1e6 / len(self.photos)
            shown = to_depth(matte.alpha, 8)
            soft += float(((shown > 0) & (shown < 255)).mean())
            self._save(decision, photo, matte, state, clock)
        return soft

    def _read(self, job: Job) -> tuple[Photo, tuple[int, int]]:
        try:
            data, state = stages.read_source(job, self.context.options.max_pixels)
            return stages.decode(self.context, data), state
        except PhotoError as error:
            raise PhotoError(Message(f"{job.label}: ", error.message)) from error
        except OSError as error:
            raise PhotoError(f"{job.label}: {error.strerror or error}") from error

    def _matte(self, job: Job, photo: Photo, alpha: Tensor, clock: Clock) -> Matte:
        with clock("upsample"):
            matte = self.context.predictor.matte(photo, alpha, None)
        wanted = stages.wanted_foreground(job.targets, self.context.options.rendering)
        if wanted is None or not wanted.refine:
            return matte
        # What colour takes is what the whole takes longer with it, however both are done inside.
        with clock("foreground", but="upsample"):
            return stages.matte_async(self.context, job, photo, alpha)()

    def _save(
        self,
        decision: Decision,
        photo: Photo,
        matte: Matte,
        state: tuple[int, int],
        clock: Clock,
    ) -> None:
        job = decision.job
        for kind in job.targets:
            with clock("compose"):
                pixels = stages.compose(self.context, kind, photo, matte, job.relative)
            with clock("encode"):
                stamp = stages.make_stamp(self.context, decision, kind, state)
                several = len(job.targets) > 1
                file = stages.encode(self.context, pixels, photo, stamp, one_of_several=several)
            with clock("write"):
                stages.write(job, kind, file.data)


def peak_memory() -> int | None:
    """Most memory this process held until now, in bytes; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def peak_device_memory(device: torch.device) -> int | None:
    """Most memory torch held on a CUDA device, in bytes; None for other devices."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def bottleneck(rounds: Rounds, threads: int, cores: int) -> str:
    """What sets the pace, in words."""
    figures = {name: rounds.figure(name) for name in NAMES}
    whole = rounds.sequential()
    if whole is None:
        return "unknown: no round was finished"
    seconds = {name: figure.seconds for name, figure in figures.items() if figure is not None}
    top = max(seconds, key=lambda name: seconds[name])
    text = f"{top}, {seconds[top] / whole.seconds:.0%} of a photo's time stage by stage"
    # Loading and saving each have so many threads; what mattes is one.
    workers = min(threads, cores)
    pace = {
        verb: sum(seconds[name] for name in names) / (1 if verb == "matte" else workers)
        for verb, names in STAGES.items()
    }
    slow = max(pace, key=lambda verb: pace[verb])
    if slow == "matte" and top in STAGES["matte"]:
        return f"{text}; loading and saving overlap with it"
    if slow == "matte":
        return f"{text}; spread over {threads} threads it keeps up with {_listed(slow)}"
    return f"{text}; {_listed(slow)} keep the network waiting even on {threads} threads"


def _listed(verb: str) -> str:
    return ", ".join(STAGES[verb][:-1]) + " and " + STAGES[verb][-1]
