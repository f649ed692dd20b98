"""From a matte to the bytes of a product."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from birefcli.images.byte_limit import Stamping, encode_within
from birefcli.images.encode import encode
from birefcli.images.metadata import Metadata, fitted, without_place, without_subject
from birefcli.images.photo import Photo, Pixels, to_depth
from birefcli.matting.matte import Matte
from birefcli.options import Format, Product, Rendering, Shadow, Size
from birefcli.products.background import Background
from birefcli.products.compose import Dark, crop_box, cutout, over, thresholded, trimap
from birefcli.products.layout import Layout, lay_out
from birefcli.products.placing import place_alpha, place_matte, place_trimap
from birefcli.products.shadow import soft_shadow

WITHOUT_DPI = (Format.WEBP, Format.AVIF)


@dataclass(frozen=True)
class ProductFile:
    """One product: its file, and its size in pixels."""

    data: bytes
    size: Size
    lowered: str | None = None
    """The quality, like ``quality 47, 4:2:0``, where a limit of bytes had it lowered."""


def render_product(
    kind: Product,
    photo: Photo,
    matte: Matte,
    rendering: Rendering,
    background: Background | None,
    relative: Path,
) -> Pixels:
    """One product of a photo, laid out as is asked for; ``background`` is that of a composite.

    Raises PhotoError for a photo that cannot be laid out.
    """
    layout = lay_out(matte.alpha, rendering)
    pixels = _product(kind, photo, matte, rendering, background, relative, layout)
    if layout is None and rendering.crop:
        pixels = pixels[crop_box(matte.alpha, rendering.margin)]
    return pixels


def _product(
    kind: Product,
    photo: Photo,
    matte: Matte,
    rendering: Rendering,
    background: Background | None,
    relative: Path,
    layout: Layout | None,
) -> Pixels:
    bits = rendering.bits
    match kind:
        case Product.MASK:
            alpha = matte.alpha if layout is None else place_alpha(matte.alpha, layout)
            if rendering.threshold is not None:
                return thresholded(alpha, rendering.threshold, bits)
            return to_depth(alpha, bits)
        case Product.TRIMAP:
            unsure = trimap(matte, rendering.trimap_width)
            return to_depth(unsure if layout is None else place_trimap(unsure, layout), bits)
    placed = matte if layout is None else place_matte(matte, layout)
    match kind:
        case Product.FOREGROUND:
            return to_depth(placed.foreground, bits)
        case Product.CUTOUT:
            return cutout(placed, bits, _shadow(placed, rendering))
        case Product.COMPOSITE:
            assert background is not None, "a composite has a background"
            behind = background.pixels(photo, matte, relative, layout)
            return over(placed, behind, bits, _shadow(placed, rendering))


def _shadow(matte: Matte, rendering: Rendering) -> Dark:
    return None if rendering.shadow is Shadow.NONE else soft_shadow(matte.alpha)


def encode_product(
    pixels: Pixels, photo: Photo, rendering: Rendering, stamp: Stamping | None = None
) -> ProductFile:
    """Encode a product with what its photo says.

    ``stamp``: as of :func:`encode_within`. Raises as :func:`encode` and that do.
    """
    metadata = _metadata(photo, rendering)
    pixels = np.ascontiguousarray(pixels)
    size = Size(pixels.shape[1], pixels.shape[0])
    how = rendering.format, rendering.compress
    if rendering.max_bytes is None:
        metadata = metadata if stamp is None else replace(metadata, stamp=stamp(None))
        data = encode(pixels, *how, quality=rendering.quality, metadata=metadata)
        return ProductFile(data, size)
    found = encode_within(pixels, *how, rendering.max_bytes, metadata, rendering.quality, stamp)
    return ProductFile(found.data, size, found.lowered)


def product_files(
    kinds: Iterable[Product],
    photo: Photo,
    matte: Matte,
    rendering: Rendering,
    background: Background | None,
    relative: Path,
) -> dict[Product, ProductFile]:
    """Files of a photo's products. Raises PhotoError."""
    files = {}
    for kind in kinds:
        pixels = render_product(kind, photo, matte, rendering, background, relative)
        files[kind] = encode_product(pixels, photo, rendering)
    return files


def lowered(files: Mapping[Product, ProductFile]) -> dict[str, str]:
    """Products whose quality was lowered, and to which: as of :class:`.Findings`."""
    return {kind.value: file.lowered for kind, file in files.items() if file.lowered is not None}


def left_out(photo: Photo, rendering: Rendering) -> tuple[str, ...]:
    """What a photo says that its products are to say too and do not, as notes.

    It was damaged or too large, or this format cannot hold it.
    """
    height, width = photo.shape
    damaged = photo.metadata_notes if rendering.metadata else ()
    held = fitted(_metadata(photo, rendering), rendering.format, width, height)
    notes = (*damaged, *held.notes)
    canvas = rendering.canvas
    if canvas is None or canvas.dpi is None or rendering.format not in WITHOUT_DPI:
        return notes
    return (*notes, f"dots per inch left out: {rendering.format.value} holds none")


def _metadata(photo: Photo, rendering: Rendering) -> Metadata:
    """What products say of their photo."""
    metadata = Metadata(icc=photo.icc, dpi=photo.dpi)
    if rendering.metadata:
        metadata = replace(metadata, exif=photo.exif, xmp=photo.xmp, iptc=photo.iptc)
    if rendering.canvas is not None and rendering.canvas.dpi is not None:
        metadata = replace(metadata, dpi=(rendering.canvas.dpi, rendering.canvas.dpi))
    if rendering.is_laid_out:
        metadata = without_subject(metadata)
    return without_place(metadata) if rendering.strip else metadata
