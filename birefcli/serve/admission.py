"""Who is let in: photos by their number and the memory they will take. Nobody waits at the door.

All of it belongs to the thread of the event loop.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from birefcli.serve.errors import Code, RequestError

LONGEST_WAIT = 60  # seconds that a client is told to wait, at most
MOST_FETCHES = 64  # at once: each may take a thread until its name is resolved
FIRST_GUESS = 0.25  # seconds of a photo
WEIGHT = 0.2  # of the latest photo in the mean of a photo's seconds


class Reservation:
    """A photo's place: given back once no thread holds its pixels any more."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back = give_back
        self._futures: list[Future[Any]] = []

    def hold(self, future: Future[Any]) -> None:
        """Name work that holds the photo; its client may be gone long before it ends."""
        self._futures.append(future)

    def release(self) -> None:
        """Give the place back, or have the last of what is still at work do it."""
        working = [future for future in self._futures if not future.done()]
        self._futures.clear()  # they hold results: pixels, and files
        if not working:
            self._give_back()
            return
        loop, left = asyncio.get_running_loop(), len(working)

        def ended() -> None:
            nonlocal left
            left -= 1
            if not left:
                self._give_back()

        for future in working:
            future.add_done_callback(lambda _: loop.call_soon_threadsafe(ended))


class Admission:
    """Photos accepted and not yet answered, and what they and the bodies of requests take."""

    def __init__(self, photos: int, memory: int) -> None:
        """``photos``: at once; ``memory``: in bytes, of photos, and as much of bodies."""
        self._most_photos, self._memory = photos, memory
        self.photos = 0
        self.used = 0
        """Bytes of photos, and of answers that are being sent."""
        self.bodies = 0
        """Bytes of requests, and of what was fetched for them."""
        self.fetching = 0
        """Pictures that are being fetched: not accepted yet, as nothing is known of them."""
        self._mean = FIRST_GUESS
        self._last_end = time.monotonic()

    def admit(self, photos: int, size: int) -> Reservation:
        """A place for photos of ``size`` bytes together.

        What is larger than all there is has its place where nothing else is done. Raises
        RequestError with the seconds after which there may be room.
        """
        if self.photos and self.photos + photos > self._most_photos:
            raise self._full(f"{self.photos} photos are at work already")
        if self.photos and self.used + size > self._memory:
            raise self._full("the memory for photos is full")
        if not self.photos:
            self._last_end = time.monotonic()
        self.photos += photos
        self.used += size
        return Reservation(lambda: self._end(photos, size))

    @contextmanager
    def fetch(self) -> Iterator[None]:
        """A picture is fetched within the block. Raises RequestError where too many are."""
        if self.fetching >= min(self._most_photos, MOST_FETCHES):
            raise self._full(f"{self.fetching} pictures are being fetched already")
        self.fetching += 1
        try:
            yield
        finally:
            self.fetching -= 1

    def take_body(self, size: int, own: int) -> None:
        """Count ``size`` more bytes of a body that has ``own`` here. Raises RequestError."""
        if self.bodies > own and self.bodies + size > self._memory:
            raise self._full("the memory for requests is full")
        self.bodies += size

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """So many bytes more are held within the block: of an answer, while it is sent."""
        self.used += size
        try:
            yield
        finally:
            self.used -= size

    def drop_body(self, size: int) -> None:
        """Bytes of a body that are no longer held."""
        self.bodies -= size

    @property
    def retry_after(self) -> int:
        """Seconds after which there should be room: photos waiting × mean seconds a photo."""
        return min(LONGEST_WAIT, max(1, math.ceil(self.photos * self._mean)))

    def _full(self, why: str) -> RequestError:
        return RequestError(
            Code.QUEUE_FULL, f"{why}; try again later", retry_after=self.retry_after
        )

    def _end(self, photos: int, size: int) -> None:
        now = time.monotonic()
        self._mean += WEIGHT * ((now - self._last_end) / photos - self._mean)
        self._last_end = now
        self.photos -= photos
        self.used -= size
