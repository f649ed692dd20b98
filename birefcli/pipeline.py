"""One run: load, matte and save, overlapped. A failed photo is a value that passes through."""

import errno
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from birefcli import compose, images
from birefcli.budget import Budget
from birefcli.compose import Background, Matte
from birefcli.current import Decision, record_of
from birefcli.encode import Notes, encode
from birefcli.errors import PhotoError
from birefcli.files import Job, write_atomically
from birefcli.images import Photo
from birefcli.matting import Colour, Matter
from birefcli.options import Format, Options, Product
from birefcli.report import Outcome, Seconds, Status

In = TypeVar("In")
Out = TypeVar("Out")

EMPTY = 0.0005  # a matte that covers less of the photo than this shows no subject
# What would meet every photo after this one as well.
DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
GATHER = 0.02  # seconds between looks at whether a batch must go without its next photo


@dataclass(frozen=True)
class Loaded:
    """A photo that waits for the network."""

    job: Job
    reason: str
    photo: Photo
    state: tuple[int, int] | None
    """Size and time of the file that was read, see :func:`birefcli.current.source_state`."""
    input: NDArray[np.uint8]
    seconds: Seconds
    taken: int
    """Bytes of the budget."""


@dataclass(frozen=True)
class Matted:
    """A photo that waits for its products to be written."""

    loaded: Loaded
    matte: Matte


Recipes = Callable[[Job], Mapping[Product, str]]


@dataclass(frozen=True)
class Run:
    """What the stages of a run share."""

    options: Options
    matter: Matter
    batch: int
    background: Background
    recipes: Recipes
    budget: Budget

    def __call__(self, todo: Iterable[Decision]) -> Generator[Outcome, None, None]:
        """Do every job; outcomes come in the jobs' order.

        Closing the iterator drops what has not started and waits for what has.
        """
        # Two pools: photos that wait for memory must not keep others from being written.
        threads = self.options.threads
        loaders = ThreadPoolExecutor(threads, "load")
        savers = ThreadPoolExecutor(threads, "save")
        # Enough to keep the network fed, and no more: each photo is held in full size.
        ahead = threads + self.batch
        try:
            photos = ahead_of(loaders, self._load, enumerate(todo), ahead)
            for future in ahead_of(savers, self._save, self._matte(photos), ahead):
                yield future.result()
        finally:
            self.budget.close()
            for pool in (loaders, savers):
                pool.shutdown(wait=True, cancel_futures=True)

    def _load(self, numbered: tuple[int, Decision]) -> Loaded | Outcome:
        """Read and decode a photo, and make the network's input of it."""
        number, decision = numbered
        started = time.perf_counter()
        try:
            with self.budget.turn(number) as turn:
                data, state = _read(decision.job)
                photo = images.read(data, self.options.max_pixels, turn.take)
                prepared = self.matter.prepare(photo)
        except (PhotoError, OSError, MemoryError) as error:
            seconds = Seconds(load=time.perf_counter() - started)
            return Outcome.failed(decision.job, told(error), seconds)
        seconds = Seconds(load=time.perf_counter() - started)
        return Loaded(decision.job, decision.reason, photo, state, prepared, seconds, turn.taken)

    def _matte(
        self, photos: Iterator[Future[Loaded | Outcome]]
    ) -> Generator[Matted | Outcome, None, None]:
        """Run the network on batches of photos, and find their subject's colour."""
        for group in batches(photos, self.batch, lambda: self.budget.exhausted):
            started = time.perf_counter()
            loaded = [item for item in group if isinstance(item, Loaded)]
            alphas = iter(self._alphas(loaded))
            shared = (time.perf_counter() - started) / max(1, len(loaded))
            for item in group:
                yield (
                    item if isinstance(item, Outcome) else self._finish(item, next(alphas), shared)
                )

    def _alphas(self, loaded: list[Loaded]) -> list[Tensor | PhotoError]:
        if not loaded:
            return []
        try:
            return list(self.matter.alphas([item.input for item in loaded]))
        except torch.OutOfMemoryError:
            pass
        if len(loaded) == 1:
            text = "out of memory on the device; use a smaller --size or another --device"
            return [PhotoError(text)]
        return [alpha for item in loaded for alpha in self._alphas([item])]

    def _finish(self, item: Loaded, alpha: Tensor | PhotoError, shared: float) -> Matted | Outcome:
        started = time.perf_counter()
        try:
            if isinstance(alpha, PhotoError):
                raise alpha
            matte = self.matter.matte(item.photo, alpha, self._colour(item.job))
        except (PhotoError, MemoryError, torch.OutOfMemoryError) as error:
            self.budget.release(item.taken)
            return Outcome.failed(item.job, told(error), item.seconds)
        finally:
            item.seconds.matte = shared + time.perf_counter() - started
        return Matted(item, matte)

    def _colour(self, job: Job) -> Colour | None:
        """How much colour estimation the products need; None where none shows any colour."""
        if not any(kind.has_colour for kind in job.targets):
            return None
        return Colour(self.options.rendering.refine, everywhere=Product.FOREGROUND in job.targets)

    def _save(self, item: Matted | Outcome) -> Outcome:
        """Write a photo's products: all of them are encoded before the first is written."""
        if isinstance(item, Outcome):
            return item
        loaded, coverage = item.loaded, item.matte.coverage
        started = time.perf_counter()
        try:
            if self.options.fail_if_empty and coverage < EMPTY:
                raise PhotoError(NO_SUBJECT)  # noqa: TRY301 - told like every other failure
            encoded = {kind: self._render(kind, item) for kind in loaded.job.targets}
            for kind, data in encoded.items():
                _write(loaded.job, kind, data)
        except (PhotoError, OSError, MemoryError) as error:
            fatal = isinstance(error, OSError) and error.errno in DISK_TROUBLE
            return Outcome.failed(loaded.job, told(error), loaded.seconds, fatal=fatal)
        finally:
            self.budget.release(loaded.taken)
            loaded.seconds.save = time.perf_counter() - started
        return Outcome(
            loaded.job.label,
            Status.WRITTEN,
            dict(loaded.job.targets),
            loaded.seconds,
            coverage,
            reason=loaded.reason,
            notes=((NO_SUBJECT,) if coverage < EMPTY else ()) + loaded.photo.notes,
        )

    def _render(self, kind: Product, item: Matted) -> bytes:
        photo, job, rendering = item.loaded.photo, item.loaded.job, self.options.rendering
        bits = 8 if rendering.format is Format.JPG else rendering.bits
        pixels = compose.product(kind, photo, item.matte, bits, self.background, job.relative)
        if rendering.crop:
            pixels = pixels[compose.crop_box(item.matte.alpha, rendering.margin)]
        made = record_of(item.loaded.state, self.recipes(job)[kind])
        notes = Notes(
            icc=photo.icc,
            dpi=photo.dpi,
            exif=images.without_place(photo.exif) if rendering.strip else photo.exif,
            record=None if made is None else made.text(),
        )
        return encode(
            np.ascontiguousarray(pixels), rendering.format, rendering.compress, notes=notes
        )


NO_SUBJECT = "no subject found (empty matte)"


def ahead_of(
    pool: ThreadPoolExecutor, call: Callable[[In], Out], items: Iterable[In], ahead: int
) -> Generator[Future[Out], None, None]:
    """Call on a pool, results in order, with at most ``ahead`` calls in flight."""
    running: deque[Future[Out]] = deque()
    for item in items:
        running.append(pool.submit(call, item))
        if len(running) >= ahead:
            yield running.popleft()
    yield from running


def batches(
    photos: Iterator[Future[Out]], size: int, hurry: Callable[[], bool]
) -> Iterator[list[Out]]:
    """Gather photos in order, ``size`` at a time.

    A batch goes with fewer where ``hurry`` says that its next photo waits for those before it to
    be written, and where photos end.
    """
    group: list[Out] = []
    for future in photos:
        while not future.done():
            if group and hurry():
                yield group
                group = []
            wait([future], timeout=GATHER if group else None)
        group.append(future.result())
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _read(job: Job) -> tuple[bytes, tuple[int, int] | None]:
    """Bytes of a photo, and the state its file was in. Raises PhotoError, OSError."""
    if job.source is None:
        return sys.stdin.buffer.read(), None
    with job.source.open("rb") as file:
        before = os.fstat(file.fileno())
        data = file.read()
        after = os.fstat(file.fileno())
    state = (before.st_size, before.st_mtime_ns)
    if state != (after.st_size, after.st_mtime_ns):
        raise PhotoError("changed while it was read; run again when it is complete")
    return data, state


def _write(job: Job, kind: Product, data: bytes) -> None:
    target = job.targets[kind]
    if target is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, data)


def told(error: BaseException) -> str:
    """Say in a few words why a photo failed."""
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        return error.strerror + where
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return "out of memory"
    return str(error) or type(error).__name__
