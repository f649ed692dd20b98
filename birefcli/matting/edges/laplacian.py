"""Closed-form matting and the guided filter: planes of NumPy and of torch by one definition.

In each square window of a photo alpha is taken for a linear function of colour, a·I + b. How far a
matte is from that, summed over all windows, is pᵀLp: Levin, Lischinski & Weiss, "A Closed-Form
Solution to Natural Image Matting", PAMI 2008. L itself is never made; K. He, J. Sun & X. Tang,
"Fast Matting Using Large Kernel Matting Laplacian Matrices", CVPR 2010, apply it by box filters,
whose cost does not depend on the windows' radius. The same a and b are those of K. He & J. Sun,
"Fast Guided Filter", 2015.

Planes are h×w float32. Here is only arithmetic that both libraries spell alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

EPSILON = 3e-5
"""Variance of colours, 0..1, below which a window is even: no edge is read out of its noise."""
DOUBT = 0.1
"""How much less than all of its windows the network counts where it is in doubt."""
SQUARINGS = 3
"""Of (2·alpha − 1)², which gives the network its weight, 0..1: it grows late, where it is sure."""

Plane: TypeAlias = Any
"""h×w float32, an array or a tensor; what comes out is what went in."""


@dataclass(frozen=True)
class Lines:
    """Alpha as a linear function of colour at each pixel: ``slopes`` of channels, and ``level``."""

    slopes: tuple[Plane, Plane, Plane]
    level: Plane

    def faded(self, alpha: Plane, share: Plane) -> "Lines":
        """These where ``share`` is 1, and ``alpha`` whatever the colour where it is 0."""
        a, b, c = self.slopes
        level = alpha + (self.level - alpha) * share
        return Lines((a * share, b * share, c * share), level)

    def of_levels(self, peak: int, contrast: float) -> "Lines":
        """From colours around zero, −½..½, and 0..1 to colours of 0..peak and 0..65535.

        ``contrast`` moves alpha away from one half; what leaves 0..1 is to be cut off.
        """
        a, b, c = self.slopes
        scale = contrast * 65535 / peak
        level = (self.level - (a + b + c) * 0.5 - 0.5) * (contrast * 65535) + 65535 / 2
        return Lines((a * scale, b * scale, c * scale), level)


class ColourWindows:
    """All windows of a photo, cut off at its borders."""

    def __init__(
        self, colours: Sequence[Plane], inside: Plane, box: Callable[[Plane], Plane]
    ) -> None:
        """``colours``: three planes; in any order, best around zero, where float32 is finest.

        ``box``: sums over each window, by the pixels of a whole one; there is nothing beyond the
        border. ``inside``: that of ones.
        """
        self.colours, self.inside, self._box = tuple(colours), inside, box
        self._share = 1 / inside
        self._means = [self.mean(plane) for plane in colours]
        self._factor(*self._covariances())

    def mean(self, plane: Plane) -> Plane:
        """Mean over the window around each pixel."""
        return self._box(plane) * self._share

    def _covariances(self) -> list[Plane]:
        """Of channels 00, 10, 20, 11, 21, 22."""
        pairs = ((0, 0), (1, 0), (2, 0), (1, 1), (2, 1), (2, 2))
        i, m = self.colours, self._means
        return [self.mean(i[j] * i[k]) - m[j] * m[k] for j, k in pairs]

    def _factor(
        self, c00: Plane, c10: Plane, c20: Plane, c11: Plane, c21: Plane, c22: Plane
    ) -> None:
        """LDLᵀ of each window's covariance + ε.

        Channels that go together, as in a grey photo, leave pivots of about ε: a determinant would
        lose them in float32.
        """
        pivot0 = _pivot(c00)
        l10, l20 = c10 * pivot0, c20 * pivot0
        pivot1 = _pivot(c11 - c10 * l10)
        rest = c21 - c20 * l10
        l21 = rest * pivot1
        pivot2 = _pivot(c22 - c20 * l20 - rest * l21)
        self._pivots, self._lower = (pivot0, pivot1, pivot2), (l10, l20, l21)

    def lines(self, alpha: Plane) -> Lines:
        """The line of each window that is nearest to an alpha, 0..1."""
        mean = self.mean(alpha)
        c0, c1, c2 = (
            self.mean(plane * alpha) - own * mean
            for plane, own in zip(self.colours, self._means, strict=True)
        )
        l10, l20, l21 = self._lower
        c1 -= l10 * c0
        c2 -= l20 * c0
        c2 -= l21 * c1
        c0, c1, c2 = c0 * self._pivots[0], c1 * self._pivots[1], c2 * self._pivots[2]
        c1 -= l21 * c2
        c0 -= l10 * c1
        c0 -= l20 * c2
        for slope, own in zip((c0, c1, c2), self._means, strict=True):
            mean -= slope * own
        return Lines((c0, c1, c2), mean)

    def averaged(self, lines: Lines) -> Lines:
        """The mean line of all windows that hold a pixel, for each pixel: the guided filter's."""
        a, b, c = lines.slopes
        return Lines((self.mean(a), self.mean(b), self.mean(c)), self.mean(lines.level))

    def laplacian(self, alpha: Plane) -> Plane:
        """L·alpha, by the pixels of a whole window."""
        lines = self.lines(alpha)
        out = self.inside * alpha
        out -= self._box(lines.level)
        for plane, slope in zip(self.colours, lines.slopes, strict=True):
            out -= plane * self._box(slope)
        return out


def _pivot(variance: Plane) -> Plane:
    """One over a variance + ε; what rounding left below zero counts as none."""
    return 1 / ((variance + abs(variance)) * 0.5 + EPSILON)


def closed_form(windows: ColourWindows, alpha: Plane, steps: int) -> Plane:
    """Closed-form matting from a network's alpha, 0..1: about (L + W)⁻¹·W·alpha, 0..1.

    The diagonal W says how much the network counts (``DOUBT``, ``SQUARINGS``): in place of a
    trimap, whose border would show. Solved by Chebyshev's iteration with the diagonal divided out,
    whose eigenvalues then lie in DOUBT/(1 + DOUBT)..1. Conjugate gradients apply L more often for
    as much, and need sums over the photo, for which a GPU waits. Here a pixel hangs only on those
    within ``2·steps`` radii, so that parts of a photo can be solved by themselves.
    """
    weight = (2 * alpha - 1) ** 2
    for _ in range(SQUARINGS):
        weight *= weight
    weight += DOUBT
    inverse = 1 / (windows.inside + weight)
    middle, half = (1 + DOUBT) / 2, (1 - DOUBT) / 2
    ratio = half / middle
    left = -windows.laplacian(alpha)
    move = inverse * left * (1 / middle)
    found = alpha + move
    for _ in range(steps - 1):
        left -= windows.laplacian(move)
        left -= weight * move
        following = 1 / (2 * middle / half - ratio)
        move = move * (following * ratio) + inverse * left * (2 * following / half)
        ratio = following
        found += move
    return found.clip(0, 1)
