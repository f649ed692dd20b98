"""A photo's stages as plain functions: before the network, and after it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from birefcli.batch.stages import min_size_for
from birefcli.images.decode import decode_photo
from birefcli.images.encode import encode
from birefcli.images.findings import notes_on_quality
from birefcli.images.photo import Photo
from birefcli.matting.matte import Matte
from birefcli.matting.predictor import ForegroundOptions, Predictor, Prepared
from birefcli.options import Format, Product, Rendering
from birefcli.products.background import Background
from birefcli.products.photo_notes import notes_of_photo
from birefcli.products.quality.check import Quality, check
from birefcli.products.render import ProductFile, lowered, product_files

SIDE = 512  # pixels of the photo that warms up


class Finished(NamedTuple):
    """What became of a photo."""

    files: dict[Product, ProductFile]
    quality: Quality
    notes: tuple[str, ...]


def load(
    data: bytes, rendering: Rendering, predictor: Predictor, max_pixels: int
) -> tuple[Photo, Prepared]:
    """Decode a photo, and make the network's input of it. Raises PhotoError."""
    min_size = min_size_for(rendering, predictor)
    photo = decode_photo(data, max_pixels, min_size=min_size)
    return photo, predictor.upload(photo)


def finish(
    photo: Photo, matte: Matte, rendering: Rendering, background: Background | None
) -> Finished:
    """Files of a photo's products. Raises PhotoError."""
    kinds = rendering.products
    files = product_files(kinds, photo, matte, rendering, background, Path())
    quality = check(matte.alpha, photo.pixels)
    on_quality = notes_on_quality(lowered(files), several=len(kinds) > 1)
    notes = (*notes_of_photo(photo, matte.alpha, quality, rendering), *on_quality)
    return Finished(files, quality, notes)


def warm_up(predictor: Predictor) -> None:
    """Put a photo through all stages: some things are made at first use."""
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    rendering = Rendering()
    photo, prepared = load(encode(noise, Format.PNG), rendering, predictor, SIDE * SIDE)
    (alpha,) = predictor.alphas([prepared])
    finish(photo, predictor.matte(photo, alpha, ForegroundOptions()), rendering, None)
