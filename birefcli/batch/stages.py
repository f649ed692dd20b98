"""The three stages of a photo as plain functions: load, matte, save.

The pipeline overlaps them, and ``birefcli bench`` times them: both call these.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from birefcli.batch.freshness import Decision
from birefcli.batch.places import Admit, State
from birefcli.batch.targets import Job
from birefcli.images.decode import decode_photo
from birefcli.images.findings import Findings
from birefcli.images.photo import Photo, Pixels
from birefcli.images.stamp import Stamp
from birefcli.matting.matte import Matte
from birefcli.matting.predictor import ForegroundOptions, Predictor
from birefcli.options import BatchOptions, Edges, Product, Rendering, Size
from birefcli.products.background import Background
from birefcli.products.render import ProductFile, encode_product, render_product

SPARE = 2  # times the network's input that a reduced photo is high and wide, or more


@dataclass(frozen=True)
class StageContext:
    """What all stages of a batch share."""

    options: BatchOptions
    predictor: Predictor
    background: Background | None
    """None where nothing shows one."""


# Load


def read_source(
    job: Job,
    max_pixels: int,
    before_large: Admit = lambda *_: None,
    patience: float | None = None,
) -> tuple[bytes, State]:
    """Bytes of a photo, and its state while it was read.

    ``before_large`` is called with the pixels and bytes of a large file before it is read, and may
    wait. ``patience``: seconds to wait for whoever is to write to a named pipe, None for ever.
    Raises PhotoError, OSError.
    """
    return job.source.read(max_pixels, before_large, patience)


def decode(
    context: StageContext, data: bytes, before_decoding: Callable[[int], None] = lambda _: None
) -> Photo:
    """Decode a photo, in as many pixels as its products need.

    ``before_decoding`` is called with the number of pixels, and may wait. Raises PhotoError.
    """
    min_size = min_size_for(context.options.rendering, context.predictor)
    return decode_photo(data, context.options.max_pixels, before_decoding, min_size)


def min_size_for(rendering: Rendering, predictor: Predictor) -> Size | None:
    """Size that a photo must at least have for its products; None: all of its pixels.

    Where no product shows colours, and edges do not follow them, only the network looks at them.
    At twice its size the input that a reduced JPEG gives is a third of a level off on average, at
    its very size three times that.
    """
    if rendering.has_colour or predictor.edges is not Edges.NONE:
        return None
    return Size(SPARE * predictor.size.width, SPARE * predictor.size.height)


# Matte


def matte_async(
    context: StageContext, job: Job, photo: Photo, alpha: Tensor
) -> Callable[[], Matte]:
    """Start to make a photo's matte of the network's alpha; what is returned waits for it.

    Raises PhotoError.
    """
    return context.predictor.matte_async(
        photo, alpha, wanted_foreground(job.targets, context.options.rendering)
    )


def wanted_foreground(
    products: Iterable[Product], rendering: Rendering
) -> ForegroundOptions | None:
    """How much colour estimation the products need; None where none shows any colour."""
    kinds = set(products)
    if not any(kind.has_colour for kind in kinds):
        return None
    return ForegroundOptions(rendering.refine, everywhere=Product.FOREGROUND in kinds)


# Save


def compose(
    context: StageContext, kind: Product, photo: Photo, matte: Matte, relative: Path
) -> Pixels:
    """Pixels of one product, laid out as is asked for. Raises PhotoError."""
    rendering = context.options.rendering
    return render_product(kind, photo, matte, rendering, context.background, relative)


def encode(context: StageContext, pixels: Pixels, photo: Photo, stamp: Stamp) -> ProductFile:
    """The file of a product, whose stamp tells also how it was encoded. Raises PhotoError."""

    def text(quality: str | None) -> str:
        if stamp.found is None or quality is None:
            return stamp.text()
        found = replace(stamp.found, lowered={stamp.product: quality})
        return replace(stamp, found=found).text()

    return encode_product(pixels, photo, context.options.rendering, text)


def make_stamp(
    context: StageContext,
    decision: Decision,
    kind: Product,
    state: State,
    found: Findings | None = None,
) -> Stamp:
    """What a product says of its making; ``state``: of :func:`read_source`."""
    precision = context.predictor.placement.precision.value
    reframed = not context.options.rendering.shows_matte(kind)
    return Stamp(decision.fingerprints[kind], precision, kind.value, *state, reframed, found)


def write(job: Job, kind: Product, data: bytes) -> None:
    """Write a product, whole or not at all. Raises OSError with the product's name."""
    job.targets[kind].write(data)


def encode_all(
    context: StageContext,
    decision: Decision,
    photo: Photo,
    matte: Matte,
    state: State,
    found: Findings,
) -> dict[Product, ProductFile]:
    """Files of all of a photo's products: they are encoded before the first is written.

    ``state``: of :func:`read_source`; ``found``: for their stamps. Raises PhotoError.
    """
    job = decision.job
    encoded = {}
    for kind in job.targets:
        pixels = compose(context, kind, photo, matte, job.relative)
        stamp = make_stamp(context, decision, kind, state, found)
        encoded[kind] = encode(context, pixels, photo, stamp)
    return encoded
