"""Where a head is, by the matte's shape alone: the top of the subject, and its shoulders.

Nothing is known of faces here. From the top down, a head is about as wide as it is; then comes a
neck, or hair, and then shoulders, which are much wider. How far the chin is from the top follows
from how wide the head is.
"""

import numpy as np
from numpy.typing import NDArray

HALF = 32768  # alpha from which on a pixel is subject
TALL = 1.4  # times a head's width, from the top of the hair to the chin
HAIRY = 1.25  # the same of one with hair down to the shoulders, which makes it wider
NECK = 0.8  # share of a head's width that is a neck's at most
SHOULDERS = 1.4  # times a head's width that shoulders are wide, at least
LOW = 0.6  # times a head's width that a neck is below its top, at least
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
    found = _by_neck(widths) or _by_width(widths)
    if found is None:
        return None
    chin, width = found
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


def _by_neck(widths: NDArray[np.int64]) -> tuple[int, float] | None:
    """The chin's row, and the head's width, where a neck is seen between it and the shoulders."""
    widest = np.maximum.accumulate(widths)
    rows = np.arange(len(widths))
    narrow = np.flatnonzero((widths < NECK * widest) & (rows >= LOW * widest) & (rows >= FEWEST))
    if not narrow.size:
        return None
    begin, width = int(narrow[0]), float(widest[narrow[0]])
    below = np.flatnonzero(widths[begin:] >= SHOULDERS * width)
    if not below.size:
        return None
    # A chin stands out in front of the neck, so it is lower than where the outline is narrowest;
    # hair makes a head wider than it is, so it is higher than its width says.
    neck = begin + int(np.argmin(widths[begin : begin + int(below[0]) + 1]))
    tall = TALL * width
    return max(FEWEST, round((min(neck, tall) + tall) / 2)), width


def _by_width(widths: NDArray[np.int64]) -> tuple[int, float] | None:
    """The same where hair hides the neck: a head is as tall as its width says."""
    for row in range(FEWEST, len(widths)):
        width = float(np.percentile(widths[:row], WIDTH))
        if row >= HAIRY * width:
            return (row, width) if (widths[row:] >= SHOULDERS * width).any() else None
    return None
