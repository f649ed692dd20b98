"""``POST /v1/chat/completions``: photos of a message, and pictures in the answer."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from birefcli.serve import fields
from birefcli.serve.content import read_content
from birefcli.serve.dialects.json_files import JsonFiles
from birefcli.serve.dialects.openai.photos import read_parts
from birefcli.serve.dialects.openai.rendering import read_rendering, text_of
from birefcli.serve.dialects.openai.shapes import DONE, data_url, events, picture_of
from birefcli.serve.errors import Code, RequestError
from birefcli.serve.orders import MattedPhoto, Order
from birefcli.serve.request_record import record_of

MESSAGES = "messages"
PARTS = ("image_url", "input_image")
NO_TOKENS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


@dataclass(frozen=True)
class ChatOrder(Order):
    """Photos, and how their pictures are sent."""

    stream: bool = False


async def read_order(request: Request, max_body: int) -> ChatOrder:
    """What a chat asks for. Raises RequestError."""
    content = await read_content(request, max_body)
    (rendering, notes), background = read_rendering(content)
    model = content.value("model")
    return ChatOrder(
        photos=read_parts(_last_pictures(content.value(MESSAGES)), MESSAGES, max_body),
        rendering=rendering,
        background=background,
        model=None if model is None else fields.word(model, "model"),
        field=MESSAGES,
        notes=notes,
        stream=fields.switch(text_of(content, "stream", "false"), "stream"),
    )


def _last_pictures(messages: object) -> list[dict[str, Any]]:
    """Picture parts of the last message of the user's that has any. Raises RequestError."""
    if not isinstance(messages, list):
        raise RequestError(Code.INVALID_VALUE, "messages: give a list in JSON", MESSAGES)
    for message in reversed(messages):
        if isinstance(message, dict) and message.get("role") == "user":
            found = list(_pictures(message.get("content")))
            if found:
                return found
    wanted = "a user's message with an image_url part"
    raise RequestError(Code.MISSING_IMAGE, f"no photo: send {wanted}", MESSAGES)


def _pictures(parts: object) -> Iterator[dict[str, Any]]:
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, dict) and part.get("type") in PARTS:
            yield part


def answer(request: Request, order: ChatOrder, results: list[MattedPhoto]) -> Response:
    """A message with pictures, whole or as the one chunk of a stream."""
    files = JsonFiles()
    choice = {
        "index": 0,
        "delta" if order.stream else "message": _message(files, order, results),
        "finish_reason": "stop",
        "logprobs": None,
    }
    said = {
        "id": f"chatcmpl-{record_of(request).id}",
        "object": "chat.completion.chunk" if order.stream else "chat.completion",
        "created": int(time.time()),
        "model": results[0].model,
        "choices": [choice],
        "usage": NO_TOKENS,
    }
    return events(files, [said], DONE) if order.stream else files.response(said)


def _message(files: JsonFiles, order: ChatOrder, results: list[MattedPhoto]) -> dict[str, Any]:
    urls = [data_url(files, picture_of(each), order.rendering.format) for each in results]
    return {
        "role": "assistant",
        "content": "; ".join(_sentence(order, each) for each in results),
        "refusal": None,
        "images": [{"type": "image_url", "image_url": {"url": url}} for url in urls],
    }


def _sentence(order: ChatOrder, matted: MattedPhoto) -> str:
    (kind,) = order.rendering.products
    notes = "".join(f", {note}" for note in matted.notes)
    size = picture_of(matted).size
    return f"{kind.value} {size}, {matted.coverage:.1%} subject{notes}"
