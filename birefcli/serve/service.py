"""An order done: fetched, admitted, decoded, through the network, finished."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any

import torch

from birefcli.batch.memory import bytes_in_flight, bytes_per_pixel
from birefcli.batch.stages import wanted_foreground
from birefcli.errors import DeviceMemoryError, PhotoError, PhotoTooLargeError
from birefcli.images.photo import Photo
from birefcli.images.reading import stated_pixels
from birefcli.matting.predictor import Prepared
from birefcli.options import Rendering
from birefcli.products.background import Background, Blur, Colour, decode_background
from birefcli.products.words import NAMES
from birefcli.serve.admission import Admission, Reservation
from birefcli.serve.batcher import PendingMatte
from birefcli.serve.engines import Engine, Engines
from birefcli.serve.errors import Code, RequestError, in_words
from birefcli.serve.fetch import Fetcher, UrlPolicy
from birefcli.serve.metrics import Metrics
from birefcli.serve.orders import ImageInput, MattedPhoto, Order, Timings, Url
from birefcli.serve.photo_stages import Finished, finish, load
from birefcli.serve.settings import ServeOptions
from birefcli.serve.threads import Threads
from birefcli.system.watchdog import Activity

RETRY_SECONDS = 5  # after which it is worth to ask again what starts or stops


class State(Enum):
    """Of the service."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


class Service:
    """Does orders, over the same reader, predictor, products and encoder as a batch."""

    def __init__(self, options: ServeOptions, metrics: Metrics, activity: Activity) -> None:
        """``activity`` hears what is at work. Raises UsageError."""
        self.options, self.metrics = options, metrics
        self.state = State.STARTING
        self.admission = Admission(options.queue, options.max_memory)
        self._engines: Engines | None = None
        self._fetcher = Fetcher(UrlPolicy.parse(options.urls), options.max_body)
        self._activity = activity
        # As a batch has: what is decoded must not keep others from being finished, nor headers
        # from being read, by which it is decided who is let in.
        self._headers = Threads(options.threads, "header")
        self._loaders = Threads(options.threads, "load")
        self._finishers = Threads(options.threads, "finish")
        metrics.watch(lambda: self.admission.photos, lambda: self.admission.used)

    def start(self, engines: Engines) -> None:
        """Take orders from now on."""
        self._engines = engines
        self.state = State.READY
        first = next(iter(engines))
        self.metrics.loaded(",".join(engines.names), str(first.predictor.placement.device))

    async def close(self) -> None:
        """End all threads; what they are at for clients that are gone is not waited for."""
        for threads in (self._headers, self._loaders, self._finishers):
            threads.close()
        if self._engines is not None:
            self._engines.close()
        await self._fetcher.aclose()

    @property
    def engines(self) -> Engines:
        """The networks. Raises RequestError while they are being loaded."""
        if self._engines is None:
            raise RequestError(
                Code.NOT_READY, "the models are being loaded", retry_after=RETRY_SECONDS
            )
        return self._engines

    def check_open(self) -> None:
        """See that new orders are taken: neither before all is loaded, nor once it is to stop.

        Raises RequestError.
        """
        if self.state is State.DRAINING:
            raise RequestError(Code.DRAINING, "the service is stopping", retry_after=RETRY_SECONDS)
        _ = self.engines

    async def do(self, order: Order) -> list[MattedPhoto]:
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

    async def _do(self, order: Order, engine: Engine) -> list[MattedPhoto]:
        with _fetched_bodies(self.admission) as count:
            timings = [Timings() for _ in order.photos]
            files = [
                await self._file(source, order.field, count, timing)
                for source, timing in zip(order.photos, timings, strict=True)
            ]
            behind = order.background
            if isinstance(behind, (bytes, Url)):
                behind = await self._file(behind, "background", count, timings[0])
            reservation = await self._admitted(files, behind, order, timings)
            try:
                background = await self._background(behind, reservation)
                work = [
                    self._photo(n, files[n], order, engine, background, reservation, timing)
                    for n, timing in enumerate(timings)
                ]
                return await _all(work)
            finally:
                reservation.release()

    async def _file(
        self, source: ImageInput, field: str, count: Callable[[int], None], timings: Timings
    ) -> bytes:
        if isinstance(source, bytes):
            return source
        started = time.perf_counter()
        try:
            with self.admission.fetch():
                return await self._fetcher.fetch(source.text, field, count)
        finally:
            timings.fetch += time.perf_counter() - started

    async def _admitted(
        self,
        files: Sequence[bytes],
        background: Colour | Blur | bytes | None,
        order: Order,
        timings: Sequence[Timings],
    ) -> Reservation:
        """A place for all of an order, by its pictures' headers. Raises RequestError."""
        size = sum(map(len, files))
        for n, (file, timing) in enumerate(zip(files, timings, strict=True)):
            with _photo_errors(order.field, _which(order, n)):
                size += bytes_in_flight(order.rendering, await self._stated(file, timing))
        if isinstance(background, bytes):
            with _photo_errors("background"):
                stated = await self._stated(background, timings[0])
                size += bytes_per_pixel(order.rendering) * stated
        return self.admission.admit(len(files), size)

    async def _stated(self, data: bytes, timings: Timings) -> int:
        """Pixels of a picture by its header, before anything else is done. Raises PhotoError."""
        done = await self._headers.run(stated_pixels, data, self.options.max_pixels)
        timings.queue += done.waited
        timings.decode += done.seconds
        return done.result

    async def _background(
        self, background: Colour | Blur | bytes | None, reservation: Reservation
    ) -> Background | None:
        if not isinstance(background, bytes):
            return background
        with _photo_errors("background"):
            most = self.options.max_pixels
            done = await self._loaders.run(
                decode_background, background, most, hold=reservation.hold
            )
        return done.result

    async def _photo(
        self,
        number: int,
        data: bytes,
        order: Order,
        engine: Engine,
        background: Background | None,
        reservation: Reservation,
        timings: Timings,
    ) -> MattedPhoto:
        """The way of one photo."""
        rendering, hold = order.rendering, reservation.hold
        with _photo_errors(order.field, _which(order, number)):
            loaded = await self._loaders.run(self._load, data, rendering, engine, hold=hold)
            photo, prepared = loaded.result
            colour = wanted_foreground(rendering.products, rendering)
            turn = engine.batcher.submit(photo, prepared, colour)
            hold(turn)
            pending = await asyncio.wrap_future(turn)
            finished = await self._finishers.run(
                self._finish, photo, pending, rendering, background, hold=hold
            )
        timings.decode += loaded.seconds
        timings.queue += loaded.waited + pending.queued + finished.waited
        timings.network, timings.finish = pending.network, finished.seconds
        height, width = photo.whole or photo.shape
        made = finished.result
        matted = MattedPhoto(
            made.files,
            made.quality,
            engine.name,
            height * width / 1e6,
            (*order.notes, *made.notes),
            timings,
        )
        self.metrics.photo_done(matted.megapixels, timings)
        return matted

    def _load(self, data: bytes, rendering: Rendering, engine: Engine) -> tuple[Photo, Prepared]:
        with self._activity.on(["photo"]):
            return load(data, rendering, engine.predictor, self.options.max_pixels)

    def _finish(
        self,
        photo: Photo,
        pending: PendingMatte,
        rendering: Rendering,
        background: Background | None,
    ) -> Finished:
        with self._activity.on(["photo"]):
            return finish(photo, pending.end(), rendering, background)


async def _all(work: Sequence[Coroutine[Any, Any, MattedPhoto]]) -> list[MattedPhoto]:
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
def _photo_errors(field: str, which: str = "") -> Iterator[None]:
    """What is wrong with a photo, as the answer to whoever sent it; ``which`` of several it is."""
    try:
        yield
    except (DeviceMemoryError, torch.OutOfMemoryError):
        text = f"{which}out of memory on the device"
        raise RequestError(Code.OUT_OF_MEMORY, text, retry_after=RETRY_SECONDS) from None
    except PhotoError as error:
        large = isinstance(error, PhotoTooLargeError)
        code = Code.IMAGE_TOO_LARGE if large else Code.INVALID_IMAGE
        if error.option in NAMES:  # the photo is right, and what is asked of it is not
            code, field = Code.INVALID_VALUE, error.option
        raise RequestError(code, which + in_words(error.message), field) from error


def _which(order: Order, number: int) -> str:
    return f"photo {number + 1}: " if len(order.photos) > 1 else ""
