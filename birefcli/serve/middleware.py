"""Around every request: who asks, how much and how long it may send, and what is said of it after.

Pure ASGI, so that a handler hears when its client leaves.
"""

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from birefcli.serve import dialects, request_log
from birefcli.serve.admission import Admission
from birefcli.serve.body import Body
from birefcli.serve.errors import Code, RequestError
from birefcli.serve.keys import Keys
from birefcli.serve.origin import check_origin
from birefcli.serve.request_record import REQUEST, RequestRecord, keep, request_id
from birefcli.serve.service import RETRY_SECONDS, Service

LOGGER = logging.getLogger(__name__)
PIECE = 1 << 20  # bytes of an answer that are sent at once
PIECE_SECONDS = 60.0
"""Who does not take a piece within this time has given up."""
KEYLESS = frozenset({"/", "/healthz", "/readyz", "/openapi.json"})
"""Endpoints that want no key."""


ENDPOINTS = (
    *("POST /v1/matte", "POST /v1/images/edits", "POST /v1/images/generations"),
    *("POST /v1/chat/completions", "GET /v1/models", "GET /api/remove", "POST /api/remove"),
    *("GET /healthz", "GET /readyz", "GET /metrics", "GET /openapi.json", "GET /"),
)
"""Whoever asks for something else is told of these."""


class Requests:
    """The service's outermost ASGI application, but for CORS."""

    def __init__(
        self,
        app: ASGIApp,
        service: Service,
        keys: Keys | None,
        endpoint: Callable[[str], str | None],
    ) -> None:
        """``endpoint``: a path as the log names it; None: there is no such endpoint."""
        self._app, self._service, self._keys = app, service, keys
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        path = scope["path"]
        record = RequestRecord(
            request_id(headers.get("x-request-id")),
            dialects.name_of(path),
            scope["method"],
            self._endpoint(path) or "-",
        )
        keep(scope, record)
        REQUEST.set(record.id)
        scope["app"] = self  # then the router raises what it does not find
        options = self._service.options
        body = Body(receive, headers, options.max_body, self._service.admission)
        answer = _Answer(send, record, self._service.admission)
        try:
            self._check_key(path, headers, record)
            if self._keys is None and path not in KEYLESS:  # a key is nothing a page could send
                check_origin(headers, options)
            await self._app(scope, body.receive, answer.send)
        except RequestError as error:
            await self._refuse(error, scope, body, answer, record)
        except HTTPException as error:
            await self._refuse(_unrouted(error), scope, body, answer, record)
        except (ClientDisconnect, _NotTakenError) as left:
            self._service.metrics.cancelled.inc()
            if isinstance(left, _NotTakenError):
                raise
        except asyncio.CancelledError:  # the time for what was accepted is over
            late = RequestError(
                Code.DRAINING, "the service stops before it is done", retry_after=RETRY_SECONDS
            )
            body.give_up()
            await self._refuse(late, scope, body, answer, record)
        except Exception:
            LOGGER.exception("request %s failed", record.id)
            bug = RequestError(Code.INTERNAL, f"a bug; the log has it as {record.id}")
            await self._refuse(bug, scope, body, answer, record)
        finally:
            record.bytes_in = body.size
            body.close()
            self._count(record)

    def _check_key(self, path: str, headers: Headers, record: RequestRecord) -> None:
        if self._keys is None or path in KEYLESS:
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
        record.key = name

    async def _refuse(
        self,
        error: RequestError,
        scope: Scope,
        body: Body,
        answer: "_Answer",
        record: RequestRecord,
    ) -> None:
        record.code = error.code.word
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

    def _count(self, record: RequestRecord) -> None:
        metrics = self._service.metrics
        metrics.requests.labels(record.dialect, str(record.status or "left")).inc()
        if record.dialect != "none":  # health checks would hide what photos take
            metrics.request_seconds.observe(record.seconds)
        request_log.log(record)


def _unrouted(error: HTTPException) -> RequestError:
    """A path or a method that does not exist."""
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = dict(error.headers or {})
        text = f"use {headers.get('Allow', 'another method')} there"
        return RequestError(Code.METHOD_NOT_ALLOWED, text, headers=headers)
    return RequestError(Code.NOT_FOUND, f"no such endpoint; there are {', '.join(ENDPOINTS)}")


class _NotTakenError(Exception):
    """A client takes nothing of its answer any more. Raised to have the connection closed."""


class _Answer:
    """Sends an answer, with what every answer says of itself."""

    def __init__(self, send: Send, record: RequestRecord, admission: Admission) -> None:
        self._send, self._record, self._admission = send, record, admission
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self._record.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in self._record.headers.items():
                headers.setdefault(name, value)
            headers.setdefault("x-content-type-options", "nosniff")
        elif message["type"] == "http.response.body":
            await self._send_body(message)
            return
        await self._send(message)

    async def _send_body(self, message: Message) -> None:
        """Send it in pieces, each once the one before is on its way: the rest counts as held."""
        body, more = memoryview(message.get("body", b"")), message.get("more_body", False)
        with self._admission.hold(len(body)):
            for at in range(0, max(1, len(body)), PIECE):
                piece = bytes(body[at : at + PIECE])
                last = at + PIECE >= len(body)
                part = {"type": message["type"], "body": piece, "more_body": more or not last}
                try:
                    async with asyncio.timeout(PIECE_SECONDS):
                        await self._send(part)
                except TimeoutError:
                    raise _NotTakenError from None
                self._record.bytes_out += len(piece)
