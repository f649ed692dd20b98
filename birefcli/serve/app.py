"""The routes."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp

from birefcli.serve import metrics as prometheus
from birefcli.serve.dialects import own, rembg
from birefcli.serve.dialects.openai import chat, images, models
from birefcli.serve.keys import Keys
from birefcli.serve.middleware import Requests
from birefcli.serve.orders import MattedPhoto, Order
from birefcli.serve.request_record import record_of
from birefcli.serve.service import Service, State

HERE = Path(__file__).parent
CSP = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src 'self'"
    " blob: data:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""What the page may load: nothing from anywhere else."""

Asked = TypeVar("Asked", bound=Order)
SAID = ("X-Coverage", "X-Flags", "X-Model", "X-Request-Id", "Server-Timing", "Retry-After")
"""Headers of answers that pages of other origins may read."""
Read = Callable[[Request, int], Awaitable[Asked]]
Answer = Callable[[Request, Asked, list[MattedPhoto]], Response]
Work = Coroutine[Any, Any, list[MattedPhoto]]
Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


def make_app(service: Service, keys: Keys | None) -> ASGIApp:
    """The ASGI application of a service; ``keys`` None: anybody may ask."""
    options = service.options
    routes = _routes(service)
    paths = {route.path for route in routes if isinstance(route, Route)}

    def endpoint(path: str) -> str | None:
        if path.startswith("/v1/models/"):  # what follows is a client's own word
            return "/v1/models/{name}"
        return path if path in paths else None

    router = Router(routes, redirect_slashes=False)
    wrapped: ASGIApp = Requests(router, service, keys, endpoint)
    if options.cors:
        return CORSMiddleware(
            wrapped,
            allow_origins=list(options.cors),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],  # clients name themselves in headers of their own
            expose_headers=SAID,
        )
    return wrapped


def _routes(service: Service) -> list[BaseRoute]:
    """All endpoints."""
    most = service.options.max_body

    def orders(read: Read[Asked], answer: Answer[Asked]) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            service.check_open()  # before a body is read for nothing
            order = await read(request, most)
            results = await until_gone(request, service.do(order))
            record_of(request).matted(results)
            return answer(request, order, results)

        return endpoint

    routes: list[BaseRoute] = [
        Route("/v1/matte", orders(own.read_order, own.answer), methods=["POST"]),
        Route("/v1/images/edits", orders(images.read_edit, images.answer), methods=["POST"]),
        Route(
            "/v1/images/generations",
            orders(images.read_generation, images.answer),
            methods=["POST"],
        ),
        Route("/v1/chat/completions", orders(chat.read_order, chat.answer), methods=["POST"]),
        Route("/v1/models", _models(service)),
        Route("/v1/models/{name:path}", _model(service)),
        Route(
            "/api/remove",
            orders(rembg.reader(lambda: service.engines.names), rembg.answer),
            methods=["GET", "POST"],
        ),
        Route("/healthz", _health),
        Route("/readyz", _readiness(service)),
        Route("/openapi.json", _openapi),
    ]
    if service.options.metrics:
        routes.append(Route("/metrics", _metrics(service)))
    if service.options.page:
        routes.append(Route("/", _page))
    return routes


async def until_gone(
    request: Request, work: Coroutine[Any, Any, list[MattedPhoto]]
) -> list[MattedPhoto]:
    """What ``work`` ends with; where the client leaves, it is given up.

    Raises ClientDisconnect, and what ``work`` raises.
    """
    task = asyncio.create_task(work)
    leaving = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for each in (task, leaving):
            each.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _models(service: Service) -> Endpoint:
    started = int(time.time())

    async def endpoint(request: Request) -> Response:
        return models.listed([_entry(service, name, started) for name in service.engines.names])

    return endpoint


def _model(service: Service) -> Endpoint:
    started = int(time.time())

    async def endpoint(request: Request) -> Response:
        name = request.path_params["name"] or "/"  # which is none: no name is the default's
        return models.retrieved(_entry(service, name, started))

    return endpoint


def _entry(service: Service, name: str, created: int) -> models.Entry:
    """What is said of a model; of one that is called by its name on the Hub, by its own."""
    engine = service.engines.named(name)
    known = name if name in service.engines.names else engine.name
    return models.Entry(known, engine.name, engine.owner, created)


async def _health(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _readiness(service: Service) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        ready = service.state is State.READY
        body = {"status": service.state.value}
        if ready:
            return JSONResponse(body)
        return JSONResponse(body, 503, headers={"Retry-After": "5"})

    return endpoint


def _metrics(service: Service) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return Response(service.metrics.text(), headers={"Content-Type": prometheus.CONTENT_TYPE})

    return endpoint


async def _openapi(request: Request) -> Response:
    return Response((HERE / "openapi.json").read_bytes(), media_type="application/json")


async def _page(request: Request) -> Response:
    text = (HERE / "page.html").read_text(encoding="utf-8")
    return HTMLResponse(
        text, headers={"Content-Security-Policy": CSP, "Referrer-Policy": "no-referrer"}
    )
