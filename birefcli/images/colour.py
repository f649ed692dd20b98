"""Colour: what a file means is kept as a profile, or converted; and pixels to sRGB and back."""

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from birefcli.images.photo import Photo, Pixels, row_blocks, to_depth
from birefcli.images.profiles import profile
from birefcli.images.profiles.cicp import Cicp
from birefcli.images.stated import is_adobe_by_exif, statements

LARGEST = 1_000_000  # bytes of a profile on a product: Pillow reads no PNG of more than 1 MiB
LEVELS = 65535
DARKEST = 0.18  # luminance that LittleCMS takes for black at most: a lightness of 50
CMS_ERRORS = (ImageCms.PyCMSError, OSError, ValueError, TypeError)
GREY_MODES = ("1", "L", "LA", "La", "I")
T = TypeVar("T")


class Space(Enum):
    """What a profile makes of RGB."""

    SRGB = "sRGB, within a level"
    OTHER = "another space"
    BROKEN = "nothing: it cannot be opened"


def by_digest(size: int) -> Callable[[Callable[[bytes], T]], Callable[[bytes], T]]:
    """Remember what a function made of the last ``size`` profiles, but none of the profiles."""

    def remembering(function: Callable[[bytes], T]) -> Callable[[bytes], T]:
        known: OrderedDict[bytes, T] = OrderedDict()
        lock = threading.Lock()

        def remembered(icc: bytes) -> T:
            key = hashlib.sha256(icc).digest()
            with lock:
                if key in known:
                    known.move_to_end(key)
                    return known[key]
            made = function(icc)
            with lock:
                known[key] = made
                while len(known) > size:
                    known.popitem(last=False)
            return made

        return remembered

    return remembering


# What a file means


@dataclass(frozen=True)
class Colours:
    """The colours of a picture that is about to be decoded."""

    icc: bytes | None = None
    """Profile of its pixels, when :meth:`applied` is done with them; None for sRGB or unknown."""
    notes: tuple[str, ...] = ()
    source: bytes | None = None
    """Profile to convert from, where it is none to be kept."""
    done: str = ""
    """What that does, as a note."""

    def applied(self, pixels: Pixels) -> tuple[Pixels, tuple[str, ...]]:
        """Pixels as they are kept, H×W×3, and what was done to the picture."""
        if self.source is None:
            return pixels, self.notes
        exact = pixels.dtype == np.uint8 or _deep_to_srgb(self.source) is not None
        done = self.done + ("" if exact else ", at 8 bits a channel")
        converted = np.empty_like(pixels)
        for rows in row_blocks(len(pixels)):
            converted[rows] = _to_srgb(pixels[rows], self.source)
        return converted, (*self.notes, done)


def colours_of(image: Image.Image, data: bytes = b"") -> Colours:
    """What an opened picture means by its RGB or grey, by the first statement that makes sense.

    ``data``: its file, where it is at hand. Does not look at pixels.
    """
    # Pixels of sRGB need to say so where the EXIF block, which goes with them, says otherwise.
    plain = profile.srgb_profile() if is_adobe_by_exif(image, data) else None
    if image.mode in ("CMYK", "LAB"):  # convert_to_srgb has its own way
        return Colours(plain)
    grey = image.mode in GREY_MODES or image.mode.startswith("I;16")
    notes: list[str] = []
    for stated in statements(image, data):
        if isinstance(stated, Cicp):
            icc, wrong = stated.profile(), f"unknown colours left out: {stated}"
        else:
            icc, wrong = _usable(stated, grey)
        if icc is None:
            notes.append(wrong)
        elif isinstance(stated, Cicp) and stated.hdr:
            done = f"HDR ({stated.hdr}): converted to sRGB, cut at white"
            return Colours(plain, tuple(notes), icc, done)
        elif len(icc) > LARGEST:
            done = f"colour profile of {len(icc) / 1e6:.1f} MB: converted to sRGB"
            return Colours(plain, tuple(notes), icc, done)
        else:
            needed = icc is image.info.get("icc_profile") or _space(icc) is not Space.SRGB
            return Colours(icc if needed else plain, tuple(notes))
    return Colours(notes=tuple(notes))


def _usable(icc: bytes, grey: bool) -> tuple[bytes | None, str]:
    """The profile of RGB that a profile is or amounts to; else the reason for leaving it out."""
    space = profile.space(icc)
    if space == "GRAY" and grey:
        icc = profile.grey_as_rgb(icc) or _grey_by_tables(icc) or b""
    elif space not in ("RGB", None):
        return None, f"colour profile for {space} left out"
    if space is None or _space(icc) is Space.BROKEN:
        return None, "colour profile damaged, left out"
    return icc, ""


def _grey_by_tables(icc: bytes) -> bytes | None:
    """A profile of grey that goes by tables, as one of RGB, by what LittleCMS makes of 8 bits."""
    greys = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    try:
        shown = ImageCms.profileToProfile(greys, _opened(icc), _srgb(), outputMode="RGB")
    except CMS_ERRORS:
        return None
    assert shown is not None, "not in place"
    stored = np.asarray(shown)[0, :, 1] / 255
    linear = profile.evaluate(profile.SRGB_CURVE, stored)
    return profile.rgb_profile("Grey", profile.BT709, profile.sampled(linear))


def convert_to_srgb(image: Image.Image) -> Image.Image:
    """CMYK or Lab by its own profile where it has a good one."""
    icc = image.info.get("icc_profile")
    if icc:
        try:
            converted = ImageCms.profileToProfile(image, _opened(icc), _srgb(), outputMode="RGB")
        except CMS_ERRORS:
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")


# To sRGB and back


def to_srgb8(photo: Photo, behind: int = 128) -> NDArray[np.uint8]:
    """The photo as the network was trained to see photos: H×W×3 of 8-bit sRGB, no transparency.

    Pixels under the photo's own transparency are mixed with the grey ``behind`` them, 0..255: what
    is stored there was never meant to be seen.
    """
    foreign = photo.icc if photo.icc is not None and _space(photo.icc) is Space.OTHER else None
    if photo.pixels.dtype == np.uint8 and foreign is None and photo.alpha is None:
        return photo.pixels
    out = np.empty(photo.pixels.shape, np.uint8)
    for rows in row_blocks(len(out)):
        part = photo.pixels[rows]
        if foreign is not None:
            part = to_depth(_to_srgb(part, foreign), 8)
        elif part.dtype == np.uint16:
            part = (part >> 8).astype(np.uint8)
        if photo.alpha is not None:
            share = photo.alpha[rows, :, None].astype(np.float32)
            share /= np.iinfo(photo.alpha.dtype).max
            part = np.rint(part * share + behind * (1 - share))
        out[rows] = part
    return out


def from_srgb(pixels: NDArray[np.uint8], icc: bytes, bits: int = 8) -> Pixels:
    """8-bit sRGB pixels, H×W×3, in the colour space of a profile.

    ``bits``: 16 where more than 8 are of use; they come where the profile is a matrix and curves.
    """
    if _space(icc) is not Space.OTHER:
        return pixels
    deep = _deep_back(icc) if bits == 16 else None
    if deep is not None:
        return deep.apply(to_depth(pixels, 16))
    change = _back(icc)
    return pixels if change is None else _changed(pixels, change)


def _to_srgb(pixels: Pixels, icc: bytes) -> Pixels:
    """Pixels of a profile in sRGB, of the same depth.

    16 bits are converted within some 1e-4 where the profile is a matrix and curves, and at 8 bits
    where it goes by tables: LittleCMS takes no more of colour through Pillow.
    """
    if pixels.dtype == np.uint16:
        deep = _deep_to_srgb(icc)
        if deep is not None:
            return deep.apply(pixels)
    change = _through(icc)
    if change is None:  # it has been found broken, and is not kept
        return pixels
    return to_depth(_changed(to_depth(pixels, 8), change), 8 * pixels.dtype.itemsize)


def _changed(pixels: NDArray[np.uint8], change: ImageCms.ImageCmsTransform) -> NDArray[np.uint8]:
    return np.asarray(change.apply(Image.fromarray(pixels)))


def _opened(icc: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.getOpenProfile(io.BytesIO(icc))


def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@by_digest(4)
def _through(icc: bytes) -> ImageCms.ImageCmsTransform | None:
    """From a profile to sRGB; None for a broken one."""
    return _transform(lambda: (_opened(icc), _srgb()))


@by_digest(4)
def _back(icc: bytes) -> ImageCms.ImageCmsTransform | None:
    """From sRGB to a profile; None for one that cannot be gone to."""
    return _transform(lambda: (_srgb(), _opened(icc)))


def _transform(
    profiles: Callable[[], tuple[ImageCms.ImageCmsProfile, ImageCms.ImageCmsProfile]],
) -> ImageCms.ImageCmsTransform | None:
    """From one profile to another; it holds tables of some 200 kB at most, and neither profile."""
    try:
        change = ImageCms.buildTransform(*profiles(), "RGB", "RGB")
    except CMS_ERRORS:
        return None
    change.output_profile = _srgb()  # Pillow keeps it to write it into the info of its results
    return change


PROBE = np.concatenate(
    [
        np.arange(256, dtype=np.uint8)[:, None].repeat(3, 1),
        np.stack(np.meshgrid(*[np.arange(0, 256, 51, dtype=np.uint8)] * 3), -1).reshape(-1, 3),
    ]
)[None]
"""All greys, and colours from all over the cube."""


@by_digest(256)
def _space(icc: bytes) -> Space:
    """What a profile makes of RGB, by trial: its name can be anything."""
    change = _through(icc)
    if profile.space(icc) != "RGB" or change is None:
        return Space.BROKEN
    try:
        seen = _changed(PROBE, change)
    except CMS_ERRORS:
        return Space.BROKEN
    apart = cv2.absdiff(seen, PROBE).max()
    return Space.SRGB if apart <= 1 else Space.OTHER


# 16 bits of colour, which LittleCMS does not take through Pillow


@dataclass(frozen=True)
class _Deep:
    """From one space of a matrix and curves to another: 16 bits within some 1e-4."""

    linear: NDArray[np.float32]
    """Linear values of stored ones: 65536×3."""
    matrix: NDArray[np.float32]
    """From the linear RGB of one to that of the other, and a number to add to each: 3×4."""
    stored: NDArray[np.uint16]
    """Stored values by the root of linear ones, which are as fine there as need be: 65536×3."""

    def apply(self, pixels: Pixels) -> Pixels:
        """16-bit pixels, H×W×3, as LittleCMS has them at 8 bits."""
        light = np.empty(pixels.shape, np.float32)
        for channel in range(3):
            light[:, :, channel] = self.linear[pixels[:, :, channel], channel]
        light = np.asarray(cv2.transform(light, self.matrix)).clip(0, 1)
        root = np.rint(np.sqrt(light) * LEVELS).astype(np.uint16)
        out = np.empty(pixels.shape, np.uint16)
        for channel in range(3):
            out[:, :, channel] = self.stored[root[:, :, channel], channel]
        return out


@by_digest(2)
def _deep_to_srgb(icc: bytes) -> _Deep | None:
    return _between(icc, profile.srgb_profile())


@by_digest(2)
def _deep_back(icc: bytes) -> _Deep | None:
    return _between(profile.srgb_profile(), icc)


def _between(start: bytes, end: bytes) -> _Deep | None:
    """None where a profile goes by tables, or cannot be gone to."""
    spaces = [profile.matrix_and_curves(icc) for icc in (start, end)]
    if spaces[0] is None or spaces[1] is None:
        return None
    levels = np.linspace(0, 1, LEVELS + 1)
    try:
        linear, goal = (
            np.stack([profile.evaluate(curve, levels) for curve in curves], 1)
            for _, curves in (spaces[0], spaces[1])
        )
        away = np.linalg.inv(spaces[1][0])
    except (ValueError, np.linalg.LinAlgError):
        return None
    # Black becomes black and white white, as LittleCMS has it.
    dark, goal_dark = spaces[0][0][1] @ linear[0], spaces[1][0][1] @ goal[0]
    share = (1 - min(goal_dark, DARKEST)) / (1 - min(dark, DARKEST))
    matrix = np.c_[share * away @ spaces[0][0], (1 - share) * away @ profile.D50]
    rising = np.maximum.accumulate(goal, 0)
    stored = [np.interp(levels**2, rising[:, n], levels) for n in range(3)]
    return _Deep(
        linear.astype(np.float32),
        matrix.astype(np.float32),
        np.rint(np.stack(stored, 1) * LEVELS).astype(np.uint16),
    )
