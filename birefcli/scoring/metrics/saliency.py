"""Metrics of salient object detection: S-measure, F-measure, E-measure, MAE and MSE.

All of them look at an 8-bit prediction stretched to 0..1 and a truth cut at 128, as the evaluation
code of BiRefNet and the library PySODMetrics do. A stretched prediction has at most 256 values, so
that counts of (value, truth) hold all that most of these metrics need: one look at the pixels, not
one a metric.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

EPS = float(np.spacing(1))
CUT = 128  # a truth above this is subject
BETA = 0.3  # of the F-measure: beta squared (Achanta et al., CVPR 2009)

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Maps:
    """A prediction and its truth, as these metrics see them.

    ``prediction``: H×W uint8, 0..255. ``truth``: H×W bool.
    """

    prediction: NDArray[np.uint8]
    truth: NDArray[np.bool_]

    @cached_property
    def values(self) -> Floats:
        """What each of the 256 levels is worth, once the prediction is stretched to 0..1."""
        values = np.arange(256) / 255
        low, high = values[self.prediction.min()], values[self.prediction.max()]
        return values if low == high else np.clip((values - low) / (high - low), 0, 1)

    @cached_property
    def levels(self) -> NDArray[np.uint8]:
        """Each level after stretching, 0..255."""
        levels: NDArray[np.uint8] = (self.values * 255).astype(np.uint8)
        return levels

    @cached_property
    def stretched(self) -> Floats:
        """The prediction, H×W, 0..1."""
        stretched: Floats = self.values[self.prediction]
        return stretched

    @cached_property
    def quadrants(self) -> list["Quadrant"]:
        """The four parts around the truth's centroid (Fan et al., ICCV 2017, section 3.2)."""
        height, width = self.truth.shape
        row, column = _centroid(self.truth)
        parts = [
            (slice(top, bottom), slice(left, right))
            for top, bottom in ((0, row), (row, height))
            for left, right in ((0, column), (column, width))
        ]
        return [Quadrant.of(self, part) for part in parts]

    @cached_property
    def counts(self) -> Counts:
        """How many pixels have which truth (0, 1) and level: 2×256."""
        counts: Counts = np.sum([part.counts for part in self.quadrants], axis=0)
        return counts

    @cached_property
    def positives(self) -> tuple[Counts, Counts]:
        """Pixels at or above each threshold 255..0: inside the truth, and outside."""
        return positives(self.counts, self.levels)

    @property
    def size(self) -> int:
        """Pixels."""
        return self.truth.size

    @cached_property
    def subject(self) -> int:
        """Pixels of the subject."""
        return int(self.counts[1].sum())

    @cached_property
    def adaptive(self) -> float:
        """Twice the prediction's mean, at most 1: the threshold of adpFm and adpEm."""
        # The mean of the pixels and not of the counts: a level may lie exactly on the threshold.
        return float(min(2 * self.stretched.mean(), 1))

    @cached_property
    def adaptive_positives(self) -> tuple[int, int]:
        """Pixels at or above the adaptive threshold: inside the truth, and outside."""
        above = self.values >= self.adaptive
        outside, inside = self.counts[:, above].sum(1)
        return int(inside), int(outside)


@dataclass(frozen=True)
class Quadrant:
    """One part of the maps: its counts, 2×256, and the mean of its stretched prediction."""

    counts: Counts
    mean: float

    @classmethod
    def of(cls, maps: Maps, part: tuple[slice, slice]) -> "Quadrant":
        """Count and average one part; an empty one has mean 0."""
        index = maps.prediction[part].astype(np.uint16)
        index += np.uint16(256) * maps.truth[part]
        counts = np.bincount(index.ravel(), minlength=512).reshape(2, 256)
        # Again of the pixels: on a constant part, rounding decides between score 0 and 1.
        return cls(counts, float(maps.stretched[part].mean()) if index.size else 0.0)


def positives(counts: Counts, levels: NDArray[np.uint8]) -> tuple[Counts, Counts]:
    """Cumulate counts (2×256, by stored level) over thresholds 255..0 of stretched levels."""
    outside, inside = (
        np.cumsum(np.bincount(levels, weights=row, minlength=256)[::-1]).astype(np.int64)
        for row in counts
    )
    return inside, outside


def mae(maps: Maps) -> float:
    """Mean absolute error (Perazzi et al., CVPR 2012)."""
    return _mean_error(maps, 1)


def mse(maps: Maps) -> float:
    """Mean squared error."""
    return _mean_error(maps, 2)


def _mean_error(maps: Maps, power: int) -> float:
    errors = np.stack([maps.values, 1 - maps.values]) ** power
    return float((errors * maps.counts).sum() / maps.size)


def f_curve(maps: Maps) -> Floats:
    """F-measure at the thresholds 255..0: 256 values (Achanta et al., CVPR 2009)."""
    inside, outside = maps.positives
    precision = inside / np.maximum(inside + outside, 1)
    recall = inside / max(maps.subject, 1)
    return _f(precision, recall)


def f_adaptive(maps: Maps) -> float:
    """F-measure at the adaptive threshold."""
    inside, outside = maps.adaptive_positives
    if not inside:
        return 0.0
    precision = np.array(inside / (inside + outside))
    return float(_f(precision, np.array(inside / maps.subject)))


def _f(precision: Floats, recall: Floats) -> Floats:
    product = (1 + BETA) * precision * recall
    return product / np.where(product == 0, 1, BETA * precision + recall)


def e_curve(maps: Maps) -> Floats:
    """E-measure at the thresholds 255..0: 256 values (Fan et al., IJCAI 2018).

    It may exceed 1 a little: the sum over N pixels is divided by N - 1, as the authors do.
    """
    return _e(maps, *maps.positives)


def e_adaptive(maps: Maps) -> float:
    """E-measure at the adaptive threshold."""
    inside, outside = maps.adaptive_positives
    return float(_e(maps, np.array([inside]), np.array([outside]))[0])


def _e(maps: Maps, inside: Counts, outside: Counts) -> Floats:
    found = inside + outside
    if maps.subject == 0:
        total = (maps.size - found).astype(np.float64)
    elif maps.subject == maps.size:
        total = found.astype(np.float64)
    else:
        missed = maps.subject - inside
        parts = (inside, outside, missed, maps.size - found - missed)
        found_mean, truth_mean = found / maps.size, maps.subject / maps.size
        total = np.zeros(len(found))
        for part, (p, t) in zip(parts, ((1, 1), (1, 0), (0, 1), (0, 0)), strict=True):
            a, b = p - found_mean, t - truth_mean
            total += ((2 * a * b / (a**2 + b**2 + EPS) + 1) ** 2 / 4) * part
    return total / (maps.size - 1 + EPS)


def s_measure(maps: Maps) -> float:
    """Structure measure: half objects, half regions (Fan et al., ICCV 2017)."""
    if maps.subject == 0:
        return 1 - float(maps.stretched.mean())
    if maps.subject == maps.size:
        return float(maps.stretched.mean())
    return max(0.0, 0.5 * _objects(maps) + 0.5 * _regions(maps))


def _objects(maps: Maps) -> float:
    share = maps.subject / maps.size
    inside = _object(maps.values, maps.counts[1])
    outside = _object(1 - maps.values, maps.counts[0])
    return inside * share + outside * (1 - share)


def _object(values: Floats, counts: Counts) -> float:
    number = int(counts.sum())
    mean = float((values * counts).sum() / number)
    spread = 0.0
    if number > 1:
        spread = float(np.sqrt(((values - mean) ** 2 * counts).sum() / (number - 1)))
    return 2 * mean / (mean**2 + 1 + spread + EPS)


def _regions(maps: Maps) -> float:
    # The last weight is what the others leave, as in the authors' code.
    weights = [int(part.counts.sum()) / maps.size for part in maps.quadrants[:3]]
    weights.append(1 - sum(weights))
    pairs = zip(maps.quadrants, weights, strict=True)
    return sum(_ssim(part, maps.values) * weight for part, weight in pairs if part.counts.any())


def _ssim(part: Quadrant, values: Floats) -> float:
    number = int(part.counts.sum())
    x, y = part.mean, int(part.counts[1].sum()) / number
    truth = np.array([[0.0], [1.0]]) - y
    free = number - 1 + EPS
    spread_x = ((values - x) ** 2 * part.counts).sum() / free
    spread_y = (truth**2 * part.counts).sum() / free
    both = ((values - x) * truth * part.counts).sum() / free
    above = 4 * x * y * both
    below = (x**2 + y**2) * (spread_x + spread_y)
    if above != 0:
        return float(above / (below + EPS))
    return 1.0 if below == 0 else 0.0


def _centroid(truth: NDArray[np.bool_]) -> tuple[int, int]:
    """Row and column behind the truth's centre, where the quadrants meet."""
    height, width = truth.shape
    rows, columns = truth.sum(1), truth.sum(0)
    total = int(rows.sum())
    if not total:
        return round(height / 2) + 1, round(width / 2) + 1
    row = int((np.arange(height) * rows).sum()) / total
    column = int((np.arange(width) * columns).sum()) / total
    return round(row) + 1, round(column) + 1
