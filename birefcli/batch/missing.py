"""Photos that are named, and that are not there."""

import re
from typing import TypeAlias

from birefcli.batch.inputs import FoundPhoto
from birefcli.errors import Message, NoInputError
from birefcli.system.object_url import is_url

Missing: TypeAlias = tuple[FoundPhoto, str]
"""A photo that is not there, and the reason."""


def split_missing(found: list[FoundPhoto]) -> tuple[list[FoundPhoto], list[Missing]]:
    """Part the photos that are there from those that are not.

    Raises NoInputError when none is there.
    """
    there, missing = partition_missing(found)
    if missing and not there:
        raise NoInputError(all_missing(missing))
    return there, missing


def partition_missing(found: list[FoundPhoto]) -> tuple[list[FoundPhoto], list[Missing]]:
    """As :func:`split_missing`, but that none is there is no error."""
    there: list[FoundPhoto] = []
    missing: list[Missing] = []
    for photo in found:
        reason = photo.source.absence()
        if reason is None:
            there.append(photo)
        else:
            missing.append((photo, f"{reason}{_hint(str(photo.source))}"))
    return there, missing


def all_missing(missing: list[Missing], unread: int = 0) -> Message:
    """The first of photos none of which is there, with the reason.

    ``unread``: how many folders could not be read beside them.
    """
    others = len(missing) - 1 + unread
    more = f", and {others} more" if others else ""
    return Message(f"{missing[0][0].source}: {missing[0][1]}{more}")


def _hint(path: str) -> str:
    """What may have been meant by a name under which no file is."""
    if is_url(path):
        return ""
    if slip := re.match(r"(s3|gs|az):/+", path, re.IGNORECASE):
        scheme = slip[1].lower()
        return f"; write {scheme}://{path[slip.end() :]} for what is in an object store"
    if re.match(r"(?!file:)[a-z][a-z0-9]+:/", path, re.IGNORECASE):
        known = "files and stores (s3://, gs://, az://)"
        return f"; photos are read from {known}, not from addresses: download it first"
    if re.match(r"#\s", path):
        return "; every line of a list is a name, there are no comments"
    return ""
