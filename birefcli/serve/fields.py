"""Values of fields, as every dialect has them: sources of pictures, words, numbers, switches."""

import base64
import binascii
import re
import string
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from itertools import islice
from typing import Any

from birefcli.errors import MISSPELLED, UsageError
from birefcli.products.background import Blur, Colour, parse_colour_or_blur
from birefcli.products.background_files import meant_colour
from birefcli.serve.errors import Code, RequestError
from birefcli.serve.orders import ImageInput, Url

DATA_URL = re.compile(r"data:[^,]{0,200}?;base64,", re.IGNORECASE)
LONGEST_WORD = 2000
"""Letters of what is no picture."""
SHORTEST = 40  # letters; no picture is shorter, many a name is
WHITESPACE = string.whitespace.encode()
SAFE = bytes.maketrans(b"-_", b"+/")
"""Base64 for URLs in the usual letters."""
MOST_JUDGED, LONGEST_NAME = 64, 40
"""Fields, and their letters, that are compared with known ones: that takes its time."""
CERTAIN = 0.8
"""How alike two names are where one can only be the other misspelled."""
ON, OFF = ("1", "true", "yes", "on", ""), ("0", "false", "no", "off")


def image_input(value: Any, field: str, max_body: int) -> ImageInput:  # noqa: ANN401 - of JSON
    """A picture's file or URL, from a URL, a data URL or base64. Raises RequestError.

    The type that a data URL declares is not believed.
    """
    if not isinstance(value, str) or not value.strip():
        raise wrong(f"{field}: give a URL, a data URL or base64", field)
    text = value.strip()
    if text[:8].lower().startswith(("http://", "https://")):
        return Url(text)
    if text[:5].lower() == "data:":
        head = DATA_URL.match(text)
        if head is None:
            raise wrong(f"{field}: a data URL must have its picture in base64", field)
        text = text[head.end() :]
    elif re.match(r"[a-z][a-z0-9+.-]*:", text[:20], re.IGNORECASE):
        raise RequestError(
            Code.URL_NOT_ALLOWED, f"{field}: only http, https and data URLs are read", field
        )
    return _decoded(text, field, max_body)


def _decoded(text: str, field: str, max_body: int) -> bytes:
    if len(text) * 3 // 4 > max_body + max_body // 8:  # with room for line breaks
        raise RequestError(
            Code.REQUEST_TOO_LARGE, f"{field}: more than {max_body / 1e6:g} MB", field
        )
    with suppress(binascii.Error, ValueError):
        # In one pass over what may be 50 MB: nobody else is answered meanwhile.
        plain = text.encode("ascii").translate(SAFE, WHITESPACE).rstrip(b"=")
        if len(plain) >= SHORTEST:
            return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    nothing = f"{field}: neither a URL nor a picture in base64"
    raise RequestError(Code.INVALID_IMAGE, nothing, field)


def background(value: Any, max_body: int) -> Colour | Blur | ImageInput:  # noqa: ANN401 - of JSON
    """A CSS colour, ``blur``, ``blur:RADIUS``, or a picture's source. Raises RequestError."""
    text = word(value, "background", most=None)
    if len(text) <= LONGEST_WORD:
        with usage_errors():
            plain = parse_colour_or_blur(text)
        if plain is not None:
            return plain
    try:
        return image_input(text, "background", max_body)
    except RequestError as error:
        if error.code is not Code.INVALID_IMAGE:
            raise
        known = "no CSS colour, blur[:RADIUS], URL or picture in base64"
        meant = f"; {hint}" if (hint := meant_colour(text[:40])) else ""
        raise wrong(f"background={text[:40]}: {known}{meant}", "background") from None


def word(value: Any, field: str, most: int | None = LONGEST_WORD) -> str:  # noqa: ANN401 - of JSON
    """Text of so many letters at most. Raises RequestError."""
    if isinstance(value, (bool, int, float)):
        return str(value).lower()
    if not isinstance(value, str):
        raise wrong(f"{field}: give text", field)
    if most is not None and len(value) > most:
        raise wrong(f"{field}: more than {most} letters", field)
    return value


def switch(value: Any, field: str) -> bool:  # noqa: ANN401 - of JSON
    """Whether something is on. Raises RequestError."""
    text = word(value, field).strip().lower()
    if text not in (*ON, *OFF):
        raise wrong(f"{field}={text[:40]}: give true or false", field)
    return text in ON


def number(value: Any, field: str) -> int:  # noqa: ANN401 - of JSON
    """A whole number. Raises RequestError."""
    text = word(value, field).strip()
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise wrong(f"{field}={text[:40]}: give a whole number", field)
    return int(text)


def meant(name: str, known: Collection[str], likeness: float = MISSPELLED) -> str | None:
    """The known name that this one is a misspelling of; None for what is known, or like none."""
    if name in known or len(name) > LONGEST_NAME:
        return None
    return next(iter(get_close_matches(name, known, 1, likeness)), None)


def refuse_misspelt(given: Iterable[str], known: Collection[str]) -> None:
    """Refuse what is all but the name of a known field, where other unknown ones are ignored.

    What clients send of their own is less like one: of OpenAI's fields ``max_tokens`` is the most
    (0.74 like ``max_bytes``, by difflib's ratio). Raises RequestError.
    """
    for name in islice(given, MOST_JUDGED):
        if (near := meant(name.partition("[")[0], known, CERTAIN)) is not None:
            raise wrong(f"unknown field {name!r}; did you mean {near}?", name)


@contextmanager
def usage_errors() -> Iterator[None]:
    """What is wrong with a value, as the answer to whoever sent it."""
    try:
        yield
    except UsageError as error:
        raise RequestError(Code.INVALID_VALUE, str(error), error.option) from None


def wrong(text: str, field: str) -> RequestError:
    """A value that cannot be."""
    return RequestError(Code.INVALID_VALUE, text, field)


def wrong_value(what: str, why: str, param: str | None = None) -> RequestError:
    """The same of ``what``, a field or a field and its value; ``param``: the field alone."""
    return wrong(f"{what}: {why}", param or what)
