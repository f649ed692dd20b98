"""Photos of many requests to one network, in batches that fill by themselves. No HTTP here.

A thread takes what waits, up to a batch, the moment the device is free: a photo alone waits for
nobody, and under load batches grow.
"""

import logging
import queue
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import torch
from torch import Tensor

from birefcli.errors import DeviceMemoryError, PhotoError
from birefcli.images.photo import Photo
from birefcli.matting.matte import Matte
from birefcli.matting.predictor import ForegroundOptions, Predictor, Prepared
from birefcli.system.watchdog import Activity

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class PendingMatte:
    """A photo that the network has seen."""

    end: Callable[[], Matte]
    """Ends the photo's matte, in any thread. Raises PhotoError."""
    queued: float
    """Seconds the photo waited for its turn."""
    network: float
    """Seconds of its batch."""


class _Waiting:
    """A photo before its turn; one that is given up is held no longer, though its place is kept."""

    def __init__(self, photo: Photo, prepared: Prepared, colour: ForegroundOptions | None) -> None:
        self.future: Future[PendingMatte] = Future()
        self.colour, self.since = colour, time.perf_counter()
        self._photo: tuple[Photo, Prepared] | None = (photo, prepared)
        # A circle of this and its future would keep the photo until Python looks for garbage.
        this = weakref.ref(self)
        self.future.add_done_callback(lambda _: _drop(this()))

    @property
    def photo(self) -> Photo:
        assert self._photo is not None
        return self._photo[0]

    @property
    def input(self) -> Prepared:
        assert self._photo is not None
        return self._photo[1]

    def drop(self) -> None:
        """Hold the photo no longer."""
        self._photo = None


class Batcher:
    """The thread that drives one network."""

    def __init__(
        self,
        predictor: Predictor,
        batch: int,
        activity: Activity,
        *,
        on_batch: Callable[[int], object] = lambda _: None,
        on_device_lost: Callable[[str], object] = lambda _: None,
    ) -> None:
        """``batch``: photos at once, at most; ``activity`` hears what is at work.

        ``on_batch`` is called with the photos of each batch, ``on_device_lost`` with the reason
        where the device does nothing any more; both in this thread.
        """
        self._predictor, self._batch, self._activity = predictor, batch, activity
        self._on_batch, self._on_device_lost = on_batch, on_device_lost
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)
        self._thread.start()

    def submit(
        self, photo: Photo, prepared: Prepared, colour: ForegroundOptions | None
    ) -> "Future[PendingMatte]":
        """Queue a photo; a future that is cancelled before its turn costs the network nothing.

        It ends with PhotoError where the photo cannot be matted.
        """
        waiting = _Waiting(photo, prepared, colour)
        self._waiting.put(waiting)
        return waiting.future

    def close(self) -> None:
        """End the thread, once what waits is done; nobody is kept waiting for that."""
        self._waiting.put(None)

    def _run(self) -> None:
        while (group := self._take()) is not None:
            try:
                if group:
                    self._do(group)
            except Exception as error:  # a thread that ends would leave all to come unanswered
                LOGGER.exception("a batch failed")
                for item in group:
                    if not item.future.done():
                        item.future.set_exception(error)

    def _take(self) -> list[_Waiting] | None:
        """What waits, up to a batch, less what was given up; None at the end."""
        item = self._waiting.get()
        group: list[_Waiting] = []
        while item is not None:
            if item.future.set_running_or_notify_cancel():
                group.append(item)
            if len(group) == self._batch or self._waiting.empty():
                return group
            item = self._waiting.get()
        if group:
            self._waiting.put(None)  # for the next look
            return group
        return None

    def _do(self, group: list[_Waiting]) -> None:
        started = time.perf_counter()
        self._on_batch(len(group))
        with self._activity.on(["photo"]):
            found = self._alphas(group)
            ends = [
                alpha if isinstance(alpha, Exception) else self._begin(item, alpha)
                for item, alpha in zip(group, found, strict=True)
            ]
        seconds = time.perf_counter() - started
        for item, end in zip(group, ends, strict=True):
            if isinstance(end, Exception):
                item.future.set_exception(end)
            else:
                item.future.set_result(PendingMatte(end, started - item.since, seconds))

    def _begin(self, item: _Waiting, alpha: Tensor) -> Callable[[], Matte] | Exception:
        """What ends a photo's matte, or why it has none."""
        try:
            return self._predictor.matte_async(item.photo, alpha, item.colour)
        except PhotoError as error:
            return error
        except torch.OutOfMemoryError:
            return _no_memory()
        except Exception as error:
            self._see_to_device(error)
            return error

    def _alphas(self, group: list[_Waiting]) -> list[Tensor | Exception]:
        """Alpha of each photo, or why there is none."""
        try:
            return list(self._predictor.alphas([item.input for item in group]))
        except torch.OutOfMemoryError:
            pass  # tried again outside: the traceback keeps features in memory
        except Exception as error:
            LOGGER.exception("the network failed")
            self._see_to_device(error)
            return [error] * len(group)
        if len(group) == 1:
            return [_no_memory()]
        return [alpha for item in group for alpha in self._alphas([item])]

    def _see_to_device(self, error: Exception) -> None:
        """After some errors a GPU answers nothing until the process begins anew."""
        try:
            torch.zeros(1, device=self._predictor.placement.device).item()
        except Exception:
            self._on_device_lost(f"{self._predictor.placement.device}: {error}")


def _no_memory() -> DeviceMemoryError:
    return DeviceMemoryError("out of memory on the device")


def _drop(waiting: _Waiting | None) -> None:
    if waiting is not None:
        waiting.drop()
