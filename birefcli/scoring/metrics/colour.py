"""How true a cutout's colours are, where the true foreground is known."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SEEN = 0.01  # true alpha above which a foreground's colour is compared


@dataclass(frozen=True)
class ColourErrors:
    """Mean over colours and pixels of subject, colours in 0..1; None where there is no subject."""

    mse: float | None
    mad: float | None


def colour_errors(
    cutout: NDArray[Any], foreground: NDArray[Any], truth: NDArray[np.float64]
) -> ColourErrors:
    """Compare straight colours, H×W×3 of 8 or 16 bits, where the true alpha is above 0.01.

    As Lin et al., "Robust High-Resolution Video Matting", WACV 2022, section 4, measure the
    foreground: not weighted by alpha, and not where nothing is seen of it.
    """
    seen = truth > SEEN
    if not seen.any():
        return ColourErrors(None, None)
    difference = _unit(cutout[seen]) - _unit(foreground[seen])
    return ColourErrors(float((difference**2).mean()), float(np.abs(difference).mean()))


def _unit(colours: NDArray[Any]) -> NDArray[np.float64]:
    return colours / float(np.iinfo(colours.dtype).max)
