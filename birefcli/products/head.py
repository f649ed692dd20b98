"""Where a head is, by the matte's shape alone: the top of the subject, and its shoulders.

Nothing is known of faces here. From the top down, a head is about as wide as it is; then comes a
neck, or hair, and then shoulders, which are much wider. How far the chin is from the top follows
from how wide the head is.
"""

import numpy as np
from numpy.typing import NDArray

HALF = 32768  # alpha from which on a pixel is subject
TALL = 1.3  # times a head's width, from the top of the hair to the chin
NECK = 0.8  # share of a head's width that is a neck's at most
SHOULDERS = 1.6  # times a head's width that shoulders are wide, at least
WIDTH = 90  # percentile of the widths of rows that is a head's: no ornament, and no shoulder yet
FEWEST = 8  # rows of a head


def head_box(alpha: NDArray[np.uint16]) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom of the head; None where no shoulders are below one.

    ``alpha``: H×W of the subject's box, whose first row is the top of its head. The bottom is where
    the chin should be.
    """
    rows = _main_runs(alpha >= HALF)
    widths = rows[:, 1] - rows[:, 0]
    top = int(np.argmax(widths > 0))
    widths, rows = widths[top:], rows[top:]
    found = _height(widths)
    if found is None:
        return None
    height, width = found
    if not (widths[height:] >= SHOULDERS * width).any():
        return None
    chin = _above_neck(widths, height, width)
    middle = float(np.median(rows[: chin + 1].mean(1)))
    left = round(middle - width / 2)
    return left, top, left + max(1, round(width)), top + chin


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


def _height(widths: NDArray[np.int64]) -> tuple[int, float] | None:
    """Rows from the top to where a head of that width ends, and its width."""
    for row in range(FEWEST, len(widths)):
        width = float(np.percentile(widths[:row], WIDTH))
        if row >= TALL * width:
            return row, width
    return None


def _above_neck(widths: NDArray[np.int64], height: int, width: float) -> int:
    """The chin's row: not below where the neck begins, where one is seen."""
    widest = int(np.argmax(widths[:height]))
    narrow = np.flatnonzero(widths[widest:height] < NECK * width)
    return max(FEWEST, widest + int(narrow[0])) if narrow.size else height
