"""Pictures by URL, fetched so that a client learns nothing of this machine's network.

Any URL may name a host inside, or a name whose address changes between a check and the connection.
So the check lies in the connection itself: a name is resolved once, all its addresses are judged,
and one of those very addresses is connected to. Each connection serves one request, hence none
outlives its judgement. This is httpcore2 below httpx2's client, which would keep cookies, decode
bodies and log URLs.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import TypeAlias

import httpcore2

from birefcli import __version__
from birefcli.errors import printable
from birefcli.serve.addresses import resolve
from birefcli.serve.errors import Code, RequestError
from birefcli.serve.judged_network import FetchError, JudgedNetwork
from birefcli.serve.urls import UrlError, UrlPolicy, UrlTarget
from birefcli.system import process_settings

__all__ = ["Fetcher", "Resolve", "UrlPolicy"]

LOGGER = logging.getLogger(__name__)
Resolve: TypeAlias = Callable[[str, int], Sequence[str]]
"""(host name, port) to addresses, the best first; raises OSError. It is called in a thread."""

MAX_REDIRECTS = 3
FREE_PIECES, MEAN_PIECE = 10_000, 512
"""Pieces of a body that may be of any size, and then bytes a piece: a body in single bytes would
keep this process busy for as long as it may take."""
RESOLVERS = 64  # a slow name holds its thread when nobody waits for it any more
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HTTP_ERRORS = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    OSError,  # TLS fails so once a connection stands
)
_PLAIN = frozenset({b"", b"identity", b"aws-chunked"})  # some stores keep the last of an upload


class _TooLargeError(Exception):
    """The body is larger than allowed."""


class Fetcher:
    """Fetches bodies of URLs, many at once; belongs to one event loop."""

    def __init__(
        self, policy: UrlPolicy, max_body: int, *, timeout: float = 10.0, resolve: Resolve = resolve
    ) -> None:
        """``max_body``: bytes of a body; ``timeout``: seconds for all of one fetch."""
        process_settings.silence_http_client()
        self._policy, self._max_body, self._timeout = policy, max_body, timeout
        self._resolve = resolve
        # Its own: names that do not resolve must keep no photo from being decoded.
        self._threads = ThreadPoolExecutor(RESOLVERS, "resolve")
        # Certificates that SSL_CERT_FILE names count: a store inside may have its own.
        self._tls = httpcore2.default_ssl_context()

    async def aclose(self) -> None:
        """Resolve no more names."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def fetch(
        self, url: str, param: str | None, count: Callable[[int], None] = lambda _: None
    ) -> bytes:
        """The body at ``url``. ``count`` hears of the bytes of each piece, and may raise.

        :raises RequestError: with ``param``. URL_NOT_ALLOWED follows from the URL's text alone;
            URL_FAILED has one text for all that the network tells, also for a name whose
            addresses are not allowed: else a client could ask which names exist inside.
            REQUEST_TOO_LARGE for a body above the limit.
        """
        try:
            target = UrlTarget.parse(url)
            self._policy.check(target)
        except UrlError as refusal:
            raise RequestError(Code.URL_NOT_ALLOWED, str(refusal), param) from None
        host = target.host
        try:
            async with asyncio.timeout(self._timeout):
                return await self._follow(target, count)
        except TimeoutError:
            failed = FetchError("timeout")
        except FetchError as failure:
            failed = failure
        except _TooLargeError:
            text = f"the body from {host} is larger than {self._max_body / 1e6:g} MB"
            raise RequestError(Code.REQUEST_TOO_LARGE, text, param) from None
        LOGGER.info("nothing fetched from %s: %s", host, failed)
        nothing = (
            f"nothing could be fetched from {host}: there is no such host, its address is not "
            "public, or it does not answer properly"
        )
        raise RequestError(Code.URL_FAILED, failed.told or nothing, param)

    async def _follow(self, target: UrlTarget, count: Callable[[int], None]) -> bytes:
        first, network = target.host, JudgedNetwork(self._policy, self._addresses)
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._get(target, network, count)
            if isinstance(answer, bytes):
                return answer
            try:
                target = target.redirected(answer)
                self._policy.check(target)
            except UrlError as refusal:
                told = f"{first} redirects to a URL that is not fetched"
                raise network.failed(f"redirect: {refusal}", told) from None
        raise network.failed("redirects", f"{first} redirects more than {MAX_REDIRECTS} times")

    async def _get(
        self, target: UrlTarget, network: JudgedNetwork, count: Callable[[int], None]
    ) -> bytes | str:
        """One request on a connection of its own: the body, or where it redirects to."""
        request = _request(target)
        connection = httpcore2.AsyncHTTPConnection(
            request.url.origin, self._tls, network_backend=network
        )
        try:
            response = await connection.handle_async_request(request)
            network.begin_body()
            headers = {name.lower(): value for name, value in response.headers}
            if response.status in _REDIRECTS and b"location" in headers:
                return headers[b"location"].decode("utf-8", "replace")
            problem = _problem(response.status, headers)
            if problem is not None:
                raise network.failed(problem, f"{target.host} {problem}")
            return await self._body(response, headers, count)
        except _HTTP_ERRORS as error:
            raise FetchError(_logged(error)) from None
        finally:
            await network.close()

    async def _body(
        self,
        response: httpcore2.Response,
        headers: dict[bytes, bytes],
        count: Callable[[int], None],
    ) -> bytes:
        if int(headers.get(b"content-length", b"0")) > self._max_body:  # h11 has checked its digits
            raise _TooLargeError
        body, seen = bytearray(), 0
        async with aclosing(response.aiter_stream()) as pieces:
            async for piece in pieces:
                seen += 1
                if len(body) + len(piece) > self._max_body:
                    raise _TooLargeError
                if seen > FREE_PIECES and len(body) < seen * MEAN_PIECE:
                    raise FetchError("a body in tiny pieces")
                count(len(piece))
                body += piece
                await asyncio.sleep(0)  # tens of thousands may have come with one packet
        return bytes(body)

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, self._resolve, host, port)
        except (OSError, UnicodeError):
            raise FetchError("no such host") from None


def _request(target: UrlTarget) -> httpcore2.Request:
    url = httpcore2.URL(
        scheme=target.url.raw_scheme,
        host=target.host,
        port=target.port,
        target=target.url.raw_path,
    )
    headers: dict[bytes | str, bytes | str] = {
        "Host": target.authority,
        "Accept": "image/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
        "User-Agent": f"birefcli/{__version__}",
    }
    return httpcore2.Request("GET", url, headers=headers)


def _problem(status: int, headers: dict[bytes, bytes]) -> str | None:
    """Why an answer has no picture for us."""
    if status not in (200, 203):  # 203: of a proxy that changed it
        return f"answered {status}"
    if headers.get(b"content-encoding", b"").strip().lower() not in _PLAIN:
        return "answered with a compressed body, which was not asked for"
    return None


def _logged(error: Exception) -> str:
    """An error of the connection for the log; others hold what the server sent."""
    detail = f" ({printable(str(error))})" if isinstance(error, httpcore2.ConnectError) else ""
    return f"{type(error).__name__}{detail}"
