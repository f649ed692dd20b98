"""From a matte to the bytes of a product."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from birefcli.images.encode import encode
from birefcli.images.metadata import Metadata, fitted, without_place, without_subject
from birefcli.images.photo import Photo, Pixels, to_depth
from birefcli.matting.matte import Matte
from birefcli.options import Product, Rendering
from birefcli.products.background import Background
from birefcli.products.compose import crop_box, cutout, over, shrunk, trimap


def render_product(
    kind: Product,
    photo: Photo,
    matte: Matte,
    bits: int,
    background: Background | None,
    relative: Path,
) -> Pixels:
    """One product of a photo, at the photo's size; ``background`` is that of a composite."""
    match kind:
        case Product.CUTOUT:
            return cutout(matte, bits)
        case Product.MASK:
            return to_depth(matte.alpha, bits)
        case Product.FOREGROUND:
            return to_depth(matte.foreground, bits)
        case Product.TRIMAP:
            return to_depth(trimap(matte), bits)
        case Product.COMPOSITE:
            assert background is not None, "a composite has a background"
            return over(matte, background.pixels(photo, matte, relative), bits)


def framed(pixels: Pixels, matte: Matte, rendering: Rendering) -> Pixels:
    """A product as much of it as is wanted: cropped to the subject, shrunk to fit a box."""
    if rendering.crop:
        pixels = pixels[crop_box(matte.alpha, rendering.margin)]
    if rendering.fit is not None:
        pixels = shrunk(pixels, rendering.fit)
    return pixels


def encode_product(
    pixels: Pixels, photo: Photo, rendering: Rendering, stamp: str | None = None
) -> bytes:
    """Encode a product, see :func:`framed`, with what its photo says.

    ``stamp``: as of :class:`Metadata`. Raises as :func:`encode` does.
    """
    metadata = replace(_metadata(photo, rendering), stamp=stamp)
    return encode(
        np.ascontiguousarray(pixels),
        rendering.format,
        rendering.compress,
        quality=rendering.quality,
        metadata=metadata,
    )


def left_out(photo: Photo, rendering: Rendering) -> tuple[str, ...]:
    """What a photo says that products of this format cannot hold, as notes."""
    height, width = photo.shape
    return fitted(_metadata(photo, rendering), rendering.format, width, height).notes


def _metadata(photo: Photo, rendering: Rendering) -> Metadata:
    """What products say of their photo."""
    metadata = Metadata(
        icc=photo.icc, dpi=photo.dpi, exif=photo.exif, xmp=photo.xmp, iptc=photo.iptc
    )
    if rendering.crop or rendering.fit is not None:
        metadata = without_subject(metadata)
    return without_place(metadata) if rendering.strip else metadata
