"""Asks a running service whether it is ready: for health checks. Standard library only."""

import http.client
import socket
from pathlib import Path

from birefcli.serve.listening import ListenAddress

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


def trouble(place: ListenAddress) -> str | None:
    """Why the service that listens there takes no photos; None where it does."""
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
        answer = connection.getresponse()
        body = answer.read(200).decode("utf-8", "replace")
    except TimeoutError:
        return f"{place}: no answer within {SECONDS:g} s"
    except (OSError, http.client.HTTPException) as error:
        return f"{place}: nothing answers: {getattr(error, 'strerror', None) or error}"
    finally:
        connection.close()
    return (
        None if answer.status == http.client.OK else f"{place}: not ready: {answer.status} {body}"
    )
