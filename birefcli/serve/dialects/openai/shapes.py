"""What several of OpenAI's answers have in common."""

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.responses import Response

from birefcli.options import Format
from birefcli.serve.dialects import own
from birefcli.serve.orders import Matted, Picture


def picture_of(matted: Matted) -> Picture:
    """The one product that this dialect makes of a photo."""
    (picture,) = matted.pictures.values()
    return picture


def in_base64(picture: Picture) -> str:
    """Its file."""
    return base64.b64encode(picture.data).decode("ascii")


def data_url(picture: Picture, file_format: Format) -> str:
    """Its file as a URL."""
    return f"data:{own.MEDIA[file_format]};base64,{in_base64(picture)}"


def events(items: Iterable[Mapping[str, Any]], *, done: bool) -> Response:
    """Server-sent events, named by their ``type`` where they have one; ``done``: say the end."""
    parts = []
    for item in items:
        name = f"event: {item['type']}\n" if "type" in item else ""
        parts.append(f"{name}data: {json.dumps(item)}\n\n")
    if done:
        parts.append("data: [DONE]\n\n")
    return Response("".join(parts), media_type="text/event-stream")
