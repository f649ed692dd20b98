"""One run: load, matte and save, overlapped. A failed photo is a value that passes through."""

import errno
import os
import stat
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import takewhile
from typing import TypeVar

import cv2
import torch
from torch import Tensor

from birefcli.batch.bottleneck import StageTimer
from birefcli.batch.freshness import Decision
from birefcli.batch.memory import MemoryBudget, RunClosedError, Ticket, bytes_per_pixel
from birefcli.batch.outcome import Outcome, Seconds, Status
from birefcli.batch.targets import Job
from birefcli.errors import DeviceMemoryError, PhotoError
from birefcli.images.decode import decode_photo
from birefcli.images.photo import Photo
from birefcli.images.stamp import Stamp
from birefcli.matting.matte import Matte
from birefcli.matting.predictor import Colour, Predictor, Prepared
from birefcli.options import Options, Product, Rendering
from birefcli.products.background import Background
from birefcli.products.quality import EMPTY
from birefcli.products.render import encode_product, render_product
from birefcli.system.atomic import write_file
from birefcli.system.prefetch import prefetch

In = TypeVar("In")
Out = TypeVar("Out")

# What would meet every photo after this one as well: a disk that is full, locked or gone.
DISK_TROUBLE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENXIO, errno.ENODEV),
    *(errno.ESTALE, errno.EPIPE),
)
LARGE = 1 << 26  # bytes; files above this are read one at a time, each in its turn for memory
FILE_PER_PIXEL = 16  # bytes; no file of one picture needs more
GATHER = 0.02  # seconds between looks at whether a batch must go without its next photo


@dataclass(frozen=True)
class Loaded:
    """A photo that waits for the network."""

    job: Job
    reason: str
    photo: Photo
    state: tuple[int, int]
    """Size and time of the file that was read, see :func:`.freshness.source_state`."""
    input: Prepared
    seconds: Seconds
    taken: int
    """Bytes of the budget."""


@dataclass(frozen=True)
class Matted:
    """A photo that waits for its products to be written."""

    loaded: Loaded
    arriving: Callable[[], Matte]

    @cached_property
    def matte(self) -> Matte:
        """Alpha and colour, once they have come from the device."""
        return self.arriving()


SPARE = 2  # times the network's input that a reduced photo is high and wide, or more


def enough_for(rendering: Rendering, predictor: Predictor) -> tuple[int, int] | None:
    """(width, height) that a photo must at least have for its products; None: all of its pixels.

    Where no product shows colours only the network looks at them. At twice its size the input that
    a reduced JPEG gives is a third of a level off on average, at its very size three times that.
    """
    if rendering.has_colour:
        return None
    return SPARE * predictor.size[0], SPARE * predictor.size[1]


Recipes = Callable[[Job], Mapping[Product, str]]


@dataclass(frozen=True)
class Pipeline:
    """What the stages of a run share."""

    options: Options
    predictor: Predictor
    batch: int
    background: Background
    fingerprints: Recipes
    budget: MemoryBudget
    saving: deque[Future[Outcome]] = field(default_factory=deque)
    waits: StageTimer = field(default_factory=StageTimer)

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
        self.waits.start()
        try:
            photos = prefetch(loaders, self._load, enumerate(todo), ahead)
            for future in prefetch(savers, self._save, self._matte(photos), ahead, self.saving):
                with self.waits.waiting("save"):
                    outcome = future.result()
                yield outcome
        finally:
            self.budget.close()
            for pool in (loaders, savers):
                pool.shutdown(wait=True, cancel_futures=True)

    def limit(self) -> tuple[str, float] | None:
        """The stage that took most of the time, and its share of it, 0..1."""
        return self.waits.limit()

    @property
    def finished_unreported(self) -> list[Outcome]:
        """What has ended since the last outcome that was given, and that one, of a closed run."""
        ended = takewhile(lambda future: future.done() and not future.cancelled(), self.saving)
        return [future.result() for future in ended]

    def _load(self, numbered: tuple[int, Decision]) -> Loaded | Outcome:
        """Read and decode a photo, and make the network's input of it."""
        number, decision = numbered
        started = time.perf_counter()
        try:
            with self.budget.turn(number) as turn:
                data, state = _read(decision.job, self.options.max_pixels, turn)
                each = bytes_per_pixel(self.options.rendering)
                photo = decode_photo(
                    data,
                    self.options.max_pixels,
                    lambda pixels: turn.take(pixels * each + len(data)),
                    enough_for(self.options.rendering, self.predictor),
                )
                prepared = self.predictor.upload(photo)
        except RunClosedError:
            raise
        except Exception as error:
            seconds = Seconds(load=time.perf_counter() - started)
            return failure(decision.job, error, seconds)
        seconds = Seconds(load=time.perf_counter() - started)
        return Loaded(decision.job, decision.reason, photo, state, prepared, seconds, turn.taken)

    def _matte(
        self, photos: Iterator[Future[Loaded | Outcome]]
    ) -> Generator[Matted | Outcome, None, None]:
        """Run the network on batches of photos, and find their subject's colour."""
        for group in batches(photos, self.batch, lambda: self.budget.exhausted, self._wait):
            started = time.perf_counter()
            loaded = [item for item in group if isinstance(item, Loaded)]
            alphas = iter(self._alphas(loaded))
            shared = (time.perf_counter() - started) / max(1, len(loaded))
            for item in group:
                yield (
                    item if isinstance(item, Outcome) else self._finish(item, next(alphas), shared)
                )

    def _wait(self, future: Future[Loaded | Outcome], timeout: float | None) -> None:
        # A photo that has no room in memory waits for those before it to be saved.
        with self.waits.waiting("save" if self.budget.exhausted else "load"):
            wait([future], timeout=timeout)

    def _alphas(self, loaded: list[Loaded]) -> list[Tensor | PhotoError]:
        if not loaded:
            return []
        try:
            return list(self.predictor.alphas([item.input for item in loaded]))
        except torch.OutOfMemoryError:
            pass
        if len(loaded) == 1:
            text = "out of memory on the device; use a smaller --size or another --device"
            return [DeviceMemoryError(text)]
        return [alpha for item in loaded for alpha in self._alphas([item])]

    def _finish(self, item: Loaded, alpha: Tensor | PhotoError, shared: float) -> Matted | Outcome:
        started = time.perf_counter()
        try:
            if isinstance(alpha, PhotoError):
                raise alpha  # noqa: TRY301 - told like every other failure
            arriving = self.predictor.matte_async(item.photo, alpha, self._colour(item.job))
        except Exception as error:
            self.budget.release(item.taken)
            return failure(item.job, error, item.seconds)
        finally:
            item.seconds.matte = shared + time.perf_counter() - started
        return Matted(item, arriving)

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
        except Exception as error:
            fatal = isinstance(error, OSError) and _meets_all(error, loaded.job)
            failed = failure(loaded.job, error, loaded.seconds)
            return replace(failed, fatal=fatal, coverage=coverage)
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
        job, rendering = item.loaded.job, self.options.rendering
        pixels = render_product(
            kind, item.loaded.photo, item.matte, rendering.bits, self.background, job.relative
        )
        precision = self.predictor.placement.precision.value
        made = Stamp(self.fingerprints(job)[kind], precision, kind.value, *item.loaded.state)
        return encode_product(pixels, item.loaded.photo, item.matte, rendering, made.text())


NO_SUBJECT = "no subject found (empty matte)"


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


def _read(job: Job, max_pixels: int, turn: Ticket) -> tuple[bytes, tuple[int, int]]:
    """Bytes of a photo, and the state its file was in. Raises PhotoError, OSError.

    A pipe has no time: its photo is a new one whenever it is read.
    """
    if job.source is None:
        if sys.stdin is None:
            raise PhotoError("stdin is closed")
        data = sys.stdin.buffer.read()
        return data, (len(data), 0)
    with job.source.open("rb") as file:
        before = os.fstat(file.fileno())
        if not stat.S_ISREG(before.st_mode):
            data = file.read()
            return data, (len(data), 0)
        if before.st_size > LARGE + FILE_PER_PIXEL * max_pixels:
            size = f"{before.st_size / 1e9:.1f} GB"
            raise PhotoError(f"{size} are no photo of --max-megapixels {max_pixels / 1e6:g}")
        if before.st_size > LARGE:
            turn.wait()
        data = file.read()
        after = os.fstat(file.fileno())
    state = (before.st_size, before.st_mtime_ns)
    if state != (after.st_size, after.st_mtime_ns):
        raise PhotoError("changed while it was read; run again when it is complete")
    return data, state


def _write(job: Job, kind: Product, data: bytes) -> None:
    target = job.targets[kind]
    if target is None:
        _write_out(data)
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_file(target, data)
    except OSError as error:
        # Of a part file the user knows nothing, and a full disk is told without any name.
        raise OSError(error.errno, error.strerror or str(error), str(target)) from error


def _write_out(data: bytes) -> None:
    """Write all of it: with PYTHONUNBUFFERED a single write may end early, and say only how far."""
    left = memoryview(data)
    while left:
        written = sys.stdout.buffer.write(left)
        if written is None:  # nobody has read what is in a pipe that does not wait
            raise BlockingIOError(errno.EAGAIN, "standard output takes no more just now")
        left = left[written:]
    sys.stdout.buffer.flush()


def _meets_all(error: OSError, job: Job) -> bool:
    """Whether what kept this photo from being written will keep the others too."""
    if error.errno in DISK_TROUBLE:
        return True
    tops = {t.parents[len(job.relative.parts) - 1] for t in job.targets.values() if t is not None}
    return isinstance(error, PermissionError) and not all(os.access(top, os.W_OK) for top in tops)


def failure(job: Job, error: Exception, seconds: Seconds) -> Outcome:
    """One photo's failure; what nobody expected is a bug, and still costs one photo."""
    if isinstance(error, OSError) and error.strerror:
        other = error.filename is not None and str(error.filename) != job.label
        text = error.strerror + (f" ({error.filename})" if other else "")
    elif _is_lack_of_memory(error):
        text = "out of memory"
    elif isinstance(error, (PhotoError, OSError)):
        text = str(error) or type(error).__name__
    else:
        text = f"a bug: {type(error).__name__}: {error} (run again with --debug and report it)"
        return Outcome(job.label, Status.FAILED, seconds=seconds, error=text, bug=error)
    short = isinstance(error, (torch.OutOfMemoryError, DeviceMemoryError))
    return replace(Outcome.failed(job, text, seconds), short=short)


def _is_lack_of_memory(error: Exception) -> bool:
    if isinstance(error, cv2.error):
        return bool(error.code == cv2.Error.StsNoMem)
    # On a CPU, torch has no exception of its own for it.
    lacking = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return lacking or isinstance(error, (MemoryError, torch.OutOfMemoryError))
