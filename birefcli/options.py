"""What the user asked for, as plain values. Standard library only: help must be instant."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from birefcli.errors import UsageError, no_choice

STRIDE = 32  # the network's input is a multiple of this in both directions
LONGEST = 8192  # pixels of a side of the network's input


class Product(StrEnum):
    """What is written for a photo."""

    CUTOUT = "cutout"
    MASK = "mask"
    COMPOSITE = "composite"
    FOREGROUND = "foreground"
    TRIMAP = "trimap"

    @property
    def has_alpha(self) -> bool:
        """Whether the file must hold transparency."""
        return self is Product.CUTOUT

    @property
    def has_colour(self) -> bool:
        """Whether the file shows the subject, not only its matte."""
        return self not in (Product.MASK, Product.TRIMAP)


class Format(StrEnum):
    """File format of a product."""

    PNG = "png"
    WEBP = "webp"
    TIFF = "tiff"
    JPG = "jpg"
    AVIF = "avif"

    @property
    def suffix(self) -> str:
        """File name extension, with its dot."""
        return f".{self.value}"

    @property
    def bits(self) -> tuple[int, ...]:
        """Bits a channel can have; of one bit are masks alone."""
        if self is Format.PNG:
            return (1, 8, 16)
        return (8, 16) if self is Format.TIFF else (8,)

    @property
    def has_quality(self) -> bool:
        """Whether pixels may be lost for fewer bytes; WebP loses some only where that is asked."""
        return self in (Format.JPG, Format.WEBP, Format.AVIF)

    @property
    def longest_side(self) -> int | None:
        """Pixels that a side has at most; of AVIF, in what decoders take."""
        return {Format.WEBP: 16383, Format.JPG: 65500, Format.AVIF: 32768}.get(self)


SUFFIXES = {
    ".png": Format.PNG,
    ".webp": Format.WEBP,
    ".tif": Format.TIFF,
    ".tiff": Format.TIFF,
    ".jpg": Format.JPG,
    ".jpeg": Format.JPG,
    ".avif": Format.AVIF,
}
"""Which format the name of an output file asks for."""


class Compress(StrEnum):
    """How much time a file may cost to be small. JPEG and AVIF lose more pixels for it."""

    FAST = "fast"
    BALANCED = "balanced"
    SMALL = "small"


class Existing(StrEnum):
    """What to do with a photo whose product is already there."""

    UPDATE = "update"
    SKIP = "skip"
    OVERWRITE = "overwrite"
    ERROR = "error"


class Lock(StrEnum):
    """What to do when another run is writing to the output folder."""

    LEAVE = "leave"
    WAIT = "wait"
    NONE = "none"


class SheetOrder(StrEnum):
    """Which cutouts come first on a contact sheet."""

    FLAGGED = "flagged"
    NAME = "name"
    COVERAGE = "coverage"


class PatchOrder(StrEnum):
    """How image patches were stacked when the weights were trained."""

    AUTO = "auto"
    COLUMNS = "columns"
    CHANNELS = "channels"


class Precision(StrEnum):
    """Floating-point type of the network's weights and features."""

    AUTO = "auto"
    FP16 = "fp16"
    BF16 = "bf16"
    FP32 = "fp32"


class Edges(StrEnum):
    """How a matte comes from the network's size to the photo's."""

    AUTO = "auto"
    MATTING = "matting"
    GUIDED = "guided"
    NONE = "none"


class Size(NamedTuple):
    """Of a picture, in pixels. An array's ``shape`` is the other way round: (height, width)."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True)
class Margin:
    """A width in pixels, or as a share of the longer side of what it is around."""

    amount: float = 0.0
    relative: bool = False

    def pixels(self, width: int, height: int) -> int:
        """Of a subject, or a photo, of ``width``×``height`` pixels."""
        return round(self.amount * max(width, height) if self.relative else self.amount)


TRIMAP_WIDTH = Margin(0.01, relative=True)


@dataclass(frozen=True)
class Resize:
    """What size products come to, in proportion: one of ``box`` and ``share`` is set."""

    box: Size | None = None
    """Products fit it, and meet it in one direction at least."""
    share: float | None = None
    """Of the size they have, above 0."""
    enlarge: bool = True
    """Whether products smaller than the box are enlarged."""

    def scale(self, size: Size) -> float:
        """By how much a picture of that size is enlarged."""
        if self.box is None:
            return self.share or 1.0
        scale = min(self.box.width / size.width, self.box.height / size.height)
        return scale if self.enlarge else min(1.0, scale)

    def of(self, size: Size) -> Size:
        """The size that a picture of that size comes to."""
        scale = self.scale(size)
        return Size(max(1, round(size.width * scale)), max(1, round(size.height * scale)))


class Align(StrEnum):
    """Where on a canvas the subject is."""

    CENTRE = "centre"
    TOP = "top"
    BOTTOM = "bottom"
    LEFT = "left"
    RIGHT = "right"
    TOP_LEFT = "top-left"
    TOP_RIGHT = "top-right"
    BOTTOM_LEFT = "bottom-left"
    BOTTOM_RIGHT = "bottom-right"

    @property
    def shares(self) -> tuple[float, float]:
        """How much of the room that is left is at its left, and how much above it: 0..1."""
        words = self.value.split("-")
        across = 0.0 if "left" in words else 1.0 if "right" in words else 0.5
        return across, 0.0 if "top" in words else 1.0 if "bottom" in words else 0.5


class Shadow(StrEnum):
    """What is drawn below a subject."""

    NONE = "none"
    SOFT = "soft"


@dataclass(frozen=True)
class Canvas:
    """What products are laid out on. One of ``size`` and ``aspect`` is set."""

    size: Size | None = None
    aspect: float | None = None
    """Width by height; the size is as small as what is on the canvas allows."""
    dpi: float | None = None
    """Dots per inch that the file states; None: those of the photo."""
    fill: float | None = None
    """Share of the canvas that the subject takes in the tighter direction; None: the whole photo,
    or its crop, is laid out."""
    head: float | None = None
    """Share of the canvas's height from the top of the head to the chin."""
    align: Align = Align.CENTRE


@dataclass(frozen=True)
class Rendering:
    """How products look: everything but where they go and what computes them."""

    products: tuple[Product, ...] = (Product.CUTOUT,)
    format: Format = Format.PNG
    bits: int = 8
    compress: Compress = Compress.FAST
    background: str = "white"
    crop: bool = False
    margin: Margin = Margin()
    refine: bool = True
    strip: bool = False
    """Leave out where the photo was taken."""
    metadata: bool = True
    """Keep EXIF, XMP and IPTC of the photo; profile and resolution are kept in any case."""
    resize: Resize | None = None
    quality: int | None = None
    """Of JPEG, AVIF and lossy WebP, 1..100; None: what ``compress`` says, and lossless WebP."""
    max_bytes: int | None = None
    """A file has no more; the quality is searched, up to ``quality``."""
    threshold: float | None = None
    """Alpha as a mask shows it, above 0 and up to 1, from which on it is white, and has no grey."""
    trimap_width: Margin = TRIMAP_WIDTH
    """How far a trimap's unknown band reaches to either side, of the photo."""
    canvas: Canvas | None = None
    shadow: Shadow = Shadow.NONE

    @property
    def has_colour(self) -> bool:
        """Whether any product shows the subject."""
        return any(kind.has_colour for kind in self.products)

    @property
    def is_laid_out(self) -> bool:
        """Whether products show the photo elsewhere, or in other pixels, than it does itself."""
        return self.is_reframed or self.resize is not None

    @property
    def is_reframed(self) -> bool:
        """Whether products show another frame than the photo does, and not only in another size."""
        return self.crop or self.canvas is not None

    def shows_matte(self, kind: Product) -> bool:
        """Whether alpha of such a product, in whatever size, is the matte of the whole photo."""
        shaded = kind is Product.CUTOUT and self.shadow is not Shadow.NONE
        return not (self.is_reframed or shaded)


@dataclass(frozen=True)
class ModelOptions:
    """Which network, and how it runs."""

    name: str
    """A name that ``birefcli models list`` shows, or a weights file."""
    size: Size | None = None
    """The network's input; None for the model's own."""
    patch_order: PatchOrder = PatchOrder.AUTO
    offline: bool = False
    """Use downloaded weights only."""
    device: str = "auto"
    precision: Precision = Precision.AUTO
    compile: bool = False
    """Record the network as one graph, where the device has such."""
    edges: Edges = Edges.AUTO


class RunOn(StrEnum):
    """What does the photos of a batch."""

    LOCAL = "local"
    RAY = "ray"


@dataclass(frozen=True)
class ClusterOptions:
    """How the machines of a Ray cluster do a batch."""

    workers: int | None = None
    """At most so many; None: one for each GPU, or for each machine where the CPU does it."""
    threads: int | None = None
    """Of each worker, that decode and encode; None: by its machine."""
    max_memory: int | None = None
    """Of each worker, in bytes; None: by its machine."""


@dataclass(frozen=True)
class BatchOptions:
    """How a batch is done, but for which photos and where to."""

    rendering: Rendering
    model: ModelOptions
    batch: int | None
    """Photos the network sees at once; None chooses by device and network."""
    threads: int
    """Photos decoded or encoded at once."""
    max_pixels: int
    """A photo of more pixels fails, before it is decoded."""
    max_memory: int
    """Bytes that photos in flight may take, by estimate."""
    devices: tuple[str, ...] = ()
    """That share the photos, each with the model; none for the model's own."""
    connections: int = 64
    """Photos fetched from a store at once, and as many written to one."""
    max_failures: int | None = None
    """Stop after so many failed photos."""
    fail_if_empty: bool = False
    photo_timeout: float | None = None
    """Seconds without any progress after which a device counts as lost; None waits for ever.

    What is stuck cannot be ended: a run whose only device is lost ends its process, which is
    right for a command, and seldom for a program.
    """
    cluster: ClusterOptions | None = None
    """The machines of a cluster do the photos, and not this one; then its threads and memory count.
    """

    @property
    def device_names(self) -> tuple[str, ...]:
        """What the photos are done on: one name or more."""
        return self.devices or (self.model.device,)


@dataclass(frozen=True)
class Shard:
    """One of the parts that a batch is done in, by machines that know nothing of each other."""

    index: int
    """From 0."""
    count: int
    told_by: str = ""
    """The scheduler's variable it was read from."""

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


@dataclass(frozen=True)
class Selection:
    """Which photos, and where their products go."""

    inputs: tuple[str, ...]
    output: str
    recursive: bool = True
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    name: str = "{stem}"
    listed: tuple[str, ...] = ()
    """Photos of a list."""
    products: bool = False
    """Take what birefcli made for photos too."""
    shard: Shard | None = None
    """The part of the photos that is taken; None for all."""

    def target_name(self, relative: Path) -> str:
        """How a photo's product is called, without its extension.

        ``relative``: of the photo, below the folder that was searched.
        """
        stem = self.name.replace("{stem}", relative.stem)
        return stem.replace("{name}", relative.name) if "{name}" in self.name else stem


@dataclass(frozen=True)
class BatchTask:
    """Which photos, where to, and how."""

    selection: Selection
    options: BatchOptions
    existing: Existing = Existing.UPDATE
    lock: Lock = Lock.LEAVE
    dry_run: bool = False
    failed_to: Path | None = None
    """Where the names of failed photos are written."""
    null: bool = False
    """Whether these end in NUL."""
    photo_by_photo: bool = False
    """Whether a product of another kind at a target fails its photo, and not the run."""


def check_size(size: Size) -> None:
    """Raise UsageError for an input size that the network does not take."""
    if any(n < STRIDE or n % STRIDE or n > LONGEST for n in size):
        shown = size.width if size.width == size.height else size
        raise UsageError(
            f"give multiples of {STRIDE}, from {STRIDE} to {LONGEST}",
            option="size",
            value=shown,
        )


ONE_DEVICE = ("auto", "cpu", "cuda", "cuda:N", "mps")
DEVICES = (*ONE_DEVICE, "all")
"""Names where several devices may share the photos."""


def check_device(name: str, allowed: Sequence[str] = ONE_DEVICE) -> None:
    """Raise UsageError for what can be no device, whether it is there or not."""
    if re.sub(r"^cuda:[0-9]+$", "cuda:N", name) not in allowed or name == "cuda:N":
        raise no_choice("device", name, allowed, meant=_meant_device(name))


def _meant_device(name: str) -> str | None:
    """What other programs call a device."""
    if number := re.fullmatch(r"(?:gpu|cuda)?[: ]?(\d+)", name.lower()):
        return f"cuda:{number[1]}"
    if name.lower() in ("gpu", "nvidia"):
        return "auto, which takes the GPU where there is one"
    return "mps" if name.lower() in ("metal", "apple") else None
