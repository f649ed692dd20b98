"""Lists of photos' names: a name a line, or names that end in NUL."""

import io
import json
import os
import sys
from pathlib import Path
from typing import BinaryIO

from birefcli.batch.places import PIPE
from birefcli.errors import Message, NoInputError, Option, UsageError
from birefcli.images.files import PHOTO_SUFFIXES
from birefcli.system.object_store import store_for
from birefcli.system.object_url import ObjectUrl, is_url, parse_url
from birefcli.system.paths import named
from birefcli.system.regular_file import open_regular
from birefcli.system.text import unquoted

LONGEST = 32 << 10
"""Bytes of a name: systems take 4096, Windows 32,767 characters."""
CHUNK = 2 * LONGEST
"""Bytes that hold a name and its end."""
MOST_BYTES, MOST_NAMES = 256 << 20, 2_000_000
"""Of a list: one that has more is written by a program that does not end."""

INSIDE = "/./"
"""What stands before it in a line is no part of the path below the output folder, as in rsync."""
UNREAD = "/././"
"""The same, in the line of a folder that could not be read; ``find photos/./`` writes the other."""

NO_LIST = "is no list of names, or does not end"
UTF8_MARK = b"\xef\xbb\xbf"
UTF32_MARKS = (b"\xff\xfe\0\0", b"\0\0\xfe\xff")
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
LOW = bytes(range(9))
"""Bytes of no text but the upper ones of Latin, Greek, Cyrillic or Arabic letters in UTF-16."""
KINDS = {
    b"\xff\xd8\xff": "is a photo (JPEG)",
    b"\x89PNG\r\n": "is a photo (PNG)",
    b"GIF8": "is a photo (GIF)",
    b"RIFF": "is a photo (WebP)",
    b"II*\0": "is a photo (TIFF)",
    b"MM\0*": "is a photo (TIFF)",
    b"%PDF-": "is a PDF document",
    b"PK\3\4": "is an archive or office document",
    b"\x1f\x8b": "is compressed",
}
"""How files begin that are taken for a list by mistake."""


def read_list(source: str, *, null: bool) -> tuple[str, ...]:
    """Read the names of a list: a file's, an object's, a pipe's, or standard input's (``-``).

    Names end in NUL where ``null``, and where the list holds one: no file name does. A line in
    quotes may hold a name with line breaks (:func:`.name_list`). Raises NoInputError where it
    cannot be read, UsageError where it is no list of names.
    """

    def wrong(text: str | Message) -> UsageError:
        return UsageError(text, option="files_from", value=source)

    if Path(source).suffix.lower() in PHOTO_SUFFIXES:
        raise wrong("is a photo by its name; give a list of names")
    try:
        if source == PIPE:
            data = _read(sys.stdin.buffer)
        elif is_url(source):
            data = _read_object(parse_url(source))
        else:
            with Path(source).open("rb") as file:
                data = _read(file)
    except UsageError:  # the package for stores is not there
        raise
    except (OSError, ValueError) as error:
        why = str(getattr(error, "strerror", None) or error)
        raise NoInputError(why, option="files_from", value=source) from None
    if data is None:
        raise wrong(NO_LIST)
    if (text := _otherwise(data, null=null)) is not None:
        raise wrong(text)
    # No file name holds NUL: a list that does is one whose names end in it.
    end = b"\0" if null or b"\0" in data else b"\n"
    if data.count(end) > MOST_NAMES:
        raise wrong(f"names more than {MOST_NAMES:,} photos; give several lists")
    lines = data.removeprefix(UTF8_MARK).split(end)
    names = lines if end == b"\0" else [unquoted(line.removesuffix(b"\r")) for line in lines]
    if max(map(len, names)) > LONGEST:
        raise wrong(NO_LIST)
    return tuple(named(os.fsdecode(name)) for name in names if name.strip())


def could_be_failures(file: Path) -> bool:
    """Whether a file is such a list as a run writes of failed photos: each name has ``/./``.

    Other lists of paths, as ``find`` makes them, are somebody's. Raises OSError.
    """
    with open_regular(file) as opened:
        head = opened.read(CHUNK)
    names = head.split(b"\0" if b"\0" in head else b"\n")
    if len(head) == CHUNK:
        del names[-1]  # the rest of it was not read
    kept = [name for name in names if name]
    return bool(kept) and all(b"/./" in name for name in kept)


def marked(url: str) -> str:
    """The line of a URL that could not be looked at: with the mark before what is kept anyway."""
    if "/./" in url:
        return url
    start, _, last = url.rstrip("/").rpartition("/")
    if start.endswith(":/"):  # a bucket alone
        return f"{start}/{last}/./"
    return f"{start}/./{url[len(start) + 1 :]}"


def unread_line(root: str, below: str) -> str:
    """The line of a folder that could not be read: it is searched again where a list has it.

    ``root``: the folder or prefix that was searched; ``below``: the path from there, or nothing.
    """
    end = "/" * (below != "" and not below.endswith("/"))
    return f"{root.rstrip('/')}{UNREAD}{below}{end}"


def split_unread(line: str) -> tuple[str, str] | None:
    """What was searched, with a slash at its end, and the path from there; None for other lines.

    Other folders in lists are no photos: ``find`` names them as well as what is in them.
    """
    root, mark, below = line.partition(UNREAD)
    return (f"{root}/", below) if mark and line.endswith("/") else None


def _read_object(url: ObjectUrl) -> bytes | None:
    if url.is_prefix:
        raise ValueError("is a prefix, and no object with a list in it")
    store = store_for(url)
    entry = store.head(url.key)
    if entry.size > MOST_BYTES:
        return None
    return _read(io.BytesIO(store.read(entry.key, entry.etag)))


def _read(file: BinaryIO) -> bytes | None:
    """All of a list; None for what is none: it holds no names, ends of names alone, or too much."""
    chunks: list[bytes] = []
    while chunk := file.read(CHUNK):
        chunks.append(chunk)
        full = len(chunk) == CHUNK
        if full and not (chunk.strip(b"\0\r\n \t") and (b"\n" in chunk or b"\0" in chunk)):
            return None
        if len(chunks) * CHUNK > MOST_BYTES:
            return None
    return b"".join(chunks)


def _otherwise(data: bytes, *, null: bool) -> str | Message | None:
    """What else than a list of names these bytes are, and what to do; None for a list."""
    if data.startswith(UTF32_MARKS) or _is_utf32(data[:CHUNK]):
        return "is UTF-32; save it as UTF-8"
    if data in UTF16_MARKS or _is_utf16(data[:CHUNK], null=null):
        return "is UTF-16; save it as UTF-8"
    kind = next((text for start, text in KINDS.items() if data.startswith(start)), None)
    if kind is not None:
        return f"{kind}; give a list of names"
    if _is_json(data.removeprefix(UTF8_MARK).partition(b"\n")[0]):
        return Message("is JSON; give a list of names, like that of ", Option("failed_to"))
    if null and data.strip() and b"\0" not in data:
        return Message("its names do not end in NUL; leave out ", Option("null"))
    return None


def _is_utf32(head: bytes) -> bool:
    """Whether text is UTF-32: of each four bytes two or three that follow each other are NUL."""
    whole = len(head) // 4
    high = [head[n::4].count(0) for n in range(4)]
    return whole > 2 and (min(high[2:]) >= whole or min(high[:2]) >= whole)


def _is_utf16(head: bytes, *, null: bool) -> bool:
    """Whether text is UTF-16: every second byte of most letters is NUL, or another low one.

    Without a mark it may be names of a few letters that end in NUL: ``null`` says that it is.
    """
    marked = head.startswith(UTF16_MARKS)
    if null and not marked:
        return False
    text = head[2 * marked :]
    even, odd = (len(half) - len(half.translate(None, LOW)) for half in (text[::2], text[1::2]))
    most, least = max(even, odd), min(even, odd)
    # Chinese names have NUL in their extension and line end alone; of names that end in NUL and
    # have an extension it is less than every fifth byte.
    share = 0.1 if marked and not null else 0.2
    return most > len(text) * share and 8 * least <= most


def _is_json(line: bytes) -> bool:
    if not line.lstrip().startswith((b"{", b"[")):
        return False
    try:
        return isinstance(json.loads(line), dict | list)
    except (ValueError, RecursionError):
        return line.strip() in (b"{", b"[")
