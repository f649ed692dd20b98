"""Standard input, output and error of this process: open, whatever it was started with.

Called once, before anything opens a file: what is opened while a standard stream is closed gets
its number, and with it what others print.
"""

import errno
import io
import os
import select
import sys
from typing import Any, ClassVar, TextIO

STDOUT = "standard output"
"""The name in an OSError of a write to it."""


def are_ours() -> bool:
    """Whether the standard streams are still those that Python began with: nobody embeds us."""
    return sys.stdout is sys.__stdout__ and sys.stderr is sys.__stderr__


def prepare() -> None:
    """Open what is closed, and let both outputs show every name in whatever encoding they have.

    A closed stdin is empty. What is written to a closed stdout fails, as on a full disk. What
    stderr cannot take is dropped: a message that nobody can read changes no exit code.
    """
    stdin, stdout, stderr = (_opened(number) for number in range(3))
    if sys.stdin is None:
        file = io.BufferedReader(io.FileIO(stdin, closefd=False))
        sys.stdin = io.TextIOWrapper(file, encoding="utf-8")
    sys.stdout = _wrapped(sys.stdout, stdout, drops=False)
    sys.stderr = _wrapped(sys.stderr, stderr, drops=True)


def finish() -> OSError | None:
    """Write what is left; what went wrong with stdout now or earlier, if anything did.

    Nothing is tried again when Python ends, which has exit codes of its own for that.
    """
    try:
        sys.stderr.flush()
        sys.stdout.flush()
    except OSError as error:
        return error
    return _Output.failure


def _opened(number: int) -> int:
    """A standard stream's number, or that of an empty file in its place."""
    stream = (sys.stdin, sys.stdout, sys.stderr)[number]
    try:
        os.fstat(number)
    except OSError:
        pass
    else:
        if stream is not None:
            return number
    # Read-only also for stdout: results that go nowhere are no success.
    opened = os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)
    if opened == number:  # the lowest that is free
        os.set_inheritable(opened, True)  # as standard streams are, or a child has none again
    return opened


def _wrapped(stream: TextIO | None, number: int, *, drops: bool) -> TextIO:
    encoding, by_line = "utf-8", drops
    if stream is None:
        raw: Any = io.FileIO(number, "wb", closefd=False)
    else:
        stream.flush()
        raw = getattr(stream.buffer, "raw", stream.buffer)  # the file itself, if unbuffered
        by_line = bool(drops or stream.line_buffering or raw is stream.buffer)
        encoding = stream.encoding
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(raw, drops=drops)),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=by_line,
    )


class _Output(io.RawIOBase):
    """A file that waits where it is asked not to, and after a failed write takes all and drops it.

    So nothing is left to be written that would fail once more when Python ends.
    """

    failure: ClassVar[OSError | None] = None
    """Of stdout, which there is one of."""

    def __init__(self, raw: io.RawIOBase, *, drops: bool) -> None:
        """``drops``: from the beginning on, what cannot be written, without a word."""
        self._raw, self._drops = raw, drops

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()

    @property
    def name(self) -> str:
        """As Python's own have it."""
        return f"<{'stderr' if self._drops else 'stdout'}>"

    def write(self, data: Any) -> int:  # noqa: ANN401 - of bytes, in whatever form
        if not self._drops and self.failure is not None:
            return len(data)
        try:
            return self._write(data)
        except OSError as error:
            if self._drops:
                return len(data)
            _Output.failure = error
            error.filename = STDOUT
            if error.errno == errno.EBADF:
                error.strerror = "it is closed"
            raise

    def _write(self, data: Any) -> int:  # noqa: ANN401
        # A pipe that whoever shares it has told not to wait is waited for as any other.
        while (written := self._raw.write(data)) is None:
            select.select([], [self._raw.fileno()], [])
        return written
