"""A photo's stages as plain functions: before the network, and after it."""

from pathlib import Path

import numpy as np

from birefcli.batch.stages import min_size_for
from birefcli.images.decode import decode_photo
from birefcli.images.encode import encode
from birefcli.images.photo import Photo
from birefcli.matting.matte import Matte
from birefcli.matting.predictor import ForegroundOptions, Predictor, Prepared
from birefcli.options import Format, Product, Rendering, Size
from birefcli.products.background import Background
from birefcli.products.render import encode_product, framed, render_product
from birefcli.serve.orders import EncodedPicture

SIDE = 512  # pixels of the photo that warms up


def load(
    data: bytes, rendering: Rendering, predictor: Predictor, max_pixels: int
) -> tuple[Photo, Prepared]:
    """Decode a photo, and make the network's input of it. Raises PhotoError."""
    min_size = min_size_for(rendering, predictor)
    photo = decode_photo(data, max_pixels, min_size=min_size)
    return photo, predictor.upload(photo)


def finish(
    photo: Photo, matte: Matte, rendering: Rendering, background: Background | None
) -> tuple[dict[Product, EncodedPicture], float]:
    """Files of a photo's products, and its coverage. Raises PhotoError."""
    pictures = {}
    for kind in rendering.products:
        whole = render_product(kind, photo, matte, rendering.bits, background, Path())
        pixels = framed(whole, matte, rendering)
        size = Size(pixels.shape[1], pixels.shape[0])
        pictures[kind] = EncodedPicture(encode_product(pixels, photo, rendering), size)
    return pictures, matte.coverage


def warm_up(predictor: Predictor) -> None:
    """Put a photo through all stages: some things are made at first use."""
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    rendering = Rendering()
    photo, prepared = load(encode(noise, Format.PNG), rendering, predictor, SIDE * SIDE)
    (alpha,) = predictor.alphas([prepared])
    finish(photo, predictor.matte(photo, alpha, ForegroundOptions()), rendering, None)
