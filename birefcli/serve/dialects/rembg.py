"""rembg's dialect: ``GET`` and ``POST /api/remove``."""

from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from birefcli.serve.errors import RequestError


def routes(service: object, orders: object) -> list[BaseRoute]:
    """Endpoints."""
    return []


def error(failed: RequestError) -> Response:
    """As rembg's own server says it."""
    return JSONResponse({"detail": failed.message}, failed.code.status)
