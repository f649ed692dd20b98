"""Asks a running service whether it is ready: for health checks. Standard library only."""

import http.client
import socket
from pathlib import Path

from birefcli.serve.listening import Place

SECONDS = 5.0
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
"""Where a server that listens on all addresses is found from its own machine."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(SECONDS)
        self.sock.connect(str(self._path))


def is_ready(place: Place) -> bool:
    """Whether the service that listens there takes photos."""
    host = place.host.strip("[]")
    connection: http.client.HTTPConnection
    if place.path is not None:
        connection = _UnixConnection(place.path)
    else:
        connection = http.client.HTTPConnection(
            ANYWHERE.get(host, host), place.port, timeout=SECONDS
        )
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
