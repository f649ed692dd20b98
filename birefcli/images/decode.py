"""How a file's bytes become upright pixels."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image

from birefcli.errors import NoPictureError, PhotoError

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile
from birefcli.images.colour import colours_of, convert_to_srgb
from birefcli.images.formats.contents import left_out
from birefcli.images.formats.deep import deep_pixels, is_deep, keyed_alpha
from birefcli.images.formats.jpeg import lacks_end, with_end
from birefcli.images.formats.jpeg2000 import to_white
from birefcli.images.formats.png import lacks_rows
from birefcli.images.formats.tiff import check_whole, codec_named, read_directory
from birefcli.images.metadata import orientation_of, read_description, read_dpi
from birefcli.images.opening import decoding_errors, open_sound, refuse_bomb
from birefcli.images.photo import Photo, Pixels, upright
from birefcli.options import Size
from birefcli.system.process_settings import without_libtiff_messages, without_pillow_limit

GREY_LEVELS = {"L;2": 85, "L;4": 17}  # what Pillow makes of 1, of a PNG with 2 or 4 bits


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
    with without_pillow_limit(), without_libtiff_messages(), decoding_errors(data[:512]):
        opened = open_sound(data)
        with opened.image as image:
            refuse_bomb(image.width, image.height, max_pixels)
            before_decoding(image.width * image.height)
            photo = _decode_to_end(image, opened.data, min_size)
        return replace(photo, notes=opened.notes + photo.notes)


def decode_pil(image: Image.Image) -> Photo:
    """A picture that Pillow has opened, as :func:`decode_photo` has its file, but for three things.

    Pillow cuts 16 bits a channel in colour to 8, and keeps them in grey; it does not show all that
    files say of their colours (PNG's cICP, or AVIF without a profile); and what was done to the
    picture since it was opened is kept. The picture stays as it is. Raises PhotoError where it is
    damaged, has no pixels, or is of a mode without a meaning here (``I``, ``F``).
    """
    if not all(image.size):
        raise NoPictureError(f"a picture of {image.width}×{image.height} pixels: it is empty")
    with without_pillow_limit(), without_libtiff_messages(), decoding_errors(b""):
        deep, key = image.mode.startswith("I;16"), _transparent_colour(image)
        return _photo(image, lambda: _deep_grey(image) if deep else _pixels(image, key))


def _deep_grey(image: Image.Image) -> "Decoded":
    grey = np.asarray(image).astype(np.uint16)
    return np.repeat(grey[:, :, None], 3, 2), None


def _decode_to_end(image: "ImageFile", data: bytes, min_size: Size | None) -> Photo:
    endless = image.format in ("JPEG", "MPO") and lacks_end(data)
    try:
        photo = _decode(image, data, min_size)
    except OSError:
        whole = with_end(data) if endless else None
        if whole is None:
            raise
        with open_sound(whole).image as ended:
            photo = _decode(ended, whole, min_size)
    return replace(photo, notes=("end marker missing", *photo.notes)) if endless else photo


def _decode(image: "ImageFile", data: bytes, min_size: Size | None) -> Photo:
    # First: Pillow forgets how pixels are stored when it decodes them.
    if is_deep(image, data):
        return _photo(image, lambda: deep_pixels(image, data), data, turned=False)
    key = _transparent_colour(image)
    whole = image.size
    times = _times_smaller(image, data, min_size)
    if times > 1:
        # The size is asked for, and not the mode: Pillow would give grey where colour is stored.
        image.draft(None, (whole[0] // times, whole[1] // times))
    damage: list[str] = []
    pixels = lambda: _quick_jpeg(image, data, damage) or _shallow(image, data, key)  # noqa: E731
    photo = _photo(image, pixels, data)
    if damage:
        photo = replace(photo, notes=(*damage, *photo.notes), notable=True)
    if times == 1:
        return photo
    turned = orientation_of(image, data) >= 5
    return replace(photo, whole=whole if turned else whole[::-1])


def _times_smaller(image: "ImageFile", data: bytes, min_size: Size | None) -> int:
    """How many times less high and wide a picture can be, of what its JPEG can be decoded at."""
    if min_size is None or image.format != "JPEG":
        return 1
    width, height = image.size if orientation_of(image, data) < 5 else image.size[::-1]
    fit = (n for n in (8, 4, 2) if width // n >= min_size[0] and height // n >= min_size[1])
    return next(fit, 1)


CORRUPT = "Corrupt JPEG data"  # how libjpeg's warnings of wrong pixels begin
DAMAGED = "damaged"
"""How the note begins of a photo that is read although something of it is lost."""
Decoded: TypeAlias = tuple[Pixels, Pixels | None]
"""H×W×3, and the photo's own transparency."""


def _photo(
    image: Image.Image,
    decode: Callable[[], Decoded],
    data: bytes = b"",
    turned: bool | None = None,
) -> Photo:
    """What an image says of itself, and then its pixels, upright.

    ``turned``: whether decoding turns them; by default what Pillow does.
    """
    left = left_out(image, data)
    notes = left.notes
    colours = colours_of(image, data)
    orientation = orientation_of(image, data)
    dpi = read_dpi(image, orientation)
    if image.mode in ("CMYK", "LAB"):
        notes.append(f"{'Lab' if image.mode == 'LAB' else 'CMYK'} converted to sRGB")
    pixels, alpha = decode()
    pixels, more = colours.applied(pixels)
    if not (image.format == "TIFF" if turned is None else turned):
        pixels = upright(pixels, orientation)
        alpha = alpha if alpha is None else upright(alpha, orientation)
    said = read_description(image, data, orientation > 1)
    return Photo(
        pixels,
        alpha,
        colours.icc,
        dpi,
        said.exif,
        (*notes, *more),
        metadata_notes=said.notes,
        notable=left.pictures,
        xmp=said.xmp,
        iptc=said.iptc,
    )


def _quick_jpeg(image: "ImageFile", data: bytes, damage: list[str]) -> tuple[Pixels, None] | None:
    """Pixels of a JPEG where the extra ``fast`` is installed: Pillow's, without its copies.

    None for what is not plain, or is damaged in any way: that is left to Pillow. Damage of which
    Pillow says nothing is added to ``damage``.
    """
    if simplejpeg is None or image.format != "JPEG" or image.mode != "RGB":
        return None
    try:
        width, height = image.size
        pixels = simplejpeg.decode_jpeg(data, min_width=width, min_height=height)
    except ValueError as error:
        if str(error).startswith(CORRUPT):
            why = str(error).removeprefix(CORRUPT).strip(" :")
            damage.append(f"{DAMAGED}: some of its pixels may be wrong ({why})")
        return None
    # A file of several pictures may hold another size than the one that was asked about.
    return (pixels, None) if pixels.shape[1::-1] == image.size else None


Key: TypeAlias = tuple[int, ...] | None
"""The one colour that is transparent, as pixels have it: one value, or three."""


def _transparent_colour(image: Image.Image) -> Key:
    key, tiles = image.info.get("transparency"), getattr(image, "tile", None)
    if image.mode not in ("1", "L", "RGB") or not isinstance(key, int | tuple):
        return None
    levels = GREY_LEVELS.get(str(tiles[0][3]), 1) if tiles else 1
    values = (key,) if isinstance(key, int) else key
    if len(values) != len(image.getbands()):
        return None
    # A file gives two bytes for each value; of them as many bits count as pixels have.
    count = 255 // levels + 1
    return tuple(value % count * levels for value in values)


def _shallow(image: Image.Image, data: bytes, key: Key) -> Decoded:
    """Pixels of 8 bits or fewer."""
    if image.format == "TIFF" and (found := read_directory(data)) is not None:
        check_whole(found)
        with codec_named(found):
            return _pixels(image, key)
    pixels, alpha = _pixels(image, key)
    if image.format == "PNG" and _may_lack_rows(image, pixels) and lacks_rows(data):
        raise PhotoError("damaged image: it holds fewer rows than it says")
    if image.format == "JPEG2000" and image.mode in ("L", "LA", "RGB", "RGBA"):
        pixels = to_white(pixels, data)
        alpha = None if alpha is None else to_white(alpha, data)
    return pixels, alpha


def _may_lack_rows(image: Image.Image, pixels: Pixels) -> bool:
    """Whether the last row is what Pillow makes of a missing one: zeros, of colours or a palette.

    Many photos have such a row; few have that one, and it takes long to count those of a file.
    """
    last = pixels[-1]
    return bool((last == last[0]).all() if image.mode == "P" else not last.any())


def _pixels(image: Image.Image, key: Key) -> Decoded:
    if image.mode in ("I", "F"):
        raise PhotoError(f"{image.mode} pixels of 32 bits are not supported: save 8 or 16 bits")
    if image.mode in ("CMYK", "LAB"):
        return np.asarray(convert_to_srgb(image)), None
    if key is not None:
        return _keyed_pixels(image, key)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return _clear_pixels(image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB")), None


def _keyed_pixels(image: Image.Image, key: tuple[int, ...]) -> Decoded:
    """Pixels of a picture that has one transparent colour."""
    stored = np.asarray(image.convert("L") if image.mode == "1" else image)
    stored = stored.reshape(*stored.shape[:2], -1)
    alpha = keyed_alpha(stored, key)
    colour = stored if stored.shape[2] == 3 else np.repeat(stored, 3, 2)
    return colour, None if alpha.min() == 255 else alpha


def _clear_pixels(image: Image.Image) -> Decoded:
    """Pixels of a picture that has transparency."""
    # Pillow converts premultiplied grey to nothing but straight grey.
    straight = image.convert("LA") if image.mode == "La" else image
    rgba = np.asarray(straight if straight.mode == "RGBA" else straight.convert("RGBA"))
    alpha = np.ascontiguousarray(rgba[:, :, 3])
    # Programs that know no transparency leave the fourth byte of a BMP at 0.
    opaque = alpha.min() == 255 or (image.format == "BMP" and not alpha.any())
    return np.ascontiguousarray(rgba[:, :, :3]), None if opaque else alpha
