"""A batch in this process: load, matte and save, overlapped. A failed photo is a value."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor

from birefcli.batch import stages
from birefcli.batch.bottleneck import StageTimer
from birefcli.batch.failure import failure, read_failure, write_failure
from birefcli.batch.fetching import Fetched, Fetcher
from birefcli.batch.freshness import Decision
from birefcli.batch.memory import MemoryBudget, RunClosedError, Ticket, bytes_in_flight
from birefcli.batch.outcome import Outcome, Seconds, Status
from birefcli.batch.places import Admit, LeftAloneError, State
from birefcli.batch.sending import TwoStages
from birefcli.batch.stages import StageContext
from birefcli.batch.targets import Job
from birefcli.errors import DeviceMemoryError, Message, Option, PhotoError
from birefcli.images.findings import Findings
from birefcli.images.photo import Photo
from birefcli.matting.matte import Matte
from birefcli.matting.predictor import Prepared
from birefcli.options import Product
from birefcli.products.photo_notes import NO_SUBJECT, notes_of_photo
from birefcli.products.quality.check import Quality, check
from birefcli.products.quality.defects import Defect
from birefcli.products.render import lowered
from birefcli.system.prefetch import prefetch, prefetch_by
from birefcli.system.watchdog import Activity

Out = TypeVar("Out")

GATHER = 0.02  # seconds between looks at whether a batch must go without its next photo


@dataclass(frozen=True)
class Loaded:
    """A photo that waits for the network."""

    decision: Decision
    photo: Photo
    state: State
    """Of what was read."""
    input: Prepared
    seconds: Seconds
    reserved: int
    """Bytes of the memory budget."""

    @property
    def job(self) -> Job:
        """The photo's file and its targets."""
        return self.decision.job


@dataclass(frozen=True)
class Encoded:
    """A photo's products, which wait to be written; its pixels are no longer needed."""

    decision: Decision
    files: Mapping[Product, bytes]
    outcome: Outcome
    """Once they are written."""
    reserved: int
    """Bytes of the memory budget."""

    @property
    def job(self) -> Job:
        """The photo's file and its targets."""
        return self.decision.job


@dataclass(frozen=True)
class Matted:
    """A photo that waits for its products to be written."""

    loaded: Loaded
    pending: Callable[[], Matte]
    """Ends the photo's matte."""


class Pipeline:
    """Runs the stages of photo after photo beside each other, one run after the other."""

    def __init__(self, context: StageContext, batch: int, activity: Activity | None = None) -> None:
        """``batch``: photos that the network sees at once; ``activity`` hears what is at work."""
        self.context, self.batch = context, batch
        self._activity = activity or Activity()
        self._budget = MemoryBudget(context.options.max_memory)
        self._ended: dict[str, Outcome] = {}
        """By label; a photo is entered by the thread that ends it."""
        self.timer = StageTimer()

    def __call__(
        self, todo: Iterable[Decision], on_ready: Callable[[], object] = lambda: None
    ) -> Generator[Outcome, None, None]:
        """The loop over photos: do every job; outcomes come in the jobs' order.

        ``on_ready`` is called at once: the model is loaded. Closing the iterator drops what has not
        started and waits for what has.
        """
        options = self.context.options
        first, todo = _peek(todo)
        sends = first is not None and any(t.is_remote for t in first.job.targets.values())
        # Pools of their own: photos that wait for memory must not keep others from being written,
        # nor those that wait for a store the cores from work.
        loaders = ThreadPoolExecutor(options.threads, "load")
        savers = ThreadPoolExecutor(options.threads, "save")
        senders = ThreadPoolExecutor(options.connections, "send")
        self._budget = MemoryBudget(options.max_memory)
        fetcher = Fetcher(options, self._budget)
        self._ended.clear()
        on_ready()
        self.timer.start()
        try:
            load = partial(self._load, fetcher)
            photos = prefetch(loaders, load, fetcher(todo), self._ahead)
            with self.context.predictor.heard_by(self._activity.beat):
                for future in self._saved(savers, senders if sends else None, self._matte(photos)):
                    with self.timer.waiting("save"):
                        outcome = future.result()
                    yield outcome
                    self._ended.pop(outcome.input, None)
        finally:
            self._budget.close()
            fetcher.close()
            for pool in (loaders, savers):
                pool.shutdown(wait=True, cancel_futures=True)
            senders.shutdown(wait=True)  # what is encoded is written

    @property
    def _ahead(self) -> int:
        """Photos in full size: enough to keep the network fed, and no more."""
        return self.context.options.threads + self.batch

    def _saved(
        self,
        savers: ThreadPoolExecutor,
        senders: ThreadPoolExecutor | None,
        matted: Iterator[Matted | Outcome],
    ) -> Iterator[Future[Outcome]]:
        if senders is None:
            return prefetch(savers, self._save, matted, self._ahead)
        pools = TwoStages(savers, senders, self._encode_alone, self._send, self._ahead)
        ahead = self._ahead + self.context.options.connections
        return prefetch_by(pools.submit, matted, ahead)

    def bottleneck(self) -> tuple[str, float] | None:
        """The stage that took most of the time, and its share of it, 0..1."""
        return self.timer.bottleneck()

    @property
    def finished_unreported(self) -> list[Outcome]:
        """What has ended since the last outcome that was given, and that one, of a closed run."""
        # Not by the futures: a signal may come when one has begun, and before anybody has it.
        return list(self._ended.values())

    @property
    def no_device_left(self) -> bool:
        """Whether photos were left for lack of a device: a process that loses its own ends."""
        return False

    def give_up(self) -> None:
        """Nothing is held outside this process."""

    def _load(self, fetcher: Fetcher, future: Future[Fetched]) -> Loaded | Outcome:
        """Decode a photo that is fetched or about to be, or is read here; make the input of it."""
        fetched = future.result()
        number, decision = fetched.number, fetched.decision
        if not decision.job.source.is_remote:
            return self._decoded(number, decision, self._read)
        try:
            return self._decoded(number, decision, lambda *_: fetched.take())
        finally:
            fetcher.release(fetched)

    def _decoded(
        self,
        number: int,
        decision: Decision,
        read: Callable[[Job, Admit], tuple[bytes, State]],
    ) -> Loaded | Outcome:
        options = self.context.options
        started = time.perf_counter()
        try:
            with self._budget.ticket(number) as ticket, self._activity.on([decision.job.label]):

                def admit(pixels: int, length: int, ticket: Ticket = ticket) -> None:
                    if not ticket.taken:  # a large file takes its memory before it is read
                        size = bytes_in_flight(options.rendering, pixels) + length
                        with self._activity.waiting(decision.job.label):
                            ticket.take(size)

                data, state = read(decision.job, admit)
                photo = stages.decode(self.context, data, lambda pixels: admit(pixels, len(data)))
                prepared = self.context.predictor.upload(photo)
        except RunClosedError:
            raise
        except LeftAloneError as left:
            return _left(decision.job.label, left)
        except Exception as error:
            seconds = Seconds(load=time.perf_counter() - started)
            return read_failure(decision.job, error, seconds)
        seconds = Seconds(load=time.perf_counter() - started)
        return Loaded(decision, photo, state, prepared, seconds, ticket.taken)

    def _read(self, job: Job, admit: Admit) -> tuple[bytes, State]:
        # Whoever writes to a pipe may take as long as it likes.
        piped = self._activity.waiting(job.label) if job.source.comes_by_pipe else nullcontext()
        with piped:
            options = self.context.options
            return stages.read_source(job, options.max_pixels, admit, options.photo_timeout)

    def _matte(
        self, photos: Iterator[Future[Loaded | Outcome]]
    ) -> Generator[Matted | Outcome, None, None]:
        """Run the network on batches of photos, and begin to find their subject's colour."""
        for group in batches(photos, self.batch, lambda: self._budget.exhausted, self._wait):
            started = time.perf_counter()
            loaded = [item for item in group if isinstance(item, Loaded)]
            found: Sequence[Tensor | PhotoError] | None = ()
            try:
                if loaded:
                    with self._activity.on(item.job.label for item in loaded):
                        found = list(self.context.predictor.alphas([i.input for i in loaded]))
            except torch.OutOfMemoryError:
                found = None  # tried again outside: the traceback keeps features in memory
            if found is None:
                found = [self._alone(i) for i in loaded] if len(loaded) > 1 else [_no_memory()]
            alphas = iter(found)
            shared = (time.perf_counter() - started) / max(1, len(loaded))
            for item in group:
                yield (
                    item if isinstance(item, Outcome) else self._finish(item, next(alphas), shared)
                )

    def _wait(self, future: Future[Loaded | Outcome], timeout: float | None) -> None:
        # A photo that has no room in memory waits for those before it to be saved.
        with self.timer.waiting("save" if self._budget.exhausted else "load"):
            wait([future], timeout=timeout)

    def _alone(self, item: Loaded) -> Tensor | PhotoError:
        """Alpha of one photo of a batch that did not fit the device: another one may have."""
        try:
            with self._activity.on([item.job.label]):
                return self.context.predictor.alphas([item.input])[0]
        except torch.OutOfMemoryError:
            return _no_memory()

    def _finish(self, item: Loaded, alpha: Tensor | PhotoError, shared: float) -> Matted | Outcome:
        started = time.perf_counter()
        try:
            if isinstance(alpha, PhotoError):
                raise alpha  # noqa: TRY301 - reported like every other failure
            with self._activity.on([item.job.label]):
                pending = stages.matte_async(self.context, item.job, item.photo, alpha)
        except Exception as error:
            self._budget.release(item.reserved)
            return failure(item.job, error, item.seconds)
        finally:
            item.seconds.matte = shared + time.perf_counter() - started
        return Matted(item, pending)

    def _save(self, item: Matted | Outcome) -> Outcome:
        """Write a photo's products: all of them are encoded before the first is written."""
        if isinstance(item, Outcome):
            return self._end(item)
        with self._activity.on([item.loaded.job.label]):
            encoded = self._encode(item)
            return self._end(encoded if isinstance(encoded, Outcome) else self._write(encoded))

    def _encode_alone(self, item: Matted | Outcome) -> Encoded | Outcome:
        """Encode a photo's products, which are sent by others: the rest of its memory is free."""
        if isinstance(item, Outcome):
            return item
        with self._activity.on([item.loaded.job.label]):
            encoded = self._encode(item)
        if isinstance(encoded, Outcome):
            return encoded
        kept = min(encoded.reserved, sum(map(len, encoded.files.values())))
        self._budget.release(encoded.reserved - kept)
        return replace(encoded, reserved=kept)

    def _send(self, encoded: Encoded | Outcome) -> Outcome:
        """Write a photo's products to a store."""
        return self._end(encoded if isinstance(encoded, Outcome) else self._write(encoded))

    def _end(self, outcome: Outcome) -> Outcome:
        self._ended[outcome.input] = outcome
        return outcome

    def _encode(self, item: Matted) -> Encoded | Outcome:
        loaded, job = item.loaded, item.loaded.job
        coverage = None
        started, before = time.perf_counter(), loaded.seconds.matte
        try:
            matte = self._end_matte(item)
            quality = check(matte.alpha, loaded.photo.pixels)
            coverage, empty = quality.coverage, Defect.EMPTY in quality.flags
            if self.context.options.fail_if_empty and empty:
                raise PhotoError(NO_SUBJECT)  # noqa: TRY301 - reported like every other failure
            found = self._found(loaded.photo, matte, quality)
            made = stages.encode_all(
                self.context, loaded.decision, loaded.photo, matte, loaded.state, found
            )
        except Exception as error:
            self._budget.release(loaded.reserved)
            return write_failure(job, error, loaded.seconds, coverage)
        finally:
            matting = loaded.seconds.matte - before
            loaded.seconds.save = time.perf_counter() - started - matting
        written = Outcome(
            job.label,
            Status.WRITTEN,
            dict(job.targets),
            loaded.seconds,
            reason=loaded.decision.reason,
            is_new=loaded.decision.is_new,
            notable=empty or loaded.photo.notable,
        )
        every = replace(found, lowered=lowered(made)).after(loaded.decision.found)
        written = written.found_by(every, of_several=loaded.decision.of_several)
        files = {kind: file.data for kind, file in made.items()}
        return Encoded(loaded.decision, files, written, loaded.reserved)

    def _found(self, photo: Photo, matte: Matte, quality: Quality) -> Findings:
        """What there is to tell before any product is encoded. Raises PhotoError."""
        rendering = self.context.options.rendering
        notes = notes_of_photo(photo, matte.alpha, quality, rendering)
        flags = tuple(flag.value for flag in quality.flags)
        return Findings(quality.coverage, flags, quality.doubt, notes)

    def _write(self, item: Encoded) -> Outcome:
        job, seconds = item.job, item.outcome.seconds
        started = time.perf_counter()
        try:
            left = {kind: why for kind in item.files if (why := self._write_one(item, kind))}
        except Exception as error:
            return write_failure(job, error, seconds, item.outcome.coverage)
        finally:
            self._budget.release(item.reserved)
            seconds.save += time.perf_counter() - started
        theirs = {kind: why for kind, why in left.items() if why.notable}
        by_us = item.decision.retried and not theirs  # by a worker that could not tell any more
        if len(left) == len(item.files) and not by_us:
            first = next(iter((theirs or left).values()))
            return replace(_left(job.label, first), outputs=dict(job.targets))
        notes = [f"{job.targets[kind]}: {why}" for kind, why in theirs.items()]
        notable = item.outcome.notable or bool(theirs)
        return replace(item.outcome, notes=(*item.outcome.notes, *notes), notable=notable)

    def _write_one(self, item: Encoded, kind: Product) -> LeftAloneError | None:
        """Write a product; why it is left alone, if it is."""
        # Whoever reads from a pipe may take as long as it likes.
        piped = item.job.targets[kind].waits
        try:
            with self._activity.waiting(item.job.label) if piped else nullcontext():
                stages.write(item.job, kind, item.files[kind])
        except LeftAloneError as left:
            return left
        return None

    def _end_matte(self, item: Matted) -> Matte:
        """Alpha and colour; on a CPU they are found here, beside the network's next photos."""
        started = time.perf_counter()
        try:
            return item.pending()
        finally:
            item.loaded.seconds.matte += time.perf_counter() - started


def batches(
    photos: Iterator[Future[Out]],
    size: int,
    hurry: Callable[[], bool],
    pause: Callable[[Future[Out], float | None], object] = lambda f, t: wait([f], timeout=t),
) -> Iterator[list[Out]]:
    """Gather photos in order, ``size`` at a time.

    A batch goes with fewer where ``hurry`` says that its next photo waits for those before it to
    be written, and where photos end. ``pause`` waits for a photo, at most so many seconds.
    """
    group: list[Out] = []
    for future in photos:
        while not future.done():
            if group and hurry():
                yield group
                group = []
            pause(future, GATHER if group else None)
        group.append(future.result())
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _no_memory() -> DeviceMemoryError:
    smaller, other = Option("size"), Option("device")
    return DeviceMemoryError(
        Message("out of memory on the device; use a smaller ", smaller, " or another ", other)
    )


def _left(label: str, why: LeftAloneError) -> Outcome:
    return Outcome(label, Status.SKIPPED, reason=why.reason, notable=why.notable)


def _peek(todo: Iterable[Decision]) -> tuple[Decision | None, Iterable[Decision]]:
    """The first photo, by which it is seen where all come from, and all of them."""
    photos = iter(todo)
    first = next(photos, None)
    return first, photos if first is None else chain((first,), photos)
