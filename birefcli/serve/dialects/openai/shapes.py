"""What several of OpenAI's answers have in common."""

from collections.abc import Iterable, Mapping
from typing import Any

from starlette.responses import Response

from birefcli.options import Format
from birefcli.products.render import ProductFile
from birefcli.serve.dialects import own
from birefcli.serve.dialects.json_files import JsonFiles
from birefcli.serve.orders import MattedPhoto

DONE = b"data: [DONE]\n\n"
"""The last event of a chat."""


def picture_of(matted: MattedPhoto) -> ProductFile:
    """The one product that this dialect makes of a photo."""
    (picture,) = matted.pictures.values()
    return picture


def data_url(files: JsonFiles, picture: ProductFile, file_format: Format) -> str:
    """Its file as a URL."""
    return f"data:{own.MEDIA[file_format]};base64,{files.add(picture.data)}"


def events(files: JsonFiles, items: Iterable[Mapping[str, Any]], end: bytes = b"") -> Response:
    """An answer of server-sent events, named by their ``type`` where they have one."""
    parts = []
    for item in items:
        name = f"event: {item['type']}\n" if "type" in item else ""
        parts += [name.encode(), b"data: ", files.encode(item), b"\n\n"]
    return Response(b"".join([*parts, end]), media_type="text/event-stream")
