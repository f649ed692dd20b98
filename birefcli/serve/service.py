"""An order done: fetched, admitted, decoded, through the network, finished."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from birefcli.batch.memory import bytes_per_pixel
from birefcli.batch.stages import min_size_for, wanted_foreground
from birefcli.errors import DeviceMemoryError, PhotoError, PhotoTooLargeError
from birefcli.images.decode import decode_photo
from birefcli.images.encode import encode
from birefcli.images.photo import Photo
from birefcli.images.reading import stated_pixels
from birefcli.matting.matte import Matte
from birefcli.matting.predictor import Prepared
from birefcli.options import Format, Product, Rendering, ServeOptions, Size
from birefcli.products.background import Background, decode_background
from birefcli.products.render import encode_product, framed, left_out, render_product
from birefcli.serve.admission import Admission, Reservation
from birefcli.serve.batcher import PendingMatte
from birefcli.serve.engines import Engine, Engines
from birefcli.serve.errors import Code, RequestError
from birefcli.serve.fetch import Fetcher, UrlPolicy
from birefcli.serve.metrics import Metrics
from birefcli.serve.orders import Matted, Order, Picture, Source, Timings, Url

Out = TypeVar("Out")
HASTE = 5  # seconds after which it is worth to ask again what starts or stops


class State(Enum):
    """Of the service."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


@dataclass(frozen=True)
class _Loaded:
    photo: Photo
    input: Prepared


class Service:
    """Does orders, over the same reader, predictor, products and encoder as a batch."""

    def __init__(self, options: ServeOptions, metrics: Metrics) -> None:
        self.options, self.metrics = options, metrics
        self.state = State.STARTING
        self.admission = Admission(options.queue, options.max_memory)
        self._engines: Engines | None = None
        self._fetcher = Fetcher(UrlPolicy.parse(options.urls), options.max_body)
        # Two pools, as a batch has: what is decoded must not keep others from being finished.
        self._loaders = ThreadPoolExecutor(options.threads, "load")
        self._finishers = ThreadPoolExecutor(options.threads, "finish")
        self._headers = ThreadPoolExecutor(1, "header")
        metrics.watch(lambda: self.admission.photos, lambda: self.admission.used)

    def start(self, engines: Engines) -> None:
        """Take orders from now on."""
        self._engines = engines
        self.state = State.READY
        first = next(iter(engines))
        self.metrics.loaded(",".join(engines.names), str(first.predictor.placement.device))

    async def warm_up(self, engines: Engines) -> None:
        """Put a photo through each network and all stages: some things are made at first use."""
        noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
        order = Order((encode(noise, Format.PNG),), Rendering())
        for engine in engines:
            await self._do(order, engine)

    async def close(self) -> None:
        """End all threads; what they are at for clients that are gone is not waited for."""
        for pool in (self._headers, self._loaders, self._finishers):
            pool.shutdown(wait=False, cancel_futures=True)
        if self._engines is not None:
            self._engines.close()
        await self._fetcher.aclose()

    @property
    def is_busy(self) -> bool:
        """Whether threads hold photos still."""
        return self.admission.photos > 0

    @property
    def engines(self) -> Engines:
        """The networks. Raises RequestError while they are being loaded."""
        if self._engines is None:
            raise RequestError(Code.NOT_READY, "the models are being loaded", retry_after=HASTE)
        return self._engines

    def check_open(self) -> None:
        """See that new orders are taken: neither before all is loaded, nor once it is to stop.

        Raises RequestError.
        """
        if self.state is State.DRAINING:
            raise RequestError(Code.DRAINING, "the service is stopping", retry_after=HASTE)
        _ = self.engines

    async def do(self, order: Order) -> list[Matted]:
        """What is made of each photo of an order, in order.

        A task that is cancelled gives up what has not begun. Raises RequestError.
        """
        engine = self.engines.named(order.model)
        try:
            async with asyncio.timeout(self.options.timeout):
                return await self._do(order, engine)
        except TimeoutError:
            raise RequestError(
                Code.TIMEOUT,
                f"no answer within {self.options.timeout:g} s; try again later",
                retry_after=self.admission.retry_after,
            ) from None

    async def _do(self, order: Order, engine: Engine) -> list[Matted]:
        with _fetched_bodies(self.admission) as count:
            timings = [Timings() for _ in order.photos]
            files = [
                await self._file(source, order.field, count, timing)
                for source, timing in zip(order.photos, timings, strict=True)
            ]
            behind = order.background
            if isinstance(behind, (bytes, Url)):
                data = await self._file(behind, "background", count, Timings())
                behind_pixels = await self._stated(data, "background")
            else:
                data, behind_pixels = b"", 0
            pixels = [await self._stated(file, order.field) for file in files]
            each = bytes_per_pixel(order.rendering)
            size = sum(pixels) * each + sum(map(len, files)) + behind_pixels * each
            reservation = self.admission.admit(len(files), size)
            try:
                background: Background | None = (
                    await self._background(data, reservation)
                    if isinstance(behind, (bytes, Url))
                    else behind
                )
                work = [
                    self._photo(file, order, engine, background, reservation, timing)
                    for file, timing in zip(files, timings, strict=True)
                ]
                return await _all(work)
            finally:
                reservation.release()

    async def _file(
        self, source: Source, field: str, count: Callable[[int], None], timings: Timings
    ) -> bytes:
        if isinstance(source, bytes):
            return source
        started = time.perf_counter()
        try:
            with self.admission.fetch():
                return await self._fetcher.fetch(source.text, field, count)
        finally:
            timings.fetch += time.perf_counter() - started

    async def _stated(self, data: bytes, field: str) -> int:
        """Pixels of a picture by its header, before anything else is done about it."""
        with _photo_errors(field):
            future = self._headers.submit(stated_pixels, data, self.options.max_pixels)
            return await asyncio.wrap_future(future)

    async def _background(self, data: bytes, reservation: Reservation) -> Background:
        with _photo_errors("background"):
            call = self._loaders.submit(decode_background, data, self.options.max_pixels)
            return await _end(call, reservation)

    async def _photo(
        self,
        data: bytes,
        order: Order,
        engine: Engine,
        background: Background | None,
        reservation: Reservation,
        timings: Timings,
    ) -> Matted:
        """The way of one photo."""
        with _photo_errors(order.field):
            started = time.perf_counter()
            call = self._loaders.submit(self._load, data, order.rendering, engine)
            loaded = await _end(call, reservation)
            timings.decode = time.perf_counter() - started
            colour = wanted_foreground(order.rendering.products, order.rendering)
            pending = await _end(
                engine.batcher.submit(loaded.photo, loaded.input, colour), reservation
            )
            timings.queue, timings.network = pending.queued, pending.network
            started = time.perf_counter()
            finishing = self._finishers.submit(
                _finish, loaded.photo, pending, order.rendering, background
            )
            pictures, coverage = await _end(finishing, reservation)
            timings.finish = time.perf_counter() - started
        height, width = loaded.photo.whole or loaded.photo.shape
        matted = Matted(
            pictures,
            coverage,
            engine.name,
            height * width / 1e6,
            (*loaded.photo.notes, *left_out(loaded.photo, order.rendering)),
            timings,
        )
        self.metrics.photo_done(matted.megapixels, timings)
        return matted

    def _load(self, data: bytes, rendering: Rendering, engine: Engine) -> _Loaded:
        min_size = min_size_for(rendering, engine.predictor)
        photo = decode_photo(data, self.options.max_pixels, min_size=min_size)
        return _Loaded(photo, engine.predictor.upload(photo))


def _finish(
    photo: Photo, pending: PendingMatte, rendering: Rendering, background: Background | None
) -> tuple[dict[Product, Picture], float]:
    """Files of a photo's products, and its coverage. Raises PhotoError."""
    matte: Matte = pending.end()
    pictures = {}
    for kind in rendering.products:
        whole = render_product(kind, photo, matte, rendering.bits, background, Path())
        pixels = framed(whole, matte, rendering)
        size = Size(pixels.shape[1], pixels.shape[0])
        pictures[kind] = Picture(encode_product(pixels, photo, rendering), size)
    return pictures, matte.coverage


async def _end(future: "Future[Out]", reservation: Reservation) -> Out:
    """What work on a photo ends with; a task that is cancelled drops it, if it has not begun."""
    reservation.hold(future)
    return await asyncio.wrap_future(future)


async def _all(work: Sequence[Coroutine[Any, Any, Matted]]) -> list[Matted]:
    """Results of coroutines; the first that fails ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


@contextmanager
def _fetched_bodies(admission: Admission) -> Iterator[Callable[[int], None]]:
    """Counts bytes that are fetched, until they are no longer held."""
    own = 0

    def count(size: int) -> None:
        nonlocal own
        admission.take_body(size, own)
        own += size

    try:
        yield count
    finally:
        admission.drop_body(own)


@contextmanager
def _photo_errors(field: str) -> Iterator[None]:
    """What is wrong with a photo, as the answer to whoever sent it."""
    try:
        yield
    except DeviceMemoryError as error:
        raise RequestError(Code.OUT_OF_MEMORY, str(error), retry_after=HASTE) from error
    except PhotoTooLargeError as error:
        raise RequestError(Code.IMAGE_TOO_LARGE, str(error), field) from error
    except PhotoError as error:
        raise RequestError(Code.INVALID_IMAGE, str(error), field) from error
