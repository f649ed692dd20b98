"""What a composite is put over: a colour, a picture, a picture per photo, or a blur."""

import os
import stat
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from birefcli.errors import PhotoError, UsageError
from birefcli.images.colour import from_srgb, to_srgb8
from birefcli.images.decode import decode_photo
from birefcli.images.files import PHOTO_SUFFIXES
from birefcli.images.photo import Photo, Pixels, to_unit
from birefcli.matting.matte import Matte

BLUR = 24.0  # default radius of a blurred background, in pixels of a one-megapixel photo


class Background:
    """What a composite is put over: a colour, a picture, a picture per photo, or a blur."""

    def __init__(self, text: str, max_pixels: int) -> None:
        """Read ``--background``. Raises UsageError when it is none of these."""
        self.text, self.max_pixels = text, max_pixels
        self.colour: Pixels | None = None
        self.picture: Pixels | None = None
        self.folder: Path | None = None
        self.blur: float | None = None
        self._pictures: dict[tuple[str, str], Path] = {}
        self._read(text)

    @classmethod
    def of(cls, picture: Pixels) -> "Background":
        """A picture in memory: H×W×3 of 8-bit sRGB."""
        made = cls("white", 0)
        made.colour, made.picture = None, picture
        return made

    def _read(self, text: str) -> None:
        path = Path(text)
        if text == "blur" or text.startswith("blur:"):
            self.blur = _blur_radius(text)
        elif (colour := _colour(text)) is not None:
            self.colour = colour
        elif stat.S_ISDIR(mode := _mode(path)):
            self.folder = path
            self._pictures = _index(path)
        elif stat.S_ISREG(mode):
            try:
                self.picture = _picture(path, self.max_pixels)
            except (PhotoError, OSError) as error:
                raise UsageError(f"--background {text}: {error}") from None
        else:
            raise UsageError(
                f"--background {text}: no CSS colour, image, folder of images, or blur[:RADIUS]"
            )

    def pixels(self, photo: Photo, matte: Matte, relative: Path) -> Pixels:
        """Background of one photo in its colour space: H×W×3, or 1×1×3 for a colour.

        Raises PhotoError.
        """
        if self.blur is not None:
            return blurred(photo.pixels, matte, self.blur)
        if self.colour is not None:
            ground = self.colour
        elif self.picture is not None:
            ground = cover(self.picture, photo.size)
        else:
            ground = cover(self._load(self._pair(relative), relative), photo.size)
        return ground if photo.icc is None else from_srgb(ground, photo.icc)

    def identity(self, relative: Path) -> str:
        """What a result depends on: colour, radius, or the state of the picture that is named."""
        if self.colour is not None:
            return f"colour {self.colour.ravel().tolist()}"  # white is #fff
        if self.blur is not None:
            return f"blur {self.blur}"
        path = self._pair(relative) if self.folder is not None else Path(self.text)
        if path is None:
            return self.text
        try:
            status = path.stat()
        except OSError:
            return self.text
        return f"{path} {status.st_size} {status.st_mtime_ns}"

    def _pair(self, relative: Path) -> Path | None:
        """The picture of this photo: in the same place of the folder, or at its top."""
        here = self._pictures.get((relative.parent.as_posix(), relative.stem))
        return here or self._pictures.get((".", relative.stem))

    def _load(self, path: Path | None, relative: Path) -> Pixels:
        if path is None:
            raise PhotoError(f"no background called {relative.stem} in {self.folder}")
        try:
            return _picture(path, self.max_pixels)
        except (PhotoError, OSError) as error:
            raise PhotoError(f"background {path}: {error}") from None


def _mode(path: Path) -> int:
    """Type and permissions of a file; 0 where there is none, or the name cannot be one."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0


def _index(folder: Path) -> dict[tuple[str, str], Path]:
    """Pictures below a folder, by their place in it and their name without extension."""
    pictures: dict[tuple[str, str], Path] = {}
    for here, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(here, name)
            if path.suffix.lower() in PHOTO_SUFFIXES:
                pictures.setdefault((Path(here).relative_to(folder).as_posix(), path.stem), path)
    return pictures


def _blur_radius(text: str) -> float:
    number = text.partition(":")[2]
    try:
        radius = float(number) if number else 0.0
    except ValueError:
        radius = -1.0
    if not (0 <= radius < 10_000) or (number and radius == 0):
        raise UsageError(f"--background {text}: the radius is a number of pixels above 0")
    return radius


def _colour(text: str) -> Pixels | None:
    try:
        colour = ImageColor.getcolor(text, "RGBA")
    except ValueError:
        return None
    red, green, blue, alpha = cast("tuple[int, int, int, int]", colour)
    if alpha != 255:
        raise UsageError(f"--background {text}: a composite is opaque; write a cutout instead")
    return np.array([[[red, green, blue]]], np.uint8)


def _picture(path: Path, max_pixels: int) -> Pixels:
    return to_srgb8(decode_photo(path.read_bytes(), max_pixels))


def cover(picture: Pixels, size: tuple[int, int]) -> Pixels:
    """Scale a picture so that it fills ``size`` (height, width), and cut what stands out."""
    height, width = size
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
        soft = cv2.GaussianBlur(shrunk, (0, 0), sigma)
        return np.asarray(soft, np.float32).reshape(small[1], small[0])

    weight = 1 - alpha
    total, low_weight = max(float(weight.sum()), 1e-6), low(weight)
    del weight
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
        # Behind the middle of a large subject no background is near: fall back on its mean.
        colour = (low(left) + 1e-4 * float(left.sum()) / total) / (low_weight + 1e-4)
        full = cv2.resize(colour, (width, height), left)  # in the place of what is done with
        full.clip(0, 1, out=full)
        full *= peak
        out[:, :, channel] = np.rint(full, out=full)
        del left, full
    return out
