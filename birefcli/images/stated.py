"""Which colours a file means, whatever says it: a profile, chunks, boxes, tags or its EXIF block.

An embedded profile is one of many ways, and not the first of all: PNG's cICP goes before it.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from birefcli.images.formats import png
from birefcli.images.formats.boxes import media_colour
from birefcli.images.metadata import raw_exif
from birefcli.images.profiles.cicp import Cicp
from birefcli.images.profiles.profile import (
    ADOBE,
    BT709,
    D65,
    SRGB_CURVE,
    Curve,
    Primaries,
    gamma,
    rgb_profile,
    sampled,
    srgb_profile,
)
from birefcli.images.tags import exif

Statement: TypeAlias = bytes | Cicp
"""An ICC profile, or code points."""
TRANSFER_FUNCTION, WHITE_POINT, CHROMATICITIES = 301, 318, 319  # TIFF tags
COLOR_SPACE = 0xA001  # EXIF tag
ADOBE_GAMMA = 563 / 256  # Adobe RGB (1998), 4.3.1.2


def statements(image: Image.Image, data: bytes) -> Iterator[Statement]:
    """What an opened picture says of its colours, the strongest first.

    ``data``: the file, or nothing where it is not at hand; Pillow shows neither PNG's cICP nor what
    AVIF, HEIF, JPEG 2000 and BMP say. ``image.info`` is read, pixels are not.
    """
    profile = image.info.get("icc_profile")
    found: tuple[Callable[[], Statement | None], ...] = (
        lambda: _png_cicp(data),
        lambda: profile if isinstance(profile, bytes) and profile else None,
        lambda: _png_chunks(image.info),
        lambda: media_colour(data) if data[4:8] in (b"ftyp", b"jP  ") else None,
        lambda: _bmp(data) if image.format in ("BMP", "DIB") else None,
        lambda: _tiff(image),
        lambda: (
            rgb_profile("Adobe RGB (1998)", ADOBE, gamma(ADOBE_GAMMA))
            if is_adobe_by_exif(image, data)
            else None
        ),
    )
    for look in found:
        try:
            stated = look()
        except (ValueError, TypeError, OverflowError, ZeroDivisionError, struct.error):
            continue  # what cannot be is not said
        if stated is not None:
            yield stated


def is_adobe_by_exif(image: Image.Image, data: bytes) -> bool:
    """Whether the EXIF block says Adobe RGB, as DCF's option file or by a number of its own."""
    block = exif.parse(raw_exif(image, data))
    if block is None:
        return False
    space = exif.number(block, exif.EXIF_IFD, COLOR_SPACE)
    rules = block.directories.get(exif.INTEROP_IFD, {}).get(1)
    return space == 2 or (space != 1 and rules is not None and rules.value.startswith(b"R03"))


def _png_cicp(data: bytes) -> Cicp | None:
    for chunk in png.chunks(data) if data.startswith(png.SIGNATURE) else ():
        if chunk.name == b"cICP" and chunk.length == 4:
            primaries, transfer, matrix, full = chunk.body
            return Cicp(primaries, transfer, full != 0) if matrix == 0 else None
        if chunk.name in (b"PLTE", b"IDAT"):
            return None
    return None


def _png_chunks(info: dict[Any, Any]) -> bytes | None:
    """Chunks sRGB, gAMA and cHRM, as Pillow shows them."""
    if "srgb" in info:
        return srgb_profile()
    exponent, points = info.get("gamma"), info.get("chromaticity")
    if not exponent and not points:
        return None
    primaries = BT709
    if points:
        white, red, green, blue = zip(points[::2], points[1::2], strict=True)
        primaries = Primaries(red, green, blue, white)
    if not exponent:
        return rgb_profile("cHRM", primaries, SRGB_CURVE)
    return rgb_profile("gAMA and cHRM", primaries, _power(1 / exponent, primaries))


def _power(exponent: float, primaries: Primaries) -> Curve:
    """The curve of a power; of sRGB where that is what is meant, by the nearest that can be said.

    Files of sRGB say a gamma of 2.2, or of 1/0.45455, and its primaries.
    """
    near = np.abs(primaries.to_xyz() - BT709.to_xyz()).max() < 2e-3
    return SRGB_CURVE if near and abs(exponent - 2.2) < 0.004 else gamma(exponent)


def _bmp(data: bytes) -> bytes | None:
    """Header of version 4 (primaries and gammas) or 5 (a profile of its own)."""
    (header,) = struct.unpack_from("<I", data, 14)
    if header < 108:
        return None
    kind = struct.unpack_from("<I", data, 70)[0].to_bytes(4, "big")
    if kind == b"MBED" and header >= 124:
        offset, length = struct.unpack_from("<II", data, 126)
        return data[14 + offset : 14 + offset + length] or None
    if kind in (b"sRGB", b"Win "):
        return srgb_profile()
    exponents = [number / 65536 for number in struct.unpack_from("<3I", data, 110)]
    if kind != bytes(4) or not all(exponents):
        return None
    curves = [gamma(each if each >= 1 else 1 / each) for each in exponents]  # some invert them
    ends = np.array(struct.unpack_from("<9i", data, 74)).reshape(3, 3) / (1 << 30)
    sums = ends.sum(1)
    red, green, blue = ((float(x), float(y)) for x, y in ends[:, :2] / sums[:, None])
    x, y = ends.sum(0)[:2] / sums.sum()
    # Written as chromaticities by some, and then they tell no white.
    white = D65 if np.allclose(sums, 1, atol=0.01) else (float(x), float(y))
    return rgb_profile("BMP", Primaries(red, green, blue, white), curves)


def _tiff(image: Image.Image) -> bytes | None:
    """Colorimetry of TIFF 6.0, section 20."""
    tags = getattr(image, "tag_v2", {})
    points, table = tags.get(CHROMATICITIES), tags.get(TRANSFER_FUNCTION)
    if not points and not table:
        return None
    primaries = BT709
    if points:
        x, y = (float(v) for v in tags.get(WHITE_POINT, D65))
        values = [float(v) for v in points]
        red, green, blue = zip(values[::2], values[1::2], strict=True)
        primaries = Primaries(red, green, blue, (x, y))
    curves = _tiff_curves(table) if table else _power(2.2, primaries)  # its default
    return rgb_profile("TIFF", primaries, curves)


def _tiff_curves(table: tuple[int, ...]) -> list[Curve]:
    parts = 3 if len(table) % 3 == 0 else 1
    values = np.array(table, np.float64).reshape(parts, -1) / 65535
    if values.shape[1] < 2 or not values[:, -1].all():
        raise ValueError("no curve")
    return [sampled(each) for each in values] * (3 // parts)
