"""``GET /v1/models``: what is loaded."""

from collections.abc import Iterable
from typing import Any

from starlette.responses import JSONResponse, Response


def listed(models: Iterable[tuple[str, str]], created: int) -> Response:
    """All models, each with its name and who published it; ``created``: seconds of Unix time."""
    data = [_entry(name, owner, created) for name, owner in models]
    return JSONResponse({"object": "list", "data": data})


def retrieved(name: str, owner: str, created: int) -> Response:
    """One model."""
    return JSONResponse(_entry(name, owner, created))


def _entry(name: str, owner: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": owner}
