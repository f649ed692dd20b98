"""What in a finished matte asks for a look: of its alpha and its photo, so of any tool's mattes."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.products.quality.defects import EDGE, EMPTY, FULL, MAIN, SMALL, SOFT, UNSURE, Defect
from birefcli.products.quality.fitted import fitted
from birefcli.products.quality.signs import measure
from birefcli.products.quality.small_matte import thinned
from birefcli.products.quality.steps import in_steps

COUNTED_SIDE = 256  # pixels of the longer side, or more, of what is only counted
FINE = 1024  # the same, of what is seen pixel by pixel
STEPS = 0.1  # of the outline; good mattes have hardly one step in a thousand pixels of it


@dataclass(frozen=True)
class Quality:
    """Of one matte. ``coverage``: share of the picture that is kept, 0..1."""

    coverage: float
    flags: tuple[Defect, ...]
    """Gravest first."""
    doubt: float = 0.0
    """Mean absolute error of alpha that mattes with such signs have, 0..1: the more, the sooner it
    wants a look."""


def check(alpha: NDArray[Any], pixels: NDArray[Any] | None = None) -> Quality:
    """Flags of a matte: ``alpha`` H×W of uint8 or uint16, full scale.

    With ``pixels``, those of its photo (H×W×3, RGB, uint8 or uint16, of any size), also what only
    the photo shows.
    """
    coverage = cv2.mean(alpha)[0] / float(np.iinfo(alpha.dtype).max)
    found = plain_flags(alpha, coverage)
    if Defect.EMPTY in found:
        return Quality(coverage, (Defect.EMPTY,))
    signs = measure(alpha, pixels)
    found |= {Defect(sign.value) for sign in fitted().suspicious(signs)}
    flags = tuple(flag for flag in Defect if flag in found)
    return Quality(coverage, flags, fitted().score(signs).error(signs))


def plain_flags(alpha: NDArray[Any], coverage: float) -> set[Defect]:
    """Flags of any matte, whose limits are chosen and not fitted."""
    if coverage < EMPTY:
        return {Defect.EMPTY}
    small, peak = thinned(alpha, COUNTED_SIDE), float(np.iinfo(alpha.dtype).max)
    found = {
        Defect.SMALL: coverage < SMALL,
        Defect.FULL: coverage > FULL,
        Defect.SOFT: _unsure(small, peak) > SOFT,
        Defect.CUT: coverage <= FULL and _least_edge(small, peak) >= EDGE,
        Defect.PARTS: _main_part(small, peak) < MAIN,
        Defect.STEPS: in_steps(thinned(alpha, FINE)) > STEPS,
    }
    return {flag for flag, there in found.items() if there}


def _unsure(alpha: NDArray[Any], peak: float) -> float:
    """Share of what is kept at all that is kept by half."""
    low, high = UNSURE[0] * peak, UNSURE[1] * peak
    kept, sure = int((alpha > low).sum()), int((alpha > high).sum())
    return (kept - sure) / kept if kept else 1.0


def _least_edge(alpha: NDArray[Any], peak: float) -> float:
    """The share of an edge that is subject, of the edge where that is least."""
    edges = (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1])
    return min(float((edge > peak / 2).mean()) for edge in edges)


def _main_part(alpha: NDArray[Any], peak: float) -> float:
    """Share of the subject that hangs together; 1 where nothing is subject."""
    subject = (alpha > peak / 2).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(subject, connectivity=8)
    if count < 2:
        return 1.0
    areas = stats[1:, cv2.CC_STAT_AREA]
    return float(areas.max() / areas.sum())
