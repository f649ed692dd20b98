"""``POST /v1/images/edits`` and ``/v1/images/generations``: photos to a list of pictures."""

import time
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from birefcli.options import Format, Product
from birefcli.serve import fields
from birefcli.serve.content import Content, read_content
from birefcli.serve.dialects.json_files import JsonFiles
from birefcli.serve.dialects.openai.photos import read_photos
from birefcli.serve.dialects.openai.rendering import read_rendering, text_of
from birefcli.serve.dialects.openai.shapes import data_url, events, picture_of
from birefcli.serve.errors import Code, RequestError
from birefcli.serve.orders import MattedPhoto, Order

EDIT, GENERATION = "image_edit.completed", "image_generation.completed"
"""Types of events."""
WORDS = {Format.PNG: "png", Format.WEBP: "webp", Format.JPG: "jpeg"}
NO_TOKENS = {
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "total_tokens": 0,
}
"""Nobody is billed."""


@dataclass(frozen=True)
class ImagesOrder(Order):
    """Photos, and how their pictures are sent."""

    event: str | None = None
    """Type of the events in which pictures come; None: in one list."""
    as_url: bool = False
    """In data URLs."""


async def read_edit(request: Request, max_body: int) -> ImagesOrder:
    """What a request for edits asks for. Raises RequestError."""
    return _order(await read_content(request, max_body), EDIT, max_body)


async def read_generation(request: Request, max_body: int) -> ImagesOrder:
    """What a request for new pictures asks for, where it brings photos. Raises RequestError."""
    return _order(await read_content(request, max_body), GENERATION, max_body)


def _order(content: Content, event: str, max_body: int) -> ImagesOrder:
    (rendering, notes), background = read_rendering(content)
    photos, field = read_photos(content, max_body)
    model = content.value("model")
    return ImagesOrder(
        photos=photos,
        rendering=rendering,
        background=background,
        model=None if model is None else fields.word(model, "model"),
        field=field,
        notes=notes,
        event=event if fields.switch(text_of(content, "stream", "false"), "stream") else None,
        as_url=_as_url(content),
    )


def _as_url(content: Content) -> bool:
    word = text_of(content, "response_format", "b64_json")
    if word not in ("b64_json", "url"):
        wrong = f"response_format={word[:40]}: choose b64_json or url"
        raise RequestError(Code.INVALID_VALUE, wrong, "response_format")
    return word == "url"


def answer(request: Request, order: ImagesOrder, results: list[MattedPhoto]) -> Response:
    """A list of pictures, or an event for each."""
    now, files = int(time.time()), JsonFiles()
    if order.event is not None:
        return events(files, [_event(files, order, each, now) for each in results])
    sizes = {str(picture_of(each).size) for each in results}
    said = {
        "created": now,
        **_look(order),
        **({"size": sizes.pop()} if len(sizes) == 1 else {}),
        "data": [_entry(files, order, each) for each in results],
        "usage": {**NO_TOKENS, "output_tokens_details": {"image_tokens": 0, "text_tokens": 0}},
    }
    return files.response(said)


def _event(files: JsonFiles, order: ImagesOrder, matted: MattedPhoto, now: int) -> dict[str, Any]:
    picture = picture_of(matted)
    return {
        "type": order.event,
        "b64_json": files.add(picture.data),
        "created_at": now,
        **_look(order),
        "size": str(picture.size),
        "quality": "auto",
        "usage": NO_TOKENS,
        **_measures(matted),
    }


def _entry(files: JsonFiles, order: ImagesOrder, matted: MattedPhoto) -> dict[str, Any]:
    picture = picture_of(matted)
    if order.as_url:
        return {"url": data_url(files, picture, order.rendering.format), **_measures(matted)}
    return {"b64_json": files.add(picture.data), **_measures(matted)}


def _look(order: ImagesOrder) -> dict[str, str]:
    cutout = order.rendering.products == (Product.CUTOUT,)
    return {
        "background": "transparent" if cutout else "opaque",
        "output_format": WORDS[order.rendering.format],
    }


def _measures(matted: MattedPhoto) -> dict[str, Any]:
    """What OpenAI's API does not say."""
    size = picture_of(matted).size
    return {
        **matted.measures(),
        "width": size.width,
        "height": size.height,
        "notes": list(matted.notes),
    }
