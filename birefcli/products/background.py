"""What a composite is put over: a colour, a picture, a picture per photo, or a blur.

A text becomes one of these values once, in :func:`parse_background`; nothing else opens a file
because a text looks like its name.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from birefcli.errors import Message, Option, PhotoError, UsageError
from birefcli.images.colour import from_srgb
from birefcli.images.decode import decode_photo
from birefcli.images.photo import Photo, Pixels, to_unit
from birefcli.matting.matte import Matte
from birefcli.options import Product, Rendering, Size
from birefcli.products.background_files import (
    Origin,
    PictureFile,
    PictureObject,
    Pictures,
    StoredPicture,
    find_pictures,
    opaque,
    read_picture,
)
from birefcli.products.layout import Layout
from birefcli.products.placing import covers_canvas, place_picture

BLUR = 24.0  # default radius of a blurred background, in pixels of a one-megapixel photo


@dataclass(frozen=True)
class Colour:
    """One opaque colour: ``rgb`` of 8-bit sRGB."""

    rgb: tuple[int, int, int]

    def pixels(
        self, photo: Photo, matte: Matte, relative: Path, layout: Layout | None = None
    ) -> Pixels:
        """The colour in the photo's colour space: 1×1×3."""
        return _in_colour_space(np.array([[self.rgb]], np.uint8), photo)

    def identity(self, relative: Path) -> str:
        """What a composite depends on: ``white`` is ``#fff``."""
        return f"colour {list(self.rgb)}"


@dataclass(frozen=True)
class Blur:
    """The photo's own background, blurred. ``radius``: in pixels, 0 for one that suits the size."""

    radius: float

    def pixels(
        self, photo: Photo, matte: Matte, relative: Path, layout: Layout | None = None
    ) -> Pixels:
        """The blurred background: H×W×3 of the photo's dtype.

        Where the photo does not reach all of its canvas, its background is scaled to cover it: a
        background that goes on beyond the photo's edge shows that edge, as stripes or as a mirror.
        """
        soft = blurred(photo.pixels, matte, self.radius)
        if layout is None:
            return soft
        if covers_canvas(layout):
            return place_picture(soft, layout)
        return cover_softly(soft, layout.size)

    def identity(self, relative: Path) -> str:
        """What a composite depends on."""
        return f"blur {self.radius}"


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture for every photo, scaled to cover it. ``image``: H×W×3 of 8-bit sRGB."""

    image: Pixels
    file: StoredPicture | None = None
    """What it was read from."""
    was_transparent: bool = False
    """Whether white shows where the file is transparent."""

    def pixels(
        self, photo: Photo, matte: Matte, relative: Path, layout: Layout | None = None
    ) -> Pixels:
        """The part that covers photo or canvas, in the photo's colour space: H×W×3."""
        return _in_colour_space(cover(self.image, _shape(photo, layout)), photo)

    def identity(self, relative: Path) -> str:
        """What a composite depends on: the file, with its size and time or ETag."""
        return "" if self.file is None else self.file.identity(str(self.file.origin))


@dataclass(frozen=True, eq=False)
class Folder:
    """A picture for each photo, paired by name."""

    origin: Origin
    max_pixels: int
    """A larger picture fails, and its photo with it."""
    pictures: Pictures

    def pixels(
        self, photo: Photo, matte: Matte, relative: Path, layout: Layout | None = None
    ) -> Pixels:
        """The photo's own background, covering it, or its canvas: H×W×3. Raises PhotoError."""
        return _in_colour_space(cover(self._load(relative), _shape(photo, layout)), photo)

    def identity(self, relative: Path) -> str:
        """What a composite depends on: the photo's background, with its size and time or ETag."""
        picture = self._pair(relative)
        return str(self.origin) if picture is None else picture.identity(str(self.origin))

    def _pair(self, relative: Path) -> StoredPicture | None:
        """The picture of this photo: in the same place of the folder, or at its top."""
        here = self.pictures.get((relative.parent.as_posix(), relative.stem))
        return here or self.pictures.get((".", relative.stem))

    def _load(self, relative: Path) -> Pixels:
        picture = self._pair(relative)
        if picture is None:
            raise PhotoError(f"no background called {relative.stem} in {self.origin}")
        try:
            return read_picture(picture, self.max_pixels).pixels
        except PhotoError as error:
            raise PhotoError(Message(f"background {picture.origin}: ", error.message)) from None


Background: TypeAlias = Colour | Blur | Picture | Folder


def files_of(background: Background) -> list[Origin]:
    """The files and objects that a background is read from."""
    match background:
        case Picture(file=PictureFile() | PictureObject() as file):
            return [file.origin]
        case Folder(pictures=pictures):
            return [picture.origin for picture in pictures.values()]
        case _:
            return []


def note_of(background: Background) -> str | None:
    """What its owner may want to know of a background."""
    if isinstance(background, Picture) and background.file and background.was_transparent:
        return f"background {background.file.origin} is transparent in places: white shows there"
    return None


def parse_background(text: str, max_pixels: int) -> Background:
    """Read a CSS colour, ``blur``, ``blur:RADIUS``, or the name of a picture or of a folder.

    Both may be in a store. A picture is decoded, a folder is walked. Raises UsageError when it is
    none of these.
    """
    plain = parse_colour_or_blur(text)
    if plain is not None:
        return plain
    origin, found = find_pictures(text)
    if isinstance(found, dict):
        return Folder(origin, max_pixels, found)
    try:
        image, was_transparent = read_picture(found, max_pixels)
        return Picture(image, found, was_transparent)
    except PhotoError as error:
        raise UsageError(error.message, option="background", value=text) from None


def background_of(rendering: Rendering, max_pixels: int) -> Background | None:
    """What the composites of a rendering are put over; None, and nothing read, without any.

    Raises UsageError.
    """
    if Product.COMPOSITE not in rendering.products:
        return None
    return parse_background(rendering.background, max_pixels)


def decode_background(data: bytes, max_pixels: int) -> Picture:
    """A picture of these bytes. Raises PhotoError."""
    return Picture(opaque(decode_photo(data, max_pixels)).pixels)


def parse_colour_or_blur(text: str) -> Colour | Blur | None:
    """Read what needs no file; None for any other text. Raises UsageError."""
    if text == "blur" or text.startswith("blur:"):
        return Blur(_blur_radius(text))
    return _colour(text)


def _shape(photo: Photo, layout: Layout | None) -> tuple[int, int]:
    """(height, width) of what is to be covered."""
    return photo.shape if layout is None else (layout.size.height, layout.size.width)


def _in_colour_space(srgb: Pixels, photo: Photo) -> Pixels:
    bits = 8 * photo.pixels.dtype.itemsize
    return srgb if photo.icc is None else from_srgb(srgb, photo.icc, bits)


def _blur_radius(text: str) -> float:
    number = text.partition(":")[2]
    try:
        radius = float(number) if number else 0.0
    except ValueError:
        radius = -1.0
    if not (0 <= radius < 10_000) or (number and radius == 0):
        wrong = "give a radius in pixels above 0, like blur:20"
        raise UsageError(wrong, option="background", value=text)
    return radius


WITH_ALPHA = re.compile(r"\s*(rgb|hsl)a?\((.*)[,/]\s*([\d.]+)(%?)\s*\)\s*", re.IGNORECASE)
"""A CSS colour that says how opaque it is: ``rgba(255, 0, 0, 0.5)``, ``rgb(255 0 0 / 50%)``."""


def _without_alpha(text: str) -> str:
    """A colour without the alpha of 1 that it states; one that is clear for another alpha."""
    found = WITH_ALPHA.fullmatch(text)
    parts = re.split(r"[,\s]+", found[2].strip()) if found else []
    if found is None or len(parts) != 3:
        clear = text.strip().lower() == "transparent"
        return "#0000" if clear else text
    try:
        alpha = float(found[3]) / (100 if found[4] else 1)
    except ValueError:
        return text
    opaque_ones = (1, 255)  # of 255 as other programs count; CSS would take 128 for opaque
    return f"{found[1]}({', '.join(parts)})" if alpha in opaque_ones else "#0000"


def _colour(text: str) -> Colour | None:
    text, given = _without_alpha(text), text
    try:
        colour = ImageColor.getcolor(text, "RGBA")
    except ValueError:
        return None
    # CSS clamps, Pillow does not: rgb(999, 0, 0) is red.
    channels = cast("tuple[int, int, int, int]", colour)
    red, green, blue, alpha = (min(255, max(0, channel)) for channel in channels)
    if alpha != 255:
        wrong = Message("a composite is opaque; use ", Option("write", "cutout"))
        raise UsageError(wrong, option="background", value=given)
    return Colour((red, green, blue))


def cover_softly(picture: Pixels, size: Size) -> Pixels:
    """Scale a picture without detail, of any depth, so that it fills ``size``, and cut the rest."""
    height, width = picture.shape[:2]
    scale = min(width / size.width, height / size.height)
    box = max(1, round(size.width * scale)), max(1, round(size.height * scale))
    left, top = (width - box[0]) // 2, (height - box[1]) // 2
    part = picture[top : top + box[1], left : left + box[0]]
    return np.asarray(cv2.resize(part, tuple(size), interpolation=cv2.INTER_LINEAR))


def cover(picture: Pixels, shape: tuple[int, int]) -> Pixels:
    """Scale a picture so that it fills ``shape`` (height, width), and cut what stands out."""
    height, width = shape
    scale = max(height / picture.shape[0], width / picture.shape[1])
    box_height, box_width = height / scale, width / scale
    # Rounding may put an edge a hair outside the picture, which Pillow refuses.
    left = max(0.0, (picture.shape[1] - box_width) / 2)
    top = max(0.0, (picture.shape[0] - box_height) / 2)
    right = min(float(picture.shape[1]), left + box_width)
    bottom = min(float(picture.shape[0]), top + box_height)
    scaled = Image.fromarray(picture).resize(
        (width, height), Image.Resampling.BICUBIC, box=(left, top, right, bottom)
    )
    return np.asarray(scaled)


def blurred(pixels: Pixels, matte: Matte, radius: float) -> Pixels:
    """Blur the background alone: the subject's colour does not bleed into it. H×W×3."""
    height, width = matte.alpha.shape
    radius = radius or BLUR * max(1.0, float(np.sqrt(height * width / 1e6)))
    # A blur holds no detail finer than its radius: done small, it is the same and far cheaper.
    shrink = max(1.0, radius / 8)
    small = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    alpha = to_unit(matte.alpha)
    sigma = radius / shrink / 2

    def low(full: NDArray[np.float32]) -> NDArray[np.float32]:
        shrunk = cv2.resize(full, small, interpolation=cv2.INTER_AREA)
        return np.asarray(shrunk, np.float32).reshape(small[1], small[0])

    weight = low(1 - alpha)
    peak = np.iinfo(pixels.dtype).max
    out: Pixels = np.empty(pixels.shape, pixels.dtype)
    for channel in range(3):  # one by one: all three in float32 would be most of the memory
        # A soft pixel is a mixture: what is left without the subject's share is the background's.
        left = to_unit(pixels[:, :, channel])
        share = to_unit(matte.foreground[:, :, channel])
        share *= alpha
        left -= share
        del share
        left.clip(0, out=left)
        colour = cv2.GaussianBlur(_filled(low(left), weight), (0, 0), sigma)
        full = cv2.resize(colour, (width, height), left)  # in the place of what is done with
        full.clip(0, 1, out=full)
        full *= peak
        out[:, :, channel] = np.rint(full, out=full)
        del left, full
    return out


def _filled(left: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """A plane whose holes have the colour that is around them: H×W.

    ``left``: the colour times its ``weight``, 0..1, which is 0 in holes. By halves of the size:
    what a cell lacks is that of the coarser one (push-pull, Gortler et al., "The Lumigraph", 1996).
    """
    height, width = weight.shape
    if max(height, width) == 1:
        return np.asarray(left / np.maximum(weight, 1e-6), np.float32)
    half = ((width + 1) // 2, (height + 1) // 2)
    coarse = (
        np.asarray(cv2.resize(plane, half, interpolation=cv2.INTER_AREA), np.float32).reshape(
            half[1], half[0]
        )
        for plane in (left, weight)
    )
    up = cv2.resize(_filled(*coarse), (width, height), interpolation=cv2.INTER_LINEAR)
    coarser = np.asarray(up, np.float32).reshape(height, width)
    return np.asarray(left + (1 - weight) * coarser, np.float32)
