"""What a run found out about a photo, as the stamps of its products tell a later command.

In a stamp it is text of printable ASCII without a semicolon, of a bounded length. Anybody may have
written it: what is read is words and numbers to be shown, and nothing else.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote_to_bytes

from birefcli.errors import printable

ROOM = 700  # bytes of all notes
LONGEST = 200  # characters of a note
LOWERED = "lowered to quality "
"""How the note begins on a file that did not fit its limit of bytes as it was."""
AND_MORE = "and {} more"
_PLAIN = "".join(char for char in map(chr, range(0x20, 0x7F)) if char not in ";|%")
"""What notes hold as it is. All else, as letters that are no ASCII, has a per cent sign before it,
as in a URL."""
_SHARE = rb"([01]\.\d{5})"
_TEXTS = rb" flags=([a-z,]{0,200}) notes=([ -:<-~]{0,730})"
PATTERN = rb"coverage=" + _SHARE + rb" doubt=" + _SHARE + _TEXTS
"""Its text in a stamp: four groups, which :func:`parse` takes."""


@dataclass(frozen=True)
class Findings:
    """Of one photo, by the run that made its products."""

    coverage: float
    """Share of the photo that its subject covers, 0..1."""
    flags: tuple[str, ...] = ()
    """Why its matte asks for a look, gravest first."""
    doubt: float = 0.0
    """Mean absolute error of alpha that mattes with such signs have, 0..1."""
    notes: tuple[str, ...] = ()
    """What its owner may want to know."""

    def noting(self, notes: Iterable[str]) -> "Findings":
        """The same with these notes too, each once."""
        return replace(self, notes=tuple(dict.fromkeys((*self.notes, *notes))))

    def text(self) -> str:
        """As :data:`PATTERN` has it."""
        flags, notes = ",".join(self.flags), "|".join(_fitted(self.notes))
        return f"coverage={self.coverage:.5f} doubt={self.doubt:.5f} flags={flags} notes={notes}"


def _fitted(notes: tuple[str, ...]) -> list[str]:
    """Notes as they are written, as many as there is room for."""
    fitted: list[str] = []
    room = ROOM
    for number, note in enumerate(notes):
        short = note if len(note) <= LONGEST else f"{note[: LONGEST - 1]}…"
        written = quote(printable(short), safe=_PLAIN)
        room -= len(written) + 1
        if room < 0:
            return [*fitted, AND_MORE.format(len(notes) - number)]
        fitted.append(written)
    return fitted


def parse(coverage: bytes, doubt: bytes, flags: bytes, notes: bytes) -> Findings:
    """Read the groups of :data:`PATTERN`, whoever wrote them."""
    return Findings(
        min(1.0, float(coverage)),
        tuple(word for word in flags.decode().split(",") if word),
        min(1.0, float(doubt)),
        tuple(
            printable(unquote_to_bytes(note).decode(errors="replace"))
            for note in re.split(rb"\|", notes)
            if note
        ),
    )


def merged(found: Iterable[Findings]) -> Findings | None:
    """Of the products of one photo: what the first tells, with the notes of all."""
    every = list(found)
    return every[0].noting(note for each in every for note in each.notes) if every else None
