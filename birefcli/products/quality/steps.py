"""Borders that are cut in steps: of masks enlarged pixel by pixel, or kept in blocks.

The outline of a thing at any angle, on pixels, is a staircase too, but one of its two steps at each
corner is a pixel or two. Where both are longer, again and again, and turn to the left and to the
right in turns, a small mask was made large. What is straight itself, like a box or a screen, turns
to one side only; the picture's border is no outline.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

LEAST_STEP = 3  # pixels; shorter ones are those of any outline
FEW_STEPS = 16  # steps; a cross, a shelf or a real staircase has fewer

Ints = NDArray[np.int64]


class _Runs(NamedTuple):
    """Straight parts of an outline: where each begins and ends, as numbers of pixels' corners."""

    start: Ints
    end: Ints
    length: Ints


def in_steps(alpha: NDArray[Any]) -> float:
    """Share of the outline that is cut in steps, 0..1; ``alpha``: H×W of uint8 or uint16."""
    kept = alpha > np.iinfo(alpha.dtype).max // 2
    width = kept.shape[1] + 1
    level, upright = _runs(kept, (width, 1)), _runs(np.ascontiguousarray(kept.T), (1, width))
    total = int(level.length.sum() + upright.length.sum())
    if not total:
        return 0.0
    long_level, long_upright = _long(level), _long(upright)
    steps = np.concatenate(
        [_between_turns(long_level, long_upright), _between_turns(long_upright, long_level)]
    )
    return int(steps.sum()) / total if len(steps) > FEW_STEPS else 0.0


def _runs(kept: NDArray[np.bool_], strides: tuple[int, int]) -> _Runs:
    """Parts of the outline along rows. ``strides``: of a corner's number, down and along."""
    places = np.flatnonzero(kept[1:] != kept[:-1])  # of two dimensions it takes thrice the time
    rows, columns = np.divmod(places, kept.shape[1])
    sides = kept[1:].ravel()[places]
    goes_on = (np.diff(rows) == 0) & (np.diff(columns) == 1) & (sides[1:] == sides[:-1])
    begins = np.concatenate([[True], ~goes_on])[: len(rows)]
    ends = np.concatenate([~goes_on, [True]])[: len(rows)]
    down, along = strides
    start = (rows[begins] + 1) * down + columns[begins] * along
    end = (rows[ends] + 1) * down + (columns[ends] + 1) * along
    return _Runs(start, end, columns[ends] - columns[begins] + 1)


def _long(runs: _Runs) -> _Runs:
    chosen = runs.length >= LEAST_STEP
    return _Runs(*(part[chosen] for part in runs))


def _between_turns(runs: _Runs, across: _Runs) -> Ints:
    """Lengths of those runs from whose ends others lead off to both sides: the steps of stairs."""
    ahead = [np.isin(ends, across.start) for ends in (runs.start, runs.end)]
    back = [np.isin(ends, across.end) for ends in (runs.start, runs.end)]
    return runs.length[(ahead[0] & back[1]) | (back[0] & ahead[1])]
