"""Colour profiles: pixels to sRGB and back."""

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from birefcli.images.photo import Photo, row_blocks


def convert_to_srgb(image: Image.Image) -> Image.Image:
    """CMYK or Lab by its own profile where it has a good one."""
    profile = image.info.get("icc_profile")
    if profile:
        try:
            converted = ImageCms.profileToProfile(
                image,
                ImageCms.getOpenProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            )
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")


def is_rgb_profile(icc: bytes) -> bool:
    """Whether a colour profile is one of RGB pixels, and has its signature."""
    return icc[16:20] == b"RGB " and icc[36:40] == b"acsp"


def to_srgb8(photo: Photo) -> NDArray[np.uint8]:
    """The photo as the network was trained to see photos: H×W×3 of 8-bit sRGB, no transparency.

    Pixels under the photo's own transparency are mixed with mid-grey: what is stored there was
    never meant to be seen.
    """
    change = None if photo.icc is None or _is_srgb(photo.icc) else _to_srgb_from(photo.icc)
    if photo.pixels.dtype == np.uint8 and change is None and photo.alpha is None:
        return photo.pixels
    out = np.empty(photo.pixels.shape, np.uint8)
    for rows in row_blocks(len(out)):
        part = photo.pixels[rows]
        if part.dtype == np.uint16:
            part = (part >> 8).astype(np.uint8)
        if change is not None:
            part = np.asarray(change.apply(Image.fromarray(part)))
        if photo.alpha is not None:
            share = photo.alpha[rows, :, None].astype(np.float32)
            share /= np.iinfo(photo.alpha.dtype).max
            part = np.rint(part * share + 128 * (1 - share))
        out[rows] = part
    return out


@lru_cache(maxsize=64)
def _is_srgb(icc: bytes) -> bool:
    """Whether a profile calls itself sRGB: what nearly every camera writes needs no conversion."""
    try:
        name = ImageCms.getProfileDescription(ImageCms.getOpenProfile(io.BytesIO(icc)))
    except (ImageCms.PyCMSError, OSError, ValueError):
        return False
    return name.strip().startswith("sRGB")


def _to_srgb_from(icc: bytes) -> ImageCms.ImageCmsTransform | None:
    try:
        return ImageCms.buildTransform(
            ImageCms.getOpenProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB"), "RGB", "RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None  # a broken profile is no reason to lose the photo


def from_srgb(pixels: NDArray[np.uint8], icc: bytes) -> NDArray[np.uint8]:
    """8-bit sRGB pixels, H×W×3, in the colour space of a profile."""
    if _is_srgb(icc):
        return pixels
    try:
        converted = ImageCms.profileToProfile(
            Image.fromarray(pixels),
            ImageCms.createProfile("sRGB"),
            ImageCms.getOpenProfile(io.BytesIO(icc)),
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return pixels
    return np.asarray(converted)
