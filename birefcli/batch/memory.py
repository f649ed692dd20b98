"""How many photos may be in memory at once, by their size."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from birefcli.options import Format, Rendering
from birefcli.values import MOST_PIXELS

BYTES_PER_PIXEL = 32
"""Of a photo from decoding to writing: its pixels, their colours, alpha, and the encoder's rows."""
BYTES_PER_PIXEL_AT_MOST = 64
"""The same for 16 bits, for WebP and AVIF, whose encoders take much, for what is scaled, and for
several products, which are all encoded before the first is written."""

PADDED = 2.0  # times a photo's pixels that it has on a canvas of other proportions


def bytes_in_flight(rendering: Rendering, pixels: int) -> int:
    """Memory of a photo of so many pixels, and of its products; its file comes on top."""
    return bytes_per_pixel(rendering) * max(pixels, output_pixels(rendering, pixels))


def bytes_per_pixel(rendering: Rendering) -> int:
    """Memory of a photo in flight, measured at its peak and rounded up."""
    plain = rendering.bits == 8 and len(rendering.products) == 1
    plain &= rendering.format not in (Format.WEBP, Format.AVIF)
    plain &= rendering.canvas is None and rendering.resize is None  # scaled in float32
    return BYTES_PER_PIXEL if plain else BYTES_PER_PIXEL_AT_MOST


def output_pixels(rendering: Rendering, pixels: int) -> int:
    """Pixels that a product of a photo of so many may have, as far as that is known before."""
    canvas, resize = rendering.canvas, rendering.resize
    most = pixels
    if canvas is not None and canvas.size is not None:
        most = canvas.size.width * canvas.size.height
    elif canvas is not None:
        most = round(PADDED * pixels / min(1.0, canvas.fill or canvas.head or 1.0))
    if resize is not None:
        box, share = resize.box, resize.share
        most = box.width * box.height if box is not None else round(most * (share or 1.0) ** 2)
    return min(MOST_PIXELS, most)


class RunClosedError(Exception):
    """The run ended while a photo waited for memory."""


class Ticket:
    """One photo's place in the queue for memory."""

    def __init__(self, budget: "MemoryBudget", number: int) -> None:
        self._budget, self._number = budget, number
        self.taken = 0

    def take(self, size: int) -> None:
        """Wait for the turn, and until there is room for so many bytes."""
        self.taken = self._budget.take(self._number, size)


class MemoryBudget:
    """Bytes that photos in flight may take.

    Turns are given in the photos' order, so whoever holds memory is ahead of whoever waits for it
    and can always go on. A photo larger than the whole budget is let in alone.
    """

    def __init__(self, limit: int) -> None:
        """``limit``: in bytes."""
        self._limit = limit
        self._used = 0
        self._next = 0
        self._waiting = False
        self._closed = False
        self._changed = threading.Condition()

    @property
    def exhausted(self) -> bool:
        """Whether the photo whose turn it is waits for others to be written."""
        return self._waiting

    @contextmanager
    def ticket(self, number: int) -> Iterator[Ticket]:
        """The turn of photo ``number`` (from 0); when it took nothing, it is passed on."""
        ticket = Ticket(self, number)
        try:
            yield ticket
        except BaseException:
            self.release(ticket.taken)
            raise
        finally:
            if not ticket.taken and not self._closed:
                self.take(number, 0)

    def take(self, number: int, size: int) -> int:
        """Take ``size`` bytes in turn; returns them."""
        with self._changed:
            self._changed.wait_for(lambda: self._next == number or self._closed)
            while size and self._used and self._used + size > self._limit and not self._closed:
                self._waiting = True
                self._changed.wait()
            self._waiting = False
            if self._closed:
                raise RunClosedError
            self._used += size
            self._next += 1
            self._changed.notify_all()
            return size

    def give_away(self, size: int) -> None:
        """Have so many bytes less, as others take them."""
        with self._changed:
            self._limit -= size

    def close(self) -> None:
        """Let nobody wait any longer: the run is over."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def release(self, size: int) -> None:
        """Give back what a photo took."""
        with self._changed:
            self._used -= size
            self._changed.notify_all()
