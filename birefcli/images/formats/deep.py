"""Pictures of more than 8 bits a channel, which Pillow would cut to 8."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from birefcli.errors import PhotoError
from birefcli.images.formats import jpeg2000, png_samples, tiff_samples
from birefcli.images.formats.opencv import decode_stored
from birefcli.images.formats.tiff import BITS, PHOTOMETRIC, check_whole, read_directory
from birefcli.images.photo import Pixels, row_blocks

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

WHITE = 65535


class _Stored(NamedTuple):
    """What a file holds for a picture, not yet colour and transparency."""

    samples: Pixels
    """H×W×channels, red first: 1 or 3 of colour, then those that are not."""
    peak: int = WHITE
    """What is stored for white."""
    negative: bool = False
    """Whether 0 is stored for white."""
    alpha: int | None = None
    """Which channel is transparency."""
    multiplied: bool = False
    """Whether colours were multiplied by it."""
    key: tuple[int, ...] | None = None
    """The one colour that is transparent."""


def is_deep(image: "ImageFile", data: bytes) -> bool:
    """Whether a file stores more than 8 bits a channel, in a form that is kept here."""
    if image.format == "PNG":
        return any("16" in str(tile[3]) for tile in image.tile)
    if image.format == "TIFF":
        found = read_directory(data)
        return found is not None and (found.is_deep or image.mode.startswith("I;16"))
    if image.format == "JPEG2000":
        return image.mode not in ("P", "PA") and jpeg2000.is_deep(data)
    return image.format == "PPM" and _ppm_peak(image) > 255


def deep_pixels(image: "ImageFile", data: bytes) -> tuple[Pixels, Pixels | None]:
    """Colours and transparency of 16 bits, as stored: not turned upright.

    Raises PhotoError for what is of a kind that is not read, and OSError for damage.
    """
    if image.format == "PNG":
        samples, key = png_samples.read_samples(data)
        alpha = samples.shape[2] - 1 if samples.shape[2] in (2, 4) else None
        return _finished(_Stored(samples, alpha=alpha, key=key))
    if image.format == "TIFF":
        return _finished(_tiff(image, data))
    if image.format == "JPEG2000":
        samples, peak = jpeg2000.read_samples(data)
        return _finished(_Stored(samples, peak, alpha=3 if samples.shape[2] == 4 else None))
    return _finished(_Stored(decode_stored(data), _ppm_peak(image)))


def _ppm_peak(image: "ImageFile") -> int:
    """Value of white in a PPM or PGM file."""
    layout = image.tile[0].args if image.tile else None
    if isinstance(layout, tuple):  # (mode, peak)
        return int(layout[-1])
    return WHITE if image.mode == "I" else 255  # stored as it is


def _tiff(image: "ImageFile", data: bytes) -> _Stored:
    found = read_directory(data)
    if found is None:
        raise PhotoError("damaged image: its first directory is not whole")
    check_whole(found)
    negative = found.number(PHOTOMETRIC) == 0
    if not found.is_deep:  # grey of 12 bits, which Pillow unpacks
        peak = (1 << found.number(BITS, 16)) - 1
        return _Stored(np.asarray(image).astype(np.uint16)[:, :, None], peak, negative)
    first = 1 if found.grey else 3
    kinds = [kind if kind in (1, 2) else 0 for kind in found.extra]
    alpha = next((n for n, kind in enumerate(kinds) if kind), None)
    if alpha is None:
        return _Stored(tiff_samples.read_samples(found), WHITE, negative)
    multiplied = kinds[alpha] == 1
    return _Stored(tiff_samples.read_samples(found), WHITE, negative, first + alpha, multiplied)


def _finished(stored: _Stored) -> tuple[Pixels, Pixels | None]:
    """Colour and transparency, a few rows at a time: a large picture lies in memory twice."""
    samples = stored.samples
    colour = np.empty((*samples.shape[:2], 3), np.uint16)
    clear = stored.alpha is not None or stored.key is not None
    alpha = np.empty(samples.shape[:2], np.uint16) if clear else None
    for rows in row_blocks(len(samples)):
        part = samples[rows]
        values = part[:, :, :3] if part.shape[2] >= 3 else part[:, :, :1]
        if alpha is not None:
            alpha[rows] = _alpha(stored, part, values)
        if stored.peak != WHITE:
            values = _stretched(values, stored.peak)
        if stored.negative:
            values = WHITE - values
        if stored.multiplied and alpha is not None:
            values = _unmultiplied(values, alpha[rows])
        colour[rows] = values
    if alpha is not None and alpha.min(initial=WHITE) == WHITE:
        alpha = None
    return colour, alpha


def _alpha(stored: _Stored, part: Pixels, values: Pixels) -> Pixels:
    if stored.alpha is not None:
        return _stretched(part[:, :, stored.alpha], stored.peak)
    return keyed_alpha(values, stored.key or ())


def keyed_alpha(pixels: Pixels, key: tuple[int, ...]) -> Pixels:
    """Transparency of a picture one colour of which is transparent: H×W, of the same depth.

    ``pixels``: H×W×channels, as many as ``key`` has.
    """
    white = np.iinfo(pixels.dtype).max
    alpha = np.empty(pixels.shape[:2], pixels.dtype)
    for rows in row_blocks(len(pixels)):
        same = pixels[rows, :, 0] == key[0]
        for channel, value in enumerate(key[1:], 1):
            same &= pixels[rows, :, channel] == value
        alpha[rows] = np.where(same, 0, white)
    return alpha


def _stretched(stored: Pixels, peak: int) -> Pixels:
    """Values of 0..peak to all of 0..65535."""
    if peak == WHITE:
        return stored
    stretched = (stored.astype(np.uint32).clip(max=peak) * WHITE + peak // 2) // peak
    return stretched.astype(np.uint16)


def _unmultiplied(colour: Pixels, alpha: Pixels) -> Pixels:
    """Straight colour of one that was stored multiplied by alpha, as some TIFF files have it."""
    # In float64 no quotient of two such numbers is near enough to a half to be rounded wrongly.
    straight = np.multiply(colour, float(WHITE))
    straight /= np.maximum(alpha, 1)[:, :, None]
    straight += 0.5
    return np.minimum(straight, WHITE, out=straight).astype(np.uint16)
