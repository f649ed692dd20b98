"""Where the Ray cluster is that this process runs in, and whether a cluster answers there."""

import os
import re
import socket
from typing import NamedTuple

from birefcli.errors import DeviceError, UsageError

ADDRESS = "RAY_ADDRESS"
AUTO = "auto"
ANSWER = 5.0  # seconds that a cluster may take to answer a connection
_FORM = re.compile(r"(?P<host>[^\s:\[\]]+|\[[0-9A-Fa-f:.]+(?:%\w+)?\]):(?P<port>[0-9]{1,5})")
# Clusters speak HTTP/2: each side begins with a frame of settings, which the client's may be empty.
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_SETTINGS = 4  # the type of that frame, in its fourth byte


class Address(NamedTuple):
    """Of a cluster's head."""

    host: str
    """Without brackets."""
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def find_address() -> str:
    """Where the cluster is that this process runs in; it answers. Raises DeviceError, UsageError.

    Ray itself would try for minutes, or start a cluster of its own.
    """
    given = os.environ.get(ADDRESS, "").strip()
    if given not in ("", AUTO):
        address = _parse(given)
    else:
        found = _address_here()
        if found == AUTO:
            return AUTO
        address = _parse(found)
    _see_that_it_answers(address)
    return str(address)


def _parse(text: str) -> Address:
    """Raises UsageError."""
    if "://" in text:
        hint = "submit a job to the cluster instead: ray job submit -- birefcli ..."
        wrong = f"{ADDRESS} is {text}, and photos cannot be dealt out from outside a cluster"
        raise UsageError(wrong, option="on", value="ray", hint=hint)
    found = _FORM.fullmatch(text)
    if found is None or not 0 < int(found["port"]) < 1 << 16:
        local = ", which asks for a cluster of its own" if text == "local" else ""
        wrong = f"{ADDRESS} is {text!r}{local}, and names no cluster"
        hint = "write HOST:PORT of its head, like 10.0.0.5:6379 or [fd00::5]:6379; or unset it"
        raise UsageError(wrong, option="on", value="ray", hint=hint)
    return Address(found["host"].strip("[]"), int(found["port"]))


def _address_here() -> str:
    """That of a cluster with a node on this machine."""
    try:
        from ray._private.services import get_ray_address_from_environment as found
    except ImportError:  # it is Ray's own affair, and ray.init finds it as well
        return AUTO
    try:
        return str(found(AUTO, None))
    except ConnectionError:
        raise no_cluster("none runs on this machine") from None


def _see_that_it_answers(address: Address) -> None:
    """Raises DeviceError."""
    try:
        with socket.create_connection(address, ANSWER) as connection:
            if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
                return
            connection.sendall(_HELLO)
            answer = connection.recv(4, socket.MSG_WAITALL)
    except (OSError, UnicodeError) as error:  # the second for what can be no name of a host
        why = getattr(error, "strerror", None) or str(error)
        raise no_cluster(f"{address}: {why}") from None
    if len(answer) < 4 or answer[3] != _SETTINGS:
        raise no_cluster(f"{address}: what answers there is none")


def no_cluster(why: str) -> DeviceError:
    """Why no cluster can be joined, and what to do."""
    hint = f"start one with ray start, or name one in {ADDRESS}"
    return DeviceError(f"there is no Ray cluster: {why}", option="on", value="ray", hint=hint)
