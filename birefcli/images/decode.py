"""How a file's bytes become upright pixels."""

import io
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np
from PIL import Image

from birefcli.errors import PhotoError

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile
from birefcli.images.colour import colours_of, convert_to_srgb
from birefcli.images.metadata import orientation_of, read_description, read_dpi
from birefcli.images.opening import decoding_errors, open_image, refuse_bomb, without_pillow_limit
from birefcli.images.photo import Photo, Pixels, upright
from birefcli.options import Size

PHOTOMETRIC, PLANAR, EXTRA_SAMPLES = 262, 284, 338  # TIFF tags


def decode_photo(
    data: bytes,
    max_pixels: int,
    before_decoding: Callable[[int], None] = lambda _: None,
    min_size: Size | None = None,
) -> Photo:
    """Decode one photo: first frame, upright, 8 or 16 bits as stored.

    ``before_decoding`` is called with the number of pixels, and may wait. ``min_size``: the
    size that suffices; a JPEG is then decoded at a half, a quarter or an eighth of its size, but
    no smaller. Raises PhotoError with the cause: no image, damaged, or more than ``max_pixels``
    pixels.
    """
    if not data:
        raise PhotoError("the file is empty")
    with without_pillow_limit(), decoding_errors(data[:512]), open_image(io.BytesIO(data)) as image:
        refuse_bomb(image.width, image.height, max_pixels)
        before_decoding(image.width * image.height)
        return _decode(image, data, min_size)


def decode_pil(image: Image.Image) -> Photo:
    """A picture that Pillow has opened, as :func:`decode_photo` has its file, but for three things.

    Pillow cuts 16 bits a channel in colour to 8, and keeps them in grey; it does not show all that
    files say of their colours (PNG's cICP, or AVIF without a profile); and what was done to the
    picture since it was opened is kept. The picture stays as it is. Raises PhotoError where it is
    damaged, or of a mode without a meaning here (``I``, ``F``).
    """
    with without_pillow_limit(), decoding_errors(b""):
        deep = image.mode.startswith("I;16")
        return _photo(image, lambda: _deep_grey(image) if deep else _pixels(image))


def _deep_grey(image: Image.Image) -> "Decoded":
    grey = np.asarray(image).astype(np.uint16)
    return np.repeat(grey[:, :, None], 3, 2), None


def _decode(image: "ImageFile", data: bytes, min_size: Size | None) -> Photo:
    # First: reading the EXIF block of a PNG may load its pixels.
    if _is_deep(image):
        return _photo(image, lambda: _deep_pixels(image, data), data)
    whole = image.size
    times = 1 if min_size is None or image.format != "JPEG" else _times_smaller(image, min_size)
    if times > 1:
        # The size is asked for, and not the mode: Pillow would give grey where colour is stored.
        image.draft(None, (whole[0] // times, whole[1] // times))
    photo = _photo(image, lambda: _quick_jpeg(image, data) or _pixels(image), data)
    if times == 1:
        return photo
    turned = orientation_of(image) >= 5
    return replace(photo, whole=whole if turned else whole[::-1])


def _times_smaller(image: "ImageFile", min_size: Size) -> int:
    """How many times less high and wide a picture can be, of what its JPEG can be decoded at."""
    width, height = image.size if orientation_of(image) < 5 else image.size[::-1]
    fit = (n for n in (8, 4, 2) if width // n >= min_size[0] and height // n >= min_size[1])
    return next(fit, 1)


Decoded: TypeAlias = tuple[Pixels, Pixels | None]
"""H×W×3, and the photo's own transparency."""


def _photo(image: Image.Image, decode: Callable[[], Decoded], data: bytes = b"") -> Photo:
    """What an image says of itself, and then its pixels, upright."""
    notes = []
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        notes.append(f"first of {frames} frames or pages")
    colours = colours_of(image, data)
    orientation = orientation_of(image)
    dpi = read_dpi(image, orientation)
    if image.mode in ("CMYK", "LAB"):
        notes.append(f"{'Lab' if image.mode == 'LAB' else 'CMYK'} converted to sRGB")
    pixels, alpha = decode()
    pixels, more = colours.applied(pixels)
    if image.format != "TIFF":  # Pillow and OpenCV alike turn those while they decode
        pixels = upright(pixels, orientation)
        alpha = alpha if alpha is None else upright(alpha, orientation)
    said = read_description(image, data, orientation > 1)
    notes += [*more, *said.notes]
    return Photo(
        pixels, alpha, colours.icc, dpi, said.exif, tuple(notes), xmp=said.xmp, iptc=said.iptc
    )


def _is_deep(image: "ImageFile") -> bool:
    """Whether the file stores 16 bits a channel in a form Pillow would cut to 8."""
    if image.mode.startswith("I;16"):
        return True
    if image.format == "PNG":
        return any("16" in str(tile[3]) for tile in image.tile)
    if image.format == "TIFF":
        depth = image.tag_v2.get(258, (8,))  # type: ignore[attr-defined]
        return image.mode in ("RGB", "RGBA", "RGBX") and max(np.atleast_1d(depth)) == 16
    return image.format == "PPM" and _ppm_peak(image) > 255


def _ppm_peak(image: "ImageFile") -> int:
    """Value of white in a PPM or PGM file."""
    layout = image.tile[0].args if image.tile else None
    if isinstance(layout, tuple):  # (mode, peak)
        return int(layout[-1])
    return 65535 if image.mode == "I" else 255  # stored as it is


def _deep_pixels(image: "ImageFile", data: bytes) -> tuple[Pixels, Pixels | None]:
    """16-bit pixels through OpenCV, which keeps them."""
    tags = getattr(image, "tag_v2", {})
    if tags.get(PLANAR) == 2 and image.mode in ("RGB", "RGBA", "RGBX"):
        # OpenCV fills such a picture with whatever lay in memory.
        raise PhotoError("16-bit TIFF in separate colour planes: save it with interleaved colours")
    raw = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if raw is None:
        raise PhotoError("damaged image: its 16-bit pixels cannot be decoded")
    stored = raw if raw.dtype == np.uint16 else raw.astype(np.uint16) * 257
    if image.format == "PPM":
        stored = _stretched(stored, _ppm_peak(image))
    if tags.get(PHOTOMETRIC) == 0:  # a negative: 0 is white
        stored = 65535 - stored
    if stored.ndim == 2:
        stored = stored[:, :, None]
    grey = stored.shape[2] <= 2  # alone, or with alpha
    colour = np.repeat(stored[:, :, :1], 3, 2) if grey else stored[:, :, 2::-1]
    key = image.info.get("transparency")
    alpha = None
    if stored.shape[2] in (2, 4) and (image.mode in ("LA", "RGBA") or key is not None):
        alpha = stored[:, :, -1]
    elif isinstance(key, int):
        alpha = np.where(stored[:, :, 0] == key, 0, 65535).astype(np.uint16)
    if alpha is None or alpha.min() == 65535:
        return np.ascontiguousarray(colour), None
    if tags.get(EXTRA_SAMPLES) == (1,):
        colour = _unmultiplied(colour, alpha)
    return np.ascontiguousarray(colour), np.ascontiguousarray(alpha)


def _stretched(stored: Pixels, peak: int) -> Pixels:
    """Values of 0..peak to all of 0..65535."""
    stretched = (stored.astype(np.uint32).clip(max=peak) * 65535 + peak // 2) // peak
    return stretched.astype(np.uint16)


def _unmultiplied(colour: Pixels, alpha: Pixels) -> Pixels:
    """Straight colour of one that was stored multiplied by alpha, as some TIFF files have it."""
    whole = np.maximum(alpha, 1).astype(np.uint64)[:, :, None]
    straight = (colour.astype(np.uint64) * 65535 + whole // 2) // whole
    return straight.clip(max=65535).astype(np.uint16)


def _quick_jpeg(image: "ImageFile", data: bytes) -> tuple[Pixels, None] | None:
    """Pixels of a JPEG where the extra ``fast`` is installed: Pillow's, without its copies.

    None for what is not plain, or is damaged in any way: that is left to Pillow, and to its words.
    """
    if simplejpeg is None or image.format != "JPEG" or image.mode != "RGB":
        return None
    try:
        width, height = image.size
        pixels = simplejpeg.decode_jpeg(data, min_width=width, min_height=height)
    except ValueError:
        return None
    # A file of several pictures may hold another size than the one that was asked about.
    return (pixels, None) if pixels.shape[1::-1] == image.size else None


def _pixels(image: Image.Image) -> tuple[Pixels, Pixels | None]:
    if image.mode in ("I", "F"):
        raise PhotoError(f"{image.mode} pixels of 32 bits are not supported: save 8 or 16 bits")
    if image.mode in ("CMYK", "LAB"):
        return np.asarray(convert_to_srgb(image)), None
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        # Pillow converts premultiplied grey to nothing but straight grey.
        straight = image.convert("LA") if image.mode == "La" else image
        rgba = np.asarray(straight.convert("RGBA"))
        alpha = np.ascontiguousarray(rgba[:, :, 3])
        return np.ascontiguousarray(rgba[:, :, :3]), None if alpha.min() == 255 else alpha
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB")), None
