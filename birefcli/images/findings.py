"""What a run found out about a photo, as the stamps of its products tell a later command.

In a stamp it is text of printable ASCII without a semicolon, of a bounded length. Anybody may have
written it: what is read is words and numbers to be shown, and nothing else.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote_to_bytes

from birefcli.errors import printable

ROOM = 700  # bytes of all notes
LONGEST = 200  # characters of a note
AND_MORE = "and {} more"
_PLAIN = "".join(char for char in map(chr, range(0x20, 0x7F)) if char not in ";|%")
"""What notes hold as it is. All else, as letters that are no ASCII, has a per cent sign before it,
as in a URL."""
_SHARE = rb"[01]\.\d{5}"
_QUALITY = rb"quality \d{1,3}(?:, 4:2:0)?(?:, alpha \d{1,3})?"
PATTERN = (
    rb"coverage=(?P<coverage>" + _SHARE + rb") doubt=(?P<doubt>" + _SHARE + rb")"
    rb" flags=(?P<flags>[a-z,]{0,200})"
    rb"(?: lowered=(?P<lowered>" + _QUALITY + rb"))?"
    rb" notes=(?P<notes>[ -:<-~]{0,730})"
)
"""Its text in a stamp, whose groups :func:`parse` reads."""


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
    lowered: Mapping[str, str] = field(default_factory=dict)
    """To which quality that of a product's file was lowered, as its limit of bytes asks for: like
    ``quality 47, 4:2:0``, by product. A stamp tells that of its own product."""

    def noting(self, notes: Iterable[str]) -> "Findings":
        """The same with these notes too, each once."""
        return replace(self, notes=tuple(dict.fromkeys((*self.notes, *notes))))

    def after(self, kept: "Findings | None") -> "Findings":
        """The same behind what is known of those products of the photo that were kept."""
        if kept is None:
            return self
        lowered = {**kept.lowered, **self.lowered}
        return replace(self, notes=kept.notes, lowered=lowered).noting(self.notes)

    def text(self, product: str) -> str:
        """As :data:`PATTERN` has it in the stamp of a product."""
        flags, notes = ",".join(self.flags), "|".join(_fitted(self.notes))
        quality = self.lowered.get(product)
        lowered = "" if quality is None else f" lowered={quality}"
        shares = f"coverage={self.coverage:.5f} doubt={self.doubt:.5f}"
        return f"{shares} flags={flags}{lowered} notes={notes}"


def _fitted(notes: tuple[str, ...]) -> list[str]:
    """Notes as they are written, all that there is room for, and how many others there are."""
    fitted: list[str] = []
    room = ROOM
    for note in notes:
        short = note if len(note) <= LONGEST else f"{note[: LONGEST - 1]}…"
        written = quote(printable(short), safe=_PLAIN)
        if len(written) < room:
            room -= len(written) + 1
            fitted.append(written)
    left = len(notes) - len(fitted)
    return [*fitted, AND_MORE.format(left)] if left else fitted


def parse(product: str, match: re.Match[bytes]) -> Findings | None:
    """What :data:`PATTERN` has matched in a product's stamp, whoever wrote it; None for nothing."""
    told = match.groupdict()
    if told["coverage"] is None:
        return None
    notes = (unquote_to_bytes(note).decode(errors="replace") for note in told["notes"].split(b"|"))
    lowered = told["lowered"]
    return Findings(
        min(1.0, float(told["coverage"])),
        tuple(word for word in told["flags"].decode().split(",") if word),
        min(1.0, float(told["doubt"])),
        tuple(printable(note) for note in notes if note),
        {} if lowered is None else {product: lowered.decode()},
    )


def merged(found: Iterable[Findings]) -> Findings | None:
    """Of the products of one photo: what the first tells, with notes and qualities of all."""
    every = list(found)
    if not every:
        return None
    lowered = {product: to for each in every for product, to in each.lowered.items()}
    notes = (note for each in every for note in each.notes)
    return replace(every[0], lowered=lowered).noting(notes)


def notes_on_quality(lowered: Mapping[str, str], *, several: bool) -> tuple[str, ...]:
    """:attr:`Findings.lowered` as notes; with a product's name where its photo has ``several``."""
    return tuple(
        f"{f'{product}: ' if several else ''}lowered to {quality}"
        for product, quality in lowered.items()
    )
