"""One run: load, matte and save, overlapped. A failed photo is a value that passes through."""

import itertools
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from birefcli import compose, images
from birefcli.compose import Background, Matte
from birefcli.encode import encode
from birefcli.errors import PhotoError
from birefcli.files import Job, write_atomically
from birefcli.images import Photo
from birefcli.matting import Colour, Matter
from birefcli.options import Format, Options, Product, Rendering
from birefcli.report import Outcome, Seconds, Status

In = TypeVar("In")
Out = TypeVar("Out")

EMPTY = 0.0005  # a matte that covers less of the photo than this shows no subject


@dataclass(frozen=True)
class Loaded:
    """A photo that waits for the network."""

    job: Job
    photo: Photo
    input: NDArray[np.uint8]
    seconds: Seconds


@dataclass(frozen=True)
class Matted:
    """A photo that waits for its products to be written."""

    job: Job
    photo: Photo
    matte: Matte
    seconds: Seconds


def run(
    jobs: Iterable[Job], options: Options, matter: Matter, batch: int, background: Background
) -> Generator[Outcome, None, None]:
    """Do every job; outcomes come in the jobs' order.

    Closing the iterator drops what has not started and waits for what has.
    """
    pool = ThreadPoolExecutor(options.threads, "codec")
    # Enough to keep the network fed, and no more: each photo waiting is held in full size.
    ahead = options.threads + batch
    try:
        photos = map_ahead(pool, partial(load, matter, options.max_pixels), jobs, ahead)
        mattes = matte(matter, options.rendering, photos, batch)
        yield from map_ahead(pool, partial(save, options, background), mattes, ahead)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def map_ahead(
    pool: ThreadPoolExecutor, call: Callable[[In], Out], items: Iterable[In], ahead: int
) -> Iterator[Out]:
    """Map on a pool, in order, with at most ``ahead`` calls in flight."""
    running: deque[Future[Out]] = deque()
    for item in items:
        running.append(pool.submit(call, item))
        if len(running) >= ahead:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()


def load(matter: Matter, max_pixels: int, job: Job) -> Loaded | Outcome:
    """Read and decode a photo, and make the network's input of it."""
    started = time.perf_counter()
    try:
        data = sys.stdin.buffer.read() if job.source is None else job.source.read_bytes()
        photo = images.read(data, max_pixels)
        prepared = matter.prepare(photo)
    except (PhotoError, OSError, MemoryError) as error:
        return Outcome.failed(job, reason(error), Seconds(load=time.perf_counter() - started))
    return Loaded(job, photo, prepared, Seconds(load=time.perf_counter() - started))


def matte(
    matter: Matter, rendering: Rendering, photos: Iterable[Loaded | Outcome], batch: int
) -> Iterator[Matted | Outcome]:
    """Run the network on batches of photos, and find their subject's colour."""
    colour = wanted_colour(rendering)
    items = iter(photos)
    while group := list(itertools.islice(items, batch)):
        started = time.perf_counter()
        loaded = [item for item in group if isinstance(item, Loaded)]
        alphas = _alphas(matter, loaded)
        shared = (time.perf_counter() - started) / max(1, len(loaded))
        left = iter(alphas)
        for item in group:
            if isinstance(item, Outcome):
                yield item
            elif (alpha := next(left)) is None:
                why = "out of memory on the device; use a smaller --size or another --device"
                yield Outcome.failed(item.job, why, item.seconds)
            else:
                yield _matted(matter, item, alpha, colour, shared)


def _alphas(matter: Matter, loaded: list[Loaded]) -> list[torch.Tensor | None]:
    """Alpha of each photo, None for one that alone is too much for the device's memory."""
    if not loaded:
        return []
    try:
        return list(matter.alphas([item.input for item in loaded]))
    except torch.OutOfMemoryError:
        if len(loaded) == 1:
            return [None]
    return [alpha for item in loaded for alpha in _alphas(matter, [item])]


def _matted(
    matter: Matter, item: Loaded, alpha: torch.Tensor, colour: Colour | None, shared: float
) -> Matted | Outcome:
    started = time.perf_counter()
    try:
        result = matter.matte(item.photo, alpha, colour)
    except (PhotoError, MemoryError, torch.OutOfMemoryError) as error:
        return Outcome.failed(item.job, reason(error), item.seconds)
    item.seconds.matte = shared + time.perf_counter() - started
    return Matted(item.job, item.photo, result, item.seconds)


def wanted_colour(rendering: Rendering) -> Colour | None:
    """How much colour estimation the products need; None where none shows any colour."""
    if not any(kind.has_colour for kind in rendering.products):
        return None
    return Colour(rendering.refine, everywhere=Product.FOREGROUND in rendering.products)


def save(options: Options, background: Background, item: Matted | Outcome) -> Outcome:
    """Write a photo's products: all of them are encoded before the first is written."""
    if isinstance(item, Outcome):
        return item
    started = time.perf_counter()
    coverage = item.matte.coverage
    if options.fail_if_empty and coverage < EMPTY:
        return Outcome.failed(item.job, "no subject found (empty matte)", item.seconds)
    try:
        encoded = {
            kind: _render(kind, item, options.rendering, background) for kind in item.job.targets
        }
        for kind, data in encoded.items():
            _write(item.job, kind, data)
    except (PhotoError, OSError, MemoryError) as error:
        return Outcome.failed(item.job, reason(error), item.seconds)
    item.seconds.save = time.perf_counter() - started
    return Outcome(
        item.job.label,
        Status.WRITTEN,
        dict(item.job.targets),
        item.seconds,
        coverage,
        reason="; ".join(_remarks(item, coverage)) or None,
    )


def _remarks(item: Matted, coverage: float) -> list[str]:
    empty = ["no subject found (empty matte)"] if coverage < EMPTY else []
    return [*empty, *item.photo.notes]


def _render(kind: Product, item: Matted, rendering: Rendering, background: Background) -> bytes:
    bits = rendering.bits if rendering.format is not Format.JPG else 8
    pixels = compose.product(kind, item.photo, item.matte, bits, background, item.job.relative)
    if rendering.crop:
        pixels = pixels[compose.crop_box(item.matte.alpha, rendering.margin)]
    return encode(
        np.ascontiguousarray(pixels),
        rendering.format,
        rendering.compress,
        icc=item.photo.icc,
        dpi=item.photo.dpi,
    )


def _write(job: Job, kind: Product, data: bytes) -> None:
    target = job.targets[kind]
    if target is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, data)


def reason(error: BaseException) -> str:
    """Say in a few words why a photo failed."""
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        return error.strerror + where
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return "out of memory"
    return str(error) or type(error).__name__
