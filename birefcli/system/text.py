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


def name_list(names: Iterable[str]) -> bytes:
    """Names a line each, byte by byte; ending in NUL where one of them holds a line break."""
    every = list(names)
    end = "\0" if any("\n" in name or "\r" in name for name in every) else "\n"
    return b"".join(os.fsencode(name + end) for name in every)


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
