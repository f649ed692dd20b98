"""Named pipes: opened for reading, without waiting for ever for somebody who writes."""

import errno
import os
import select
import time
from pathlib import Path
from typing import BinaryIO

LOOK = 0.05  # seconds between two looks for a writer


class NoWriterError(OSError):
    """Nobody has opened a named pipe to write into it."""


def open_pipe(path: Path, seconds: float) -> tuple[BinaryIO, bytes]:
    """Open a named pipe for reading, once somebody has opened it for writing.

    Whoever has may take as long as it likes. ``seconds``: how long to wait for that. Returns the
    pipe, and what was read of it already. Raises NoWriterError, OSError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        start = _start(descriptor, path, time.monotonic() + seconds)
    except BaseException:
        os.close(descriptor)
        raise
    os.set_blocking(descriptor, True)
    return os.fdopen(descriptor, "rb"), start


def _start(descriptor: int, path: Path, end: float) -> bytes:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    # Data, or the hang-up of a writer that has come and gone; one that is silent has no event.
    while not poll.poll(LOOK * 1000):
        try:
            start = os.read(descriptor, 1)
        except BlockingIOError:  # it is there
            return b""
        if start:
            return start
        if time.monotonic() > end:
            raise NoWriterError(errno.ENXIO, "nobody writes to this named pipe", str(path))
    return b""
