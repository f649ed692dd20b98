"""Where the service listens: an address, a unix socket, or a descriptor that was handed over."""

import ipaddress
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from birefcli.errors import OutputError, UsageError

BACKLOG = 2048


@dataclass(frozen=True)
class ListenAddress:
    """Where to listen. ``path`` and ``fd`` come before host and port."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0: any that is free."""
    path: Path | None = None
    """Of a unix socket."""
    fd: int | None = None
    """A descriptor that listens already."""

    def __str__(self) -> str:
        """The address as a client writes it."""
        if self.path is not None:
            return f"unix:{self.path}"
        return f"http://{self.host}:{self.port}" if self.fd is None else f"fd:{self.fd}"

    @property
    def is_local(self) -> bool:
        """Whether nobody beyond this machine reaches it."""
        return self.path is not None or self.is_loopback

    @property
    def is_loopback(self) -> bool:
        """Whether it is an address that programs of this machine alone reach."""
        if self.path is not None or self.fd is not None:
            return False  # of a descriptor it cannot be told who holds the other end
        with suppress(ValueError):
            return ipaddress.ip_address(self.host.strip("[]").partition("%")[0]).is_loopback
        return self.host.lower() == "localhost"


@contextmanager
def listening(place: ListenAddress) -> Iterator[socket.socket]:
    """A socket that listens there within the block. Raises OutputError, UsageError."""
    listener = listen(place)
    made = None if place.path is None else _identity(place.path)
    try:
        yield listener
    finally:
        listener.close()
        # Another server may listen there by now.
        if place.path is not None and _identity(place.path) == made:
            place.path.unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        status = path.lstat()
        return status.st_dev, status.st_ino
    return None


def listen(place: ListenAddress) -> socket.socket:
    """A socket that listens there. Raises OutputError, UsageError."""
    if place.fd is not None:
        return _inherited(place.fd)
    if place.path is not None:
        return _unix(place.path)
    return _internet(place.host.strip("[]"), place.port)


def shown(listener: socket.socket) -> str:
    """Where a socket listens, as a client writes it."""
    name = listener.getsockname()
    if isinstance(name, (str, bytes)):
        return f"unix:{os.fsdecode(name)}"
    host, port = name[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _internet(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"no such address: {why}", option="host", value=host) from error
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        raise OutputError(f"{where}: cannot listen there: {error.strerror}") from error
    return listener


def _unix(path: Path) -> socket.socket:
    """A unix socket that its owner and group may use; what a dead server left there is replaced."""
    if not hasattr(socket, "AF_UNIX"):
        raise UsageError("this system has no unix sockets", option="socket", value=path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear(path)
        before = os.umask(0o117)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        why = error.strerror or str(error)
        raise OutputError(f"{path}: cannot listen there: {why}") from error
    return listener


def _clear(path: Path) -> None:
    """Remove a socket that nobody listens at. Raises OSError for anything else that is there."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise FileExistsError(17, "another file is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(98, "another server listens there")


def _inherited(fd: int) -> socket.socket:
    listener = None
    with suppress(OSError):
        listener = socket.socket(fileno=fd)
    if listener is None or not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise UsageError("is no socket that listens", option="fd", value=fd)
    return listener
