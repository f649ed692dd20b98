"""ICC profiles as bytes: three primaries and a curve become one, and are read out of one.

LittleCMS reads profiles and applies them to 8 bits; it is not told here to write any, nor to take
16 bits of colour.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

XY = tuple[float, float]
"""Chromaticity."""
Curve = bytes
"""A ``curv`` or ``para`` element: stored values to linear ones."""

D50 = np.array([0.9642, 1.0, 0.8249])
D65: XY = (0.3127, 0.3290)
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
COLORANTS, CURVES = (b"rXYZ", b"gXYZ", b"bXYZ"), (b"rTRC", b"gTRC", b"bTRC")
SPACES = (
    *("RGB", "GRAY", "CMYK", "CMY", "Lab", "XYZ", "Luv", "YCbr", "Yxy", "HSV", "HLS"),
    *(f"{count:X}CLR" for count in range(2, 16)),
)
LARGEST_CURVE = 65536  # entries
NODES = 4096  # entries of a curve that has no formula in a profile


@dataclass(frozen=True)
class Primaries:
    """Chromaticities of white and of the three colours of light."""

    red: XY
    green: XY
    blue: XY
    white: XY = D65

    def to_xyz(self) -> NDArray[np.float64]:
        """Matrix from linear RGB to XYZ, white adapted to D50 by Bradford: 3×3.

        Raises ValueError for chromaticities that span no colours.
        """
        try:
            colours = np.array([_xyz(xy) for xy in (self.red, self.green, self.blue)]).T
            white = np.array(_xyz(self.white))
            light = colours * np.linalg.solve(colours, white)
            seen, meant = BRADFORD @ white, BRADFORD @ D50
            matrix: NDArray[np.float64] = (
                np.linalg.inv(BRADFORD) @ np.diag(meant / seen) @ BRADFORD @ light
            )
        except (ZeroDivisionError, np.linalg.LinAlgError):
            matrix = np.full((3, 3), np.nan)
        if not (np.abs(matrix) < 8).all() or np.linalg.cond(matrix) > 1e4:
            raise ValueError("primaries that span no colours")
        return matrix


def _xyz(xy: XY) -> tuple[float, float, float]:
    x, y = xy
    return x / y, 1.0, (1 - x - y) / y


BT709 = Primaries((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
"""Those of sRGB too."""
ADOBE = Primaries((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
P3 = Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))


# Curves


def _s15(number: float) -> bytes:
    return struct.pack(">i", round(number * 65536))


def parametric(kind: int, *numbers: float) -> Curve:
    """A curve by one of the formulas of ICC.1, 10.18."""
    return struct.pack(">4sIHH", b"para", 0, kind, 0) + b"".join(map(_s15, numbers))


def gamma(exponent: float) -> Curve:
    """The curve of a power."""
    return parametric(0, exponent)


def sampled(linear: NDArray[np.float64]) -> Curve:
    """A curve by its values, evenly spaced, 0..1."""
    values = np.rint(linear.clip(0, 1) * 65535).astype(">u2")
    body: bytes = values.tobytes()
    return struct.pack(">4sII", b"curv", 0, len(values)) + body


SRGB_CURVE = parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def evaluate(curve: Curve, stored: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear values, 0..1, of stored ones, 0..1. Raises ValueError for what is no curve."""
    kind = curve[:4]
    try:
        if kind == b"para":
            linear = _by_formula(curve, stored)
        elif kind == b"curv":
            linear = _by_values(curve, stored)
        else:
            raise ValueError("no curve")
    except struct.error as error:
        raise ValueError("a curve that is cut off") from error
    if not np.isfinite(linear).all():
        raise ValueError("a curve without values")
    return linear.clip(0, 1)


def _by_values(curve: Curve, stored: NDArray[np.float64]) -> NDArray[np.float64]:
    (count,) = struct.unpack_from(">I", curve, 8)
    if count == 0:
        return stored
    if count == 1:
        return np.asarray(stored ** (struct.unpack_from(">H", curve, 12)[0] / 256))
    if count > LARGEST_CURVE or len(curve) < 12 + 2 * count:
        raise ValueError("a curve that is cut off")
    values = np.frombuffer(curve, ">u2", count, 12) / 65535
    return np.interp(stored, np.linspace(0, 1, count), values)


def _by_formula(curve: Curve, x: NDArray[np.float64]) -> NDArray[np.float64]:
    (kind,) = struct.unpack_from(">H", curve, 8)
    if kind > 4:
        raise ValueError("no formula")
    count = (1, 3, 4, 5, 7)[kind]
    numbers = [n / 65536 for n in struct.unpack_from(f">{count}i", curve, 12)]
    g, a, b, c, d, e, f = (numbers + [0.0] * 6)[:7]
    with np.errstate(all="ignore"):  # what is not finite is refused
        if kind == 0:
            return np.asarray(x**g)
        edge = d if kind >= 3 else np.float64(-b) / a
        # The third number is added by one formula, and the slope of the lower part in two others.
        added, low = (e, c * x + f) if kind >= 3 else (c, np.full_like(x, c))
        return np.asarray(np.where(x >= edge, np.maximum(a * x + b, 0) ** g + added, low))


# Written


def rgb_profile(name: str, primaries: Primaries, curve: Curve | Sequence[Curve]) -> bytes:
    """Profile of a display (ICC.1:2010, version 4) with these primaries and curve, or three curves.

    ``name``: ASCII. Raises ValueError for primaries that span no colours.
    """
    matrix = primaries.to_xyz()
    curves = (curve,) * 3 if isinstance(curve, bytes) else tuple(curve)
    tags = {
        b"desc": _text(name),
        b"cprt": _text("No copyright, use freely"),
        b"wtpt": _xyz_element(D50),
        **dict(zip(COLORANTS, map(_xyz_element, matrix.T), strict=True)),
        **dict(zip(CURVES, curves, strict=True)),
    }
    return _profile(tags)


def _profile(tags: dict[bytes, bytes]) -> bytes:
    """A profile of these elements, each of which is stored once."""
    elements = list(dict.fromkeys(body + bytes(-len(body) % 4) for body in tags.values()))
    start = 128 + 4 + 12 * len(tags)
    ends = list(accumulate(map(len, elements), initial=start))
    place = dict(zip(elements, ends[:-1], strict=True))
    table = struct.pack(">I", len(tags))
    for tag, body in tags.items():
        table += tag + struct.pack(">II", place[body + bytes(-len(body) % 4)], len(body))
    header = struct.pack(
        ">I4xI4s4s4s6H4s28x3i", ends[-1], 0x04200000, b"mntr", b"RGB ", b"XYZ ",
        2024, 1, 1, 0, 0, 0, b"acsp", *(round(v * 65536) for v in D50),
    )  # fmt: skip
    return header.ljust(128, b"\0") + table + b"".join(elements)


def _xyz_element(xyz: NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(_s15, xyz.tolist()))


def _text(text: str) -> bytes:
    wide = text.encode("utf-16-be")
    return struct.pack(">4sIII4sII", b"mluc", 0, 1, 12, b"enUS", len(wide), 28) + wide


@cache
def srgb_profile() -> bytes:
    """Profile of sRGB, for pictures of which something else says that they are not."""
    return rgb_profile("sRGB", BT709, SRGB_CURVE)


# Read


def space(icc: bytes) -> str | None:
    """Kind of pixels a profile is for, such as RGB, GRAY or CMYK; None for what is no profile."""
    name = icc[16:20].decode("latin-1").strip()
    return name if icc[36:40] == b"acsp" and name in SPACES else None


def elements(icc: bytes) -> dict[bytes, bytes]:
    """Elements of a profile by their tags, those outside of it left out."""
    if len(icc) < 132:
        return {}
    count = min(int.from_bytes(icc[128:132], "big"), (len(icc) - 132) // 12)
    found = {}
    for tag, offset, length in struct.iter_unpack(">4sII", icc[132 : 132 + 12 * count]):
        if offset + length <= len(icc):
            found[tag] = icc[offset : offset + length]
    return found


def matrix_and_curves(icc: bytes) -> tuple[NDArray[np.float64], list[Curve]] | None:
    """Matrix from linear RGB to XYZ of D50, and a curve for each channel, which are all it holds.

    None for a profile that goes by tables, or is damaged.
    """
    found = elements(icc)
    if space(icc) != "RGB" or any(tag[:3] in (b"A2B", b"D2B") for tag in found):
        return None
    try:
        columns = [struct.unpack_from(">3i", found[tag], 8) for tag in COLORANTS]
        return np.array(columns).T / 65536, [found[tag] for tag in CURVES]
    except (KeyError, struct.error):
        return None


def grey_as_rgb(icc: bytes) -> bytes | None:
    """Profile of RGB in which three equal values look as one does in this profile of grey.

    None for one that goes by tables, or is damaged.
    """
    found = elements(icc)
    curve = found.get(b"kTRC")
    if curve is None or any(tag[:3] in (b"A2B", b"D2B") for tag in found):
        return None
    try:
        values = evaluate(curve, np.linspace(0, 1, NODES))
    except ValueError:
        return None
    if icc[20:24] == b"Lab ":  # the curve gives lightness
        curve = sampled(_luminance(values))
    return rgb_profile("Grey", BT709, curve)


def _luminance(lightness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Y of L*, both 0..1."""
    root = (lightness * 100 + 16) / 116
    return np.where(root > 6 / 29, root**3, (root - 4 / 29) * 3 * (6 / 29) ** 2)
