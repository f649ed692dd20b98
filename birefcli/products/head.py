"""Where a head is, by the matte's shape alone: crown, jaw, neck and shoulders.

Nothing is known of faces here. From the crown down a head becomes as wide as it is, then narrower
to the neck, then come shoulders, which stand out at both sides. The chin lies in front of the neck,
where no outline shows it; how far it is from the crown follows from where the neck is, and how
wide. ``CHIN_BY_ROW`` and ``CHIN_BY_WIDTH`` are fitted (least absolute deviations) to the chins that
a person marked on 57 portraits with short hair, from the front; ``tests/benchmarks/heads.py`` says
how far they are off.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from birefcli.errors import Message, Option, PhotoError

HALF = 32768  # alpha from which on a pixel is subject
NECKS = (0.85, 0.9)  # share of a head's width that a neck's is at most: the first that finds one
LOW = 0.6  # times a head's width that a neck is below the crown, at least
REACH = 1.3  # times a head's width from the jaw down to the shoulders, at most
OUT = 0.15  # share of a head's width that shoulders stand out at each side, at least
BAND = 1.1  # times the narrowest width that rows of a neck have, at most
CHIN_BY_ROW = 0.76  # from the crown to the chin: that of the neck's middle row,
CHIN_BY_WIDTH = 0.67  # and that of the neck's width
ROUND = 0.39  # times a head's width from the crown to where it is twice as wide as far, at least
CROWN = 0.1  # share of a head's width that its first row has; strands above are none
FEWEST = 8  # pixels of a head's width
SMALLEST = 1 / 16  # share of the subject's longer side that a head's width is, at least
SLIM, BROAD = 0.5, 1.25  # width by height of a head, at least and at most
WIDE = 0.92  # width by height from which on a head may be one with much hair, or from the side
FAINT = 0.78  # share of a head's width from which on a neck may be hair
AWRY = 0.5  # share of a head's width that its rows' middles are away from each other's, at most
CUT = 0.35  # share of a head's width, or height, that the photo's edge may cut off
FRONT = Message(
    "take one from the front, with the neck free and room around, try another ",
    Option("model"),
    " where the matte is at fault, or lay it out by ",
    Option("canvas"),
    " alone",
)


class Head(NamedTuple):
    """A head's box in pixels of the photo. ``bottom``: where the chin should be."""

    left: int
    top: int
    right: int
    bottom: int
    doubt: str = ""
    """Why it may not be that of a person: a clause."""


class _Neck(NamedTuple):
    """What lies below a head: rows from the crown, and widths."""

    head: int
    """Width of the head above."""
    first: int
    last: int
    width: int


def find_head(alpha: NDArray[np.uint16], subject: tuple[int, int, int, int]) -> Head:
    """The head on top of a subject.

    ``alpha``: H×W of the photo; ``subject``: left, top, right, bottom of its box. Raises PhotoError
    where the shape is none of a head above shoulders.
    """
    _, top, _, bottom = subject
    runs = _main_runs(alpha[top:bottom] >= HALF)
    runs = runs[int(np.argmax(runs[:, 1] > 0)) :]
    first = bottom - len(runs)
    longer = max(subject[2] - subject[0], bottom - top)
    neck = _neck(runs, alpha.shape[1], max(FEWEST, SMALLEST * longer))
    if neck is None:
        raise _no_head("no head above shoulders in the matte's shape")
    chin = round(CHIN_BY_ROW * (neck.first + neck.last) / 2 + CHIN_BY_WIDTH * neck.width)
    crown = int(np.argmax(runs[:, 1] - runs[:, 0] >= CROWN * neck.head))
    rows = runs[crown : chin + 1]
    _check(rows, neck.head, cut=first == 0, width=alpha.shape[1])
    left = round(float(np.median(rows.mean(1))) - neck.head / 2)
    return Head(left, first + crown, left + neck.head, first + chin, _doubt(neck, len(rows)))


def _doubt(neck: _Neck, height: int) -> str:
    if neck.head > WIDE * height:
        return "it is wide: hair, a hat, or a view from the side"
    if neck.width > FAINT * neck.head:
        return "its neck is nearly as wide: hair, or a collar"
    return ""


def _no_head(text: str) -> PhotoError:
    return PhotoError(text, hint=FRONT)


def _main_runs(seen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Of each row, where the longest run of subject begins and ends: H×2; 0, 0 without any."""
    padded = np.zeros((seen.shape[0], seen.shape[1] + 2), np.int8)
    padded[:, 1:-1] = seen
    steps = np.diff(padded, axis=1)
    found = np.zeros((len(seen), 2), np.int64)
    for number, row in enumerate(steps):
        starts, ends = np.flatnonzero(row == 1), np.flatnonzero(row == -1)
        if starts.size:
            longest = int(np.argmax(ends - starts))
            found[number] = starts[longest], ends[longest]
    return found


def _neck(runs: NDArray[np.int64], width: int, smallest: float) -> _Neck | None:
    """The first neck between a head and shoulders; ``width``: the photo's, in pixels."""
    widths = runs[:, 1] - runs[:, 0]
    widest = np.maximum.accumulate(widths)
    rows = np.arange(len(widths))
    for share in NECKS:
        narrow = (widths < share * widest) & (rows >= LOW * widest) & (widest >= smallest)
        for begin in map(int, np.flatnonzero(narrow & ~np.roll(narrow, 1))):
            head = int(widest[begin])
            shoulders = _shoulders(runs, begin, head, width)
            if shoulders is not None:
                between = widths[begin : shoulders + 1]
                band = begin + np.flatnonzero(between <= BAND * between.min())
                return _Neck(head, int(band[0]), int(band[-1]), int(between.min()))
    return None


def _shoulders(runs: NDArray[np.int64], begin: int, head: int, width: int) -> int | None:
    """The first row that is as wide as the head again; None where no shoulders follow.

    They stand out at both sides, or end at the photo's edge.
    """
    below = runs[begin : begin + round(REACH * head) + 1]
    wide = np.flatnonzero(below[:, 1] - below[:, 0] >= head)
    if not wide.size:
        return None
    # Over the middle of the rows in which a head is widest.
    middle = float(np.median(runs[begin // 2 : begin].mean(1)))
    left, right = middle - (0.5 + OUT) * head, middle + (0.5 + OUT) * head
    out = (below[:, 0] <= max(0.0, left)) & (below[:, 1] >= min(float(width), right))
    return begin + int(wide[0]) if out.any() else None


def _check(rows: NDArray[np.int64], head: int, *, cut: bool, width: int) -> None:
    """Raise PhotoError where these rows are none of a whole head.

    ``cut``: whether the photo's first row has subject; ``width``: the photo's.
    """
    if not len(rows) or not SLIM <= head / len(rows) <= BROAD:
        raise _no_head("no head above shoulders in the matte's shape")
    middles = rows.mean(1)
    if np.abs(middles - np.median(middles)).max() > AWRY * head:
        raise _no_head("what is highest in the matte's shape is not the head alone")
    widths = rows[:, 1] - rows[:, 0]
    if np.flatnonzero(widths >= 2 * np.arange(1, len(rows) + 1))[-1:].sum() < ROUND * head:
        raise _no_head("hair or clothes widen the head: no neck below it in the matte's shape")
    beside = (rows[:, 0] <= 0).mean() + (rows[:, 1] >= width).mean()
    above = (rows[0, 1] - rows[0, 0]) / head if cut else 0.0
    if above > CUT or beside > CUT:
        raise _no_head("the photo cuts the head off")
