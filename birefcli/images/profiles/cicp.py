"""Colours by the code points of H.273 (CICP), as PNG, AVIF and HEIF give them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from birefcli.images.profiles.profile import (
    BT709,
    NODES,
    P3,
    SRGB_CURVE,
    Curve,
    Primaries,
    evaluate,
    gamma,
    parametric,
    rgb_profile,
    sampled,
)

UNSPECIFIED, SRGB, PQ, HLG = 2, 13, 16, 18
WHITE = 203.0  # candela a square metre that are white in HDR, by BT.2408

C: tuple[float, float] = (0.310, 0.316)  # white of old films and NTSC
SMPTE_C = Primaries((0.630, 0.340), (0.310, 0.595), (0.155, 0.070))
PRIMARIES = {
    1: BT709,
    UNSPECIFIED: BT709,
    4: Primaries((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), C),
    5: Primaries((0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),
    6: SMPTE_C,
    7: SMPTE_C,
    8: Primaries((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), C),
    9: Primaries((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),  # BT.2020
    11: Primaries(P3.red, P3.green, P3.blue, (0.314, 0.351)),  # of cinemas
    12: P3,
    22: Primaries((0.630, 0.340), (0.295, 0.605), (0.155, 0.077)),
}


def _pq(v: NDArray[np.float64]) -> NDArray[np.float64]:
    root = v ** (32 / 2523)
    share = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
    return np.asarray(10_000 / WHITE * share ** (8192 / 1305))


def _hlg(v: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(v <= 0.5, v**2 / 3, (np.exp((v - c) / a) + b) / 12)
    # A display of 1000 candela has a gamma of 1.2; by channel, as a curve has it.
    return np.asarray(1000 / WHITE * scene**1.2)


def _logarithmic(decades: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return lambda v: np.where(v > 0, 10 ** (decades * (v - 1)), 0)


def _table(function: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Curve:
    return sampled(function(np.linspace(0, 1, NODES)))


BT709_CURVE = parametric(3, 1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
TRANSFERS: dict[int, Callable[[], Curve]] = {
    **dict.fromkeys((1, 6, 11, 12, 14, 15), lambda: BT709_CURVE),
    **dict.fromkeys((UNSPECIFIED, SRGB), lambda: SRGB_CURVE),
    4: lambda: gamma(2.2),
    5: lambda: gamma(2.8),
    7: lambda: parametric(3, 1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4, 0.0913),
    8: lambda: gamma(1.0),
    9: lambda: _table(_logarithmic(2)),
    10: lambda: _table(_logarithmic(2.5)),
    PQ: lambda: _table(_pq),
    HLG: lambda: _table(_hlg),
}


@dataclass(frozen=True)
class Cicp:
    """Code points of primaries and of the transfer function, and the range of values."""

    primaries: int
    transfer: int
    full_range: bool = True
    """Whether black is 0 and white all bits, and not 16 and 235 of 255."""

    @property
    def hdr(self) -> str | None:
        """Name of a transfer function that goes beyond white."""
        return {PQ: "PQ", HLG: "HLG"}.get(self.transfer)

    def __str__(self) -> str:
        return f"CICP {self.primaries}/{self.transfer}"

    def profile(self) -> bytes | None:
        """As an ICC profile, with all above white as white; None for what is not known here."""
        primaries, curve = PRIMARIES.get(self.primaries), TRANSFERS.get(self.transfer)
        if primaries is None or curve is None:
            return None
        return rgb_profile(str(self), primaries, curve() if self.full_range else _narrow(curve()))


def _narrow(curve: Curve) -> Curve:
    values = np.linspace(0, 255, NODES)
    return sampled(evaluate(curve, ((values - 16) / 219).clip(0, 1)))
