"""Pieces of bytes on disk instead of in memory, for as long as they are needed."""

import tempfile
from types import TracebackType
from typing import IO


class TemporaryStore:
    """Pieces in a file without a name, which is gone when the block is left."""

    def __init__(self) -> None:
        """Raises OSError where TMPDIR cannot be written."""
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
        self._file.close()

    def put(self, piece: bytes) -> tuple[int, int]:
        """Append a piece; returns its offset and length. Raises OSError."""
        self._file.seek(self._end)
        self._file.write(piece)
        place = (self._end, len(piece))
        self._end += len(piece)
        return place

    def get(self, place: tuple[int, int]) -> bytes:
        """The piece of an offset and length. Raises OSError."""
        self._file.seek(place[0])
        return self._file.read(place[1])
