"""Pieces of bytes on disk instead of in memory, for as long as they are needed."""

import contextlib
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import IO

from birefcli.errors import OutputError


class TemporaryStore:
    """Pieces in a file without a name, which is gone when the block is left.

    Everything raises OutputError where the folder of temporary files (TMPDIR) is of no use.
    """

    def __init__(self) -> None:
        with _explained():
            self._file: IO[bytes] = tempfile.TemporaryFile(prefix="birefcli-")  # noqa: SIM115
        self._end = 0

    def __enter__(self) -> "TemporaryStore":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):  # what had no room is not wanted any more
            self._file.close()

    def put(self, piece: bytes) -> tuple[int, int]:
        """Append a piece; returns its offset and length."""
        with _explained():
            self._file.seek(self._end)
            self._file.write(piece)
            self._file.flush()
        place = (self._end, len(piece))
        self._end += len(piece)
        return place

    def get(self, place: tuple[int, int]) -> bytes:
        """The piece of an offset and length."""
        with _explained():
            self._file.seek(place[0])
            return self._file.read(place[1])


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        folder = tempfile.tempdir or "temporary files"
        hint = "set TMPDIR to a folder on a disk with room"
        raise OutputError(f"{folder}: {error.strerror or error}", hint=hint) from None
