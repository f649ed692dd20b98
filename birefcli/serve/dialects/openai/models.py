"""``GET /v1/models``: what is loaded."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from starlette.responses import JSONResponse, Response


@dataclass(frozen=True)
class Entry:
    """A name by which a model can be asked for, as OpenAI's clients read it."""

    id: str
    root: str
    """The model's own name, where ``id`` is an alias."""
    owned_by: str
    """Who published it."""
    created: int
    """Seconds of Unix time."""
    object: str = "model"


def listed(entries: Iterable[Entry]) -> Response:
    """All models."""
    return JSONResponse({"object": "list", "data": [asdict(entry) for entry in entries]})


def retrieved(entry: Entry) -> Response:
    """One model."""
    return JSONResponse(asdict(entry))
