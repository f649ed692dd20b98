"""What a request brings: a body that is a photo, a form, or JSON; read into memory, within limits.

A photo never reaches a disk: the parser of forms keeps all of it in memory.
"""

import json
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import Request

from birefcli.errors import Message, Option
from birefcli.serve.errors import Code, RequestError, in_words

MOST_FILES = 16
MOST_FIELDS = 64
MOST_VALUES = 10_000
"""Of JSON."""
MOST_ESCAPED = 100_000
"""Letters of an urlencoded form that are escaped, which takes a hundred times as long."""
STRIPPED = Message(
    "the photo came without its line breaks and zero bytes, which curl leaves out; send it with ",
    Option("data_binary", "@FILE"),
)
FORM = re.compile(rb"[a-z_]{1,32}(\[\])?=")
"""How an urlencoded form begins, which no picture does."""


@dataclass(frozen=True)
class Content:
    """Of a request."""

    raw: bytes = b""
    """The body, where it is neither a form nor JSON."""
    values: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """By field: text of a form, whatever JSON has."""
    files: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)
    """By field: what a form uploads."""

    def value(self, name: str) -> Any:  # noqa: ANN401 - whatever JSON has
        """The last value of a field, None without any."""
        values = self.values.get(name, ())
        return values[-1] if values else None


class _FormInMemory(MultiPartParser):
    spool_max_size = 1 << 62  # bytes; all that a body may have


async def read_content(request: Request, max_body: int) -> Content:
    """Read a request's body to its end. Raises RequestError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "multipart/form-data":
            async with aclosing(_stream(request)) as stream:
                parser = _FormInMemory(
                    _boundary(request), stream, max_files=MOST_FILES, max_fields=MOST_FIELDS,
                    max_part_size=max_body,
                )  # fmt: skip
                return await _of_form(await parser.parse())
        body = await request.body()
        if kind == "application/json" or kind.endswith("+json"):
            return Content(values=_of_json(body))
        if kind == "application/x-www-form-urlencoded" and FORM.match(body):
            return await _of_form(await _urlencoded(request, body, max_body))
        if kind == "application/x-www-form-urlencoded" and _is_stripped(body):
            raise RequestError(Code.INVALID_IMAGE, in_words(STRIPPED))
    except MultiPartException as error:
        message = error.message.rstrip(".")
        too_many = "Too many files" in message
        code = Code.TOO_MANY_IMAGES if too_many else Code.INVALID_VALUE
        raise RequestError(code, f"the form cannot be read: {message}") from None
    return Content(raw=body)


def _is_stripped(body: bytes) -> bool:
    """Whether these are bytes of a file without those that curl's option for text leaves out.

    Each format of photos has one of them within its header.
    """
    return not (body.isascii() or set(b"\r\n\0") & set(body))


def _boundary(request: Request) -> Headers:
    """The type of a form's body, less all that it may say but its boundary.

    Its ``charset`` would have Python decode each field by any codec it has, of which some are slow
    and some fail: what a field holds is UTF-8.
    """
    _, options = parse_options_header(request.headers["content-type"])
    boundary = options.get(b"boundary", b"")
    if not boundary or set(boundary) & set(b'"\\\r\n'):
        raise RequestError(Code.INVALID_VALUE, "the form cannot be read: it names no boundary")
    return Headers(raw=[(b"content-type", b'multipart/form-data; boundary="%s"' % boundary)])


async def _stream(request: Request) -> AsyncGenerator[bytes, None]:
    async with aclosing(request.stream()) as stream:
        async for chunk in stream:
            yield chunk


async def _urlencoded(request: Request, body: bytes, max_body: int) -> FormData:
    if body.count(b"&") > MOST_FIELDS or body.count(b"%") > MOST_ESCAPED:
        raise RequestError(
            Code.INVALID_VALUE, "too much for an urlencoded form: send a multipart form, or JSON"
        )

    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    parser = FormParser(request.headers, whole(), max_fields=MOST_FIELDS, max_part_size=max_body)
    return await parser.parse()


async def _of_form(form: FormData) -> Content:
    values: dict[str, tuple[Any, ...]] = {}
    files: dict[str, tuple[bytes, ...]] = {}
    for name, item in form.multi_items():
        plain = name.removesuffix("[]")
        if isinstance(item, UploadFile):
            files[plain] = (*files.get(plain, ()), await item.read())
        else:
            values[plain] = (*values.get(plain, ()), item)
    await form.close()
    return Content(values=values, files=files)


def _of_json(body: bytes) -> dict[str, tuple[Any, ...]]:
    # Base64 has none of these; a million small values would take all others' time and memory.
    if sum(map(body.count, b"{[,")) > MOST_VALUES:
        raise RequestError(Code.INVALID_VALUE, f"the body has more than {MOST_VALUES:,} values")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        where = f" ({error.msg})" if isinstance(error, json.JSONDecodeError) else ""
        raise RequestError(Code.INVALID_VALUE, f"the body is no JSON{where}") from None
    if not isinstance(found, dict):
        raise RequestError(Code.INVALID_VALUE, "the body is no JSON object")
    return {str(name): (value,) for name, value in found.items() if value is not None}
