"""OpenAI's dialect: images and chat."""

from starlette.routing import BaseRoute


def routes(service: object, orders: object) -> list[BaseRoute]:
    """Endpoints."""
    return []
