"""A photo's matte."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.images.photo import Pixels


@dataclass(frozen=True)
class Matte:
    """A photo's alpha and its subject's colour, at the photo's size."""

    alpha: NDArray[np.uint16]
    """H×W, 0 background to 65535 subject."""
    foreground: Pixels
    """H×W×3, of the photo's dtype."""

    @property
    def coverage(self) -> float:
        """Share of the photo that the subject covers, 0..1."""
        return cv2.mean(self.alpha)[0] / 65535
