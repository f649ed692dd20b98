"""What a request brings: a body that is a photo, a form, or JSON; read into memory, within limits.

A photo never reaches a disk: the parser of forms keeps all of it in memory.
"""

import json
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import Request

from birefcli.serve.errors import Code, RequestError

MOST_FILES = 16
MOST_FIELDS = 64
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
                    request.headers, stream, max_files=MOST_FILES, max_fields=MOST_FIELDS,
                    max_part_size=max_body,
                )  # fmt: skip
                return await _of_form(await parser.parse())
        body = await request.body()
        if kind == "application/json" or kind.endswith("+json"):
            return Content(values=_of_json(body))
        if kind == "application/x-www-form-urlencoded" and FORM.match(body):
            return await _of_form(await _urlencoded(request, body, max_body))
    except MultiPartException as error:
        message = error.message.rstrip(".")
        few = "Too many files" in message
        code = Code.TOO_MANY_IMAGES if few else Code.INVALID_VALUE
        raise RequestError(code, f"the form cannot be read: {message}") from None
    return Content(raw=body)


async def _stream(request: Request) -> AsyncGenerator[bytes, None]:
    async with aclosing(request.stream()) as stream:
        async for chunk in stream:
            yield chunk


async def _urlencoded(request: Request, body: bytes, max_body: int) -> FormData:
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
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        where = f" ({error.msg})" if isinstance(error, json.JSONDecodeError) else ""
        raise RequestError(Code.INVALID_VALUE, f"the body is no JSON{where}") from None
    if not isinstance(found, dict):
        raise RequestError(Code.INVALID_VALUE, "the body is no JSON object")
    return {str(name): (value,) for name, value in found.items() if value is not None}
