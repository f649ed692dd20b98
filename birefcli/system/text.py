"""Text that others read: names of files may hold bytes that no encoding has."""

import json
import math
import os
import re
from collections.abc import Iterable
from typing import Any

from birefcli.errors import printable

_HALVES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Of a character, which names on Windows may have; the others are Python's for single bytes."""


def encodable(text: str) -> str:
    r"""Text that UTF-8 can write: a byte of a name that is none of UTF-8 becomes ``\xff``."""
    # With a locale of ASCII, Python has letters of UTF-8 as single bytes too.
    whole = _HALVES.sub(lambda found: printable(found[0]), text)
    return whole.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


QUOTED = re.compile(rb'"(?=.*\\[nr])(?:[^"\\]|\\[nr"\\])*"')
"""A name in a list that holds a line break, as :func:`name_list` writes it."""
ESCAPES = {b"\n": rb"\n", b"\r": rb"\r", b'"': rb"\"", b"\\": rb"\\"}
UNESCAPES = {escape: plain for plain, escape in ESCAPES.items()}


def name_list(names: Iterable[str], *, null: bool = False) -> bytes:
    r"""Names a line each, byte by byte; with ``null`` each ends in NUL.

    In lines, a name with a line break stands in quotes, with ``\n`` and ``\r`` as Git writes them:
    so lists can be joined. :func:`unquoted` reads it.
    """
    whole = [os.fsencode(name) for name in names]
    if null:
        return b"".join(name + b"\0" for name in whole)
    return b"".join(_quoted(name) + b"\n" for name in whole)


def _quoted(name: bytes) -> bytes:
    if not (b"\n" in name or b"\r" in name or QUOTED.fullmatch(name)):
        return name
    return b'"%s"' % re.sub(rb'[\n\r"\\]', lambda found: ESCAPES[found[0]], name)


def unquoted(line: bytes) -> bytes:
    """The name that a line of a list holds; a line in other quotes is the name as it is."""
    if not QUOTED.fullmatch(line):
        return line
    return re.sub(rb'\\[nr"\\]', lambda found: UNESCAPES[found[0]], line[1:-1])


def json_line(record: object) -> str:
    r"""One line of JSON, in ASCII: numbers that JSON lacks are null.

    A byte of a name that is none of UTF-8 stays what Python makes of it (``\udcff``): whoever reads
    the line can open the file.
    """
    return json.dumps(_plain(record), allow_nan=False)


def _plain(value: Any) -> Any:  # noqa: ANN401 - what JSON has
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value
