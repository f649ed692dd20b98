"""Photos, in the shapes in which clients of OpenAI's API send them."""

from collections.abc import Iterable
from typing import Any

from birefcli.serve import fields
from birefcli.serve.content import MOST_FILES, Content
from birefcli.serve.errors import Code, RequestError
from birefcli.serve.orders import ImageInput

FIELDS = ("image", "images", "image_url", "url", "input_references")
KEYS = ("image_url", "url", "b64_json", "image")
"""Where an object has its picture."""


def read_photos(content: Content, max_body: int) -> tuple[tuple[ImageInput, ...], str]:
    """Photos of a form or of JSON, and the field they are in. Raises RequestError."""
    named = [
        (name, item)
        for name in FIELDS
        for item in (*content.files.get(name, ()), *_listed(content.values.get(name, ())))
    ]
    if not named:
        raise RequestError(Code.MISSING_IMAGE, _missing(content), "image")
    field = named[0][0]
    _check_number(len(named), field)
    return tuple(image_input(item, name, max_body) for name, item in named), field


def read_parts(parts: Iterable[object], field: str, max_body: int) -> tuple[ImageInput, ...]:
    """Photos of a chat's message; ``parts``: its objects. Raises RequestError."""
    found = list(parts)
    _check_number(len(found), field)
    return tuple(image_input(part, field, max_body) for part in found)


def image_input(item: Any, field: str, max_body: int) -> ImageInput:  # noqa: ANN401 - of JSON
    """One photo: a file, a URL, base64, or an object that has one of these. Raises RequestError."""
    if isinstance(item, bytes):
        return item
    if isinstance(item, dict):
        return fields.image_input(_inside(item, field), field, max_body)
    return fields.image_input(item, field, max_body)


def _inside(item: dict[str, Any], field: str) -> Any:  # noqa: ANN401 - of JSON
    for key in KEYS:
        inner = item.get(key)
        if inner is not None:
            return inner.get("url") if isinstance(inner, dict) else inner
    why = "no files are kept here" if "file_id" in item else "an object without a picture"
    raise RequestError(
        Code.INVALID_VALUE, f"{field}: {why}; give a URL or a data URL in image_url", field
    )


def _listed(values: Iterable[Any]) -> list[Any]:
    return [each for value in values for each in (value if isinstance(value, list) else [value])]


def _missing(content: Content) -> str:
    other = next((name for name in content.files), None)
    hint = f"; the form calls it {other[:40]!r}" if other else ""
    return f"no photo: send it as a form's image, or as image_url in JSON{hint}"


def _check_number(photos: int, field: str) -> None:
    if photos > MOST_FILES:
        raise RequestError(
            Code.TOO_MANY_IMAGES, f"{field}: {photos} photos; at most {MOST_FILES}", field
        )
