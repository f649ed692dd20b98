"""Connections to addresses that are judged first: what a name resolves to may change any moment."""

import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from itertools import zip_longest
from typing import Any

import httpcore2

from birefcli.serve.addresses import Reach, literal, reach
from birefcli.serve.urls import UrlPolicy

ATTEMPTS = 4  # addresses of one name: more than that is no store but a scan
ATTEMPT_SECONDS = 2.0
"""Until the next address is tried: many machines have an IPv6 address that leads nowhere."""
HEAD_BYTES, HEAD_PIECE = 32768, 2048
"""Of an answer before its body, and of one read: a hundred answers "100 Continue" in each read
would keep this process busy for as long as they come."""


class FetchError(Exception):
    """Nothing fetched: ``told`` is for the client, None where it would tell what lies there."""

    def __init__(self, reason: str, told: str | None = None) -> None:
        super().__init__(reason)
        self.told = told


class JudgedNetwork(httpcore2.AsyncNetworkBackend):
    """The connections of one fetch, one after the other: to addresses that a policy permits."""

    def __init__(
        self, policy: UrlPolicy, resolve: Callable[[str, int], Awaitable[Sequence[str]]]
    ) -> None:
        self._policy, self._resolve = policy, resolve
        self._stream: _Stream | None = None
        self._public = True

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to one of the addresses of ``host``, all of which must be permitted."""
        addresses = [host] if literal(host) else await self._resolve(host, port)
        for address in addresses:
            if not self._policy.permits(address):
                raise FetchError(f"its address {address} is not permitted")
        self._public &= all(reach(address) is Reach.PUBLIC for address in addresses)
        self._stream = _Stream(await _connect(_alternating(addresses)[:ATTEMPTS], port))
        return self._stream

    def failed(self, reason: str, told: str) -> FetchError:
        """A failure whose text a client may read, unless it tells of a host inside."""
        return FetchError(reason, told if self._public else None)

    def begin_body(self) -> None:
        """The last connection's answer has begun: what comes now is counted by its reader."""
        if self._stream is not None:
            self._stream.head_left = None

    async def close(self) -> None:
        """Close the last connection, whatever state it is in."""
        if self._stream is not None:
            await self._stream.aclose()
            self._stream = None


class _Stream(httpcore2.AsyncNetworkStream):
    """A connection, with TLS or without, whose answer has to begin soon."""

    def __init__(self, inner: httpcore2.AsyncNetworkStream) -> None:
        self._inner = inner
        self.head_left: int | None = HEAD_BYTES

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self.head_left is None:
            return await self._inner.read(max_bytes, timeout)
        if self.head_left <= 0:
            raise FetchError("an answer that does not begin")
        data = await self._inner.read(min(max_bytes, HEAD_PIECE), timeout)
        self.head_left -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self._inner = await self._inner.start_tls(ssl_context, server_hostname, timeout)
        return self

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - as the base has it
        return self._inner.get_extra_info(info)


async def _connect(addresses: Sequence[str], port: int) -> httpcore2.AsyncNetworkStream:
    """Connect to the first address that answers; the last may take its time."""
    backend = httpcore2.AnyIOBackend()
    for address in addresses[:-1]:
        with suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
            return await backend.connect_tcp(address, port, timeout=ATTEMPT_SECONDS)
    if not addresses:
        raise FetchError("no address")
    return await backend.connect_tcp(addresses[-1], port)


def _alternating(addresses: Sequence[str]) -> list[str]:
    """Addresses in their order, but IPv6 and IPv4 in turn: one of them may lead nowhere."""
    six = [address for address in addresses if ":" in address]
    four = [address for address in addresses if ":" not in address]
    first, second = (six, four) if addresses and ":" in addresses[0] else (four, six)
    return [address for pair in zip_longest(first, second) for address in pair if address]
