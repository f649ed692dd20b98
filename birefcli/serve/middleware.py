"""Around every request: who asks, how much and how long it may send, and what is said of it after.

Pure ASGI, so that a handler hears when its client leaves.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from birefcli.serve import dialects, request_log
from birefcli.serve.admission import Admission
from birefcli.serve.errors import Code, RequestError
from birefcli.serve.keys import Keys
from birefcli.serve.service import Service
from birefcli.serve.visit import Visit, keep, request_id

LOGGER = logging.getLogger(__name__)
BODY_SECONDS = 30.0
LINGER_SECONDS = 5.0
"""A refused body is read on for so long, and dropped: who still sends hears no answer."""
OPEN = frozenset({"/", "/healthz", "/readyz", "/openapi.json"})
"""Endpoints that want no key."""


ENDPOINTS = (
    "POST /v1/matte",
    "POST /v1/images/edits",
    "POST /v1/chat/completions",
    "GET /v1/models",
    "POST /api/remove",
    "GET /openapi.json",
)
"""Whoever asks for something else is told of these."""


class Body:
    """A request's body as it comes in, within limits."""

    def __init__(
        self,
        receive: Receive,
        headers: Headers,
        limit: int,
        admission: Admission,
        seconds: float = BODY_SECONDS,
    ) -> None:
        """``limit``: in bytes; ``seconds``: for all of it."""
        self._receive, self._limit, self._admission = receive, limit, admission
        self._deadline = time.monotonic() + seconds
        length = headers.get("content-length", "")
        self._stated = int(length) if length.isascii() and length.isdigit() else None
        self._waits = headers.get("expect", "").lower() == "100-continue"
        self._ended = self._stated == 0
        self.size = 0
        """Bytes so far."""
        self._counted = 0

    async def receive(self) -> Message:
        """The next message. Raises RequestError for a body that is too large or too slow."""
        if self._ended:
            return await self._receive()
        if self._stated is not None and self._stated > self._limit:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._deadline - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            self._deadline = 0.0
            raise RequestError(Code.REQUEST_TIMEOUT, "the body came too slowly") from None
        if message["type"] != "http.request":
            self._ended = True
            return message
        part = len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        self.size += part
        if self.size > self._limit:
            raise self._too_large()
        self._admission.take_body(part, self._counted)
        self._counted += part
        return message

    async def drop_rest(self) -> None:
        """Read what is still sent of a refused body, for a while, and keep nothing of it.

        A client that waits to be asked for its body sends none.
        """
        left = self._limit
        if self._ended or (self._waits and not self.size) or not self._deadline:
            return
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while left > 0:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    if not message.get("more_body", False):
                        self._ended = True
                        return
        except TimeoutError:
            pass

    def close(self) -> None:
        """Its bytes are no longer held."""
        self._admission.drop_body(self._counted)
        self._counted = 0

    def _too_large(self) -> RequestError:
        return RequestError(
            Code.REQUEST_TOO_LARGE, f"the body has more than {self._limit / 1e6:g} MB"
        )


class Requests:
    """The service's outermost ASGI application, but for CORS."""

    def __init__(
        self,
        app: ASGIApp,
        service: Service,
        keys: Keys | None,
        known_paths: Callable[[str], bool],
    ) -> None:
        """``known_paths``: whether there is such an endpoint; others are not logged by name."""
        self._app, self._service, self._keys = app, service, keys
        self._known = known_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        path = scope["path"]
        visit = Visit(
            request_id(headers.get("x-request-id")),
            dialects.name_of(path),
            scope["method"],
            path if self._known(path) else "-",
        )
        keep(scope, visit)
        scope["app"] = self  # then the router raises what it does not find
        options = self._service.options
        body = Body(receive, headers, options.max_body, self._service.admission)
        answer = _Answer(send, visit)
        try:
            self._check_key(path, headers, visit)
            await self._app(scope, body.receive, answer.send)
        except RequestError as error:
            await self._refuse(error, scope, body, answer, visit)
        except HTTPException as error:
            await self._refuse(_unrouted(error), scope, body, answer, visit)
        except ClientDisconnect:
            self._service.metrics.cancelled.inc()
        except Exception:
            LOGGER.exception("request %s failed", visit.id)
            bug = RequestError(Code.INTERNAL, f"a bug; the log has it as {visit.id}")
            await self._refuse(bug, scope, body, answer, visit)
        finally:
            visit.bytes_in = body.size
            body.close()
            self._count(visit)

    def _check_key(self, path: str, headers: Headers, visit: Visit) -> None:
        if self._keys is None or path in OPEN:
            return
        scheme, _, token = headers.get("authorization", "").partition(" ")
        key = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        if not key:
            raise RequestError(
                Code.INVALID_API_KEY, "no key: send Authorization: Bearer KEY, or X-Api-Key: KEY"
            )
        name = self._keys.name_of(key)
        if name is None:
            raise RequestError(Code.INVALID_API_KEY, "wrong key")
        visit.key = name

    async def _refuse(
        self, error: RequestError, scope: Scope, body: Body, answer: "_Answer", visit: Visit
    ) -> None:
        visit.code = error.code.word
        self._service.metrics.refused.labels(error.code.word).inc()
        if answer.started:  # too late for another
            return
        body.close()
        await body.drop_rest()
        response = dialects.error_of(scope["path"], error)
        if error.retry_after is not None:
            response.headers["retry-after"] = str(error.retry_after)
        if error.code is Code.INVALID_API_KEY:
            response.headers["www-authenticate"] = "Bearer"
        response.headers.update(error.headers)
        await response(scope, body.receive, answer.send)

    def _count(self, visit: Visit) -> None:
        metrics = self._service.metrics
        metrics.requests.labels(visit.dialect, str(visit.status or "left")).inc()
        metrics.request_seconds.observe(visit.seconds)
        request_log.log(visit, as_json=self._service.options.json_log)


def _unrouted(error: HTTPException) -> RequestError:
    """A path or a method that does not exist."""
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = dict(error.headers or {})
        text = f"use {headers.get('Allow', 'another method')} there"
        return RequestError(Code.METHOD_NOT_ALLOWED, text, headers=headers)
    return RequestError(Code.NOT_FOUND, f"no such endpoint; there are {', '.join(ENDPOINTS)}")


class _Answer:
    """Sends an answer, with what every answer says of itself."""

    def __init__(self, send: Send, visit: Visit) -> None:
        self._send, self._visit = send, visit
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self._visit.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in self._visit.headers.items():
                headers.setdefault(name, value)
            headers.setdefault("x-content-type-options", "nosniff")
        elif message["type"] == "http.response.body":
            self._visit.bytes_out += len(message.get("body", b""))
        await self._send(message)
