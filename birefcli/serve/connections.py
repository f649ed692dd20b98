"""Connections: so many at most, and none that idles or sends a request's head for ever.

uvicorn counts neither; it ends a connection that idles after an answer alone.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from birefcli.system import process_settings

HEAD_SECONDS = 60.0
"""For the head of a request; from the second one on, until the next look at its connection."""
RESERVE = 200
"""Files of a process that are no clients, and clients that are accepted at once."""


class Protocol(H11Protocol):
    """A client's connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless there are too many."""
        super().connection_made(transport)
        self._looked_at: Any = None
        if len(self.server_state.connections) > most_connections():
            transport.abort()
            return
        self._look_soon()

    def _look_soon(self) -> None:
        self._look_timer = self.loop.call_later(HEAD_SECONDS, self._look)

    def _look(self) -> None:
        """Close a connection on which no request is at work, and none was at the last look."""
        if self.transport.is_closing():
            return
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self.cycle is self._looked_at:
            self.transport.close()
            return
        self._looked_at = self.cycle
        self._look_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if (timer := getattr(self, "_look_timer", None)) is not None:
            timer.cancel()
        super().connection_lost(exc)


def most_connections() -> int:
    """Clients at once: what the process may have open, less some."""
    files = process_settings.open_files()
    return max(files // 2, files - RESERVE)
