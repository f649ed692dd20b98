"""birefcli in Python: photos in, mattes out, as ``birefcli matte`` makes them."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, Unpack, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from birefcli import values
from birefcli.errors import PhotoError, UsageError, no_choice
from birefcli.images import image_like
from birefcli.images.image_like import Given, ImageLike
from birefcli.images.photo import Pixels
from birefcli.matting.batch_size import default_batch
from birefcli.matting.matte import Matte
from birefcli.matting.predict_many import Failed, Predicted, predict_many
from birefcli.matting.predictor import ForegroundOptions, Predictor
from birefcli.models import zoo
from birefcli.models.load import LoadedModel, load_model
from birefcli.options import (
    SUFFIXES,
    Compress,
    Edges,
    ModelOptions,
    PatchOrder,
    Precision,
    Product,
    Rendering,
    Size,
    check_size,
)
from birefcli.products.given_background import given_background
from birefcli.products.quality.check import Quality, check
from birefcli.products.render import encode_product, render_product
from birefcli.products.words import FileWords, LayoutWords, check_names, of_arguments
from birefcli.system.atomic import replace_file
from birefcli.system.paths import is_same_file

Seen: TypeAlias = Predicted[Given] | Failed[Given]
BATCH = "a number from 1"
Choice = TypeVar("Choice", PatchOrder, Edges, Precision, Product, Compress)


def load(
    model: "str | os.PathLike[str]" = zoo.DEFAULT,
    *,
    device: str = "auto",
    precision: str = "auto",
    size: int | tuple[int, int] | None = None,
    patch_order: str = "auto",
    edges: str = "auto",
    offline: bool = False,
    progress: bool = False,
    max_megapixels: float = 300.0,
) -> "Model":
    """Load a model: once, for many photos.

    ``model``: a name that ``birefcli models list`` shows, downloaded if need be (885 MB for
    ``portrait``; not with ``offline``), or a weights file. ``device``: ``auto``, ``cpu``, ``cuda``,
    ``cuda:N`` or ``mps``; ``precision``: ``auto`` (fp16 on CUDA, fp32 elsewhere), ``fp16``,
    ``bf16`` or ``fp32``. ``size``: the network's input in pixels, one number or (width, height),
    multiples of 32; None for the model's own. ``patch_order``: ``auto``, ``columns`` or
    ``channels``. ``edges``: how mattes come to the photo's size, ``auto``, ``matting``, ``guided``
    or ``none``. ``progress`` shows on stderr how far a download is. Files of more than
    ``max_megapixels`` are refused.

    Raises ModelError where the weights are not to be had, DeviceError where the device is not, and
    ValueError for a word or a number that means nothing.
    """
    max_pixels = values.pixels("max_megapixels", max_megapixels)
    loaded = load_model(
        ModelOptions(
            name=values.path("model", model, "a model's name, or the path of a weights file"),
            size=_size(size),
            patch_order=_chosen(PatchOrder, "patch_order", patch_order),
            edges=_chosen(Edges, "edges", edges),
            offline=values.switch("offline", offline),
            device=values.text("device", device, "a device's name, like auto, cpu or cuda:0"),
            precision=_chosen(Precision, "precision", precision),
            compile=True,
        ),
        progress=values.switch("progress", progress),
    )
    return Model(loaded, max_pixels)


def _size(given: int | tuple[int, int] | None) -> Size | None:
    if given is None:
        return None
    wanted = "a number of pixels, or (width, height)"
    sides = given if isinstance(given, (tuple, list)) else (given, given)
    if len(sides) != 2:
        raise values.wrong_type("size", given, wanted)
    size = Size(*(values.whole("size", side, wanted) for side in sides))
    check_size(size)
    return size


def _chosen(kind: type[Choice], name: str, word: str) -> Choice:
    try:
        return kind(word)
    except ValueError:
        raise no_choice(name, word, kind) from None


class Model:
    """A network on its device. Made by :func:`load`.

    Threads may share one, and get what one of them alone would: they take turns in the network,
    which has all cores, or the GPU, to itself; they read, decode and encode beside each other.
    """

    def __init__(self, loaded: LoadedModel, max_pixels: int) -> None:
        self._predictor, self._max_pixels = loaded.predictor, max_pixels
        self.name = loaded.checkpoint.name
        """``mini``, or the name of a weights file."""

    @property
    def size(self) -> Size:
        """The network's input as (width, height) in pixels; photos may have any size."""
        return self._predictor.size

    @property
    def device(self) -> str:
        """``cpu``, ``cuda:0``, ``mps``."""
        return str(self._predictor.placement.device)

    @property
    def precision(self) -> str:
        """``fp32``, ``fp16`` or ``bf16``."""
        return self._predictor.placement.precision.value

    def __repr__(self) -> str:
        width, height = self.size
        return f"<Model {self.name} {width}x{height} on {self.device} in {self.precision}>"

    def __call__(self, photo: ImageLike, *, refine: bool = True) -> "Result":
        """Matte one photo; it is not changed.

        EXIF orientation is applied, the colour profile is respected and kept, a photo's own
        transparency is multiplied in. Of a file with 16 bits a channel Pillow keeps 8: give its
        name or its bytes instead of the picture. Arrays are sRGB. ``refine`` estimates the
        subject's own colour where alpha is soft; False keeps the photo's.

        Raises PhotoError for a photo that cannot be read or matted, which is a ValueError too for
        an array of another shape or type and for a picture without pixels; TypeError for what can
        be no photo; ValueError for a ``refine`` that is no bool.
        """
        (result,) = self.map([photo], batch=1, refine=refine)
        return result

    @overload
    def map(
        self, photos: Iterable[ImageLike], *, batch: int | None = ..., refine: bool = ...
    ) -> "Iterator[Result]": ...

    @overload
    def map(
        self,
        photos: Iterable[ImageLike],
        *,
        batch: int | None = ...,
        refine: bool = ...,
        return_errors: Literal[False],
    ) -> "Iterator[Result]": ...

    @overload
    def map(
        self,
        photos: Iterable[ImageLike],
        *,
        batch: int | None = ...,
        refine: bool = ...,
        return_errors: bool,
    ) -> "Iterator[Result | PhotoError]": ...

    def map(
        self,
        photos: Iterable[ImageLike],
        *,
        batch: int | None = None,
        refine: bool = True,
        return_errors: bool = False,
    ) -> "Iterator[Result | PhotoError]":
        """Matte many photos: a result each, in order, as they are done.

        Files are read ahead in other threads, and no more photos are held than that takes, so
        ``photos`` may be a generator of any length. ``batch``: photos the network sees at once;
        None chooses by device and network. ``return_errors`` gives the PhotoError of a photo in the
        place of its result, and goes on, where otherwise it is raised. Raises as a call does.
        """
        together = None if batch is None else values.whole("batch", batch, BATCH)
        if together is not None and together < 1:
            raise UsageError(f"give {BATCH}", option="batch", value=batch)
        refine = values.switch("refine", refine)
        return_errors = values.switch("return_errors", return_errors)
        if image_like.is_image_like(photos):
            raise TypeError("map takes several photos; for one, call the model itself")
        together = together or default_batch(self._predictor)
        return self._map(photos, together, refine, return_errors)

    def _map(
        self, photos: Iterable[ImageLike], batch: int, refine: bool, return_errors: bool
    ) -> "Iterator[Result | PhotoError]":
        limit = self._max_pixels
        taken = (
            Given(image_like.snapshot(each, limit), image_like.file_of(each)) for each in photos
        )
        load = partial(Given.decode, max_pixels=limit)
        for seen in predict_many(taken, load, self._predictor, batch):
            result = self._result(seen, refine)
            if isinstance(result, PhotoError) and not return_errors:
                raise result
            yield result

    def _result(self, seen: "Seen", refine: bool) -> "Result | PhotoError":
        if isinstance(seen, Failed):
            return seen.error
        try:
            return Result(self._predictor, seen, refine)
        except PhotoError as error:
            return error


class Result:
    """A photo's matte, and what can be made of it, at the photo's size.

    Pictures and arrays are made when they are asked for, anew each time. The subject's colour,
    which takes longest, is estimated once, when the first of them needs it.
    """

    def __init__(self, predictor: Predictor, seen: "Predicted[Given]", refine: bool) -> None:
        self._predictor, self._refine, self._file = predictor, refine, seen.item.file
        # A result may be kept for long: a device must not keep its photo, which it does as long as
        # there is that very object, nor its alpha.
        self._photo = replace(seen.photo)
        self._low: Tensor = seen.alpha.cpu()
        self._plain: Matte = self._matted(None)

    def _matted(self, colour: ForegroundOptions | None) -> Matte:
        low = self._low.to(self._predictor.placement.device)
        return self._predictor.matte(self._photo, low, colour)

    @cached_property
    def _coloured(self) -> Matte:
        return self._matted(ForegroundOptions(self._refine)) if self._refine else self._plain

    @cached_property
    def _everywhere(self) -> Matte:
        return self._matted(ForegroundOptions(everywhere=True)) if self._refine else self._plain

    def _matte(self, kind: Product) -> Matte:
        if not kind.has_colour:
            return self._plain
        return self._everywhere if kind is Product.FOREGROUND else self._coloured

    def __repr__(self) -> str:
        height, width = self._plain.alpha.shape
        return f"<Result {width}x{height}, {self.coverage:.1%} subject>"

    @property
    def alpha(self) -> NDArray[np.float32]:
        """How much of each pixel is subject: H×W, 0 (background) to 1."""
        alpha: NDArray[np.float32] = np.divide(self._plain.alpha, 65535, dtype=np.float32)
        return alpha

    @property
    def coverage(self) -> float:
        """Share of the photo that is subject, 0..1."""
        return self._plain.coverage

    @cached_property
    def _quality(self) -> Quality:
        return check(self._plain.alpha, self._photo.pixels)

    @property
    def flags(self) -> tuple[str, ...]:
        """Why the matte asks for a look, gravest first: ``haze``, ``soft``; () where nothing does.

        The words of ``birefcli matte`` in JSON and of ``birefcli sheet``, measured when asked for.
        """
        return tuple(flag.value for flag in self._quality.flags)

    @property
    def doubt(self) -> float:
        """The mean error of alpha that mattes with such signs have, 0..1: to sort results by."""
        return self._quality.doubt

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the photo that you may want to know: ``first of 3 frames or pages``."""
        return (*self._photo.notes, *self._photo.metadata_notes)

    @property
    def cutout(self) -> Image.Image:
        """RGBA with straight alpha, the subject's own colour where alpha is soft."""
        return self._picture(Product.CUTOUT)

    @property
    def mask(self) -> Image.Image:
        """Alpha in grey (``L``): 0 background to 255 subject."""
        return self._picture(Product.MASK)

    @property
    def foreground(self) -> Image.Image:
        """The subject's colour without alpha, RGB; where it is not, the nearest of its colour."""
        return self._picture(Product.FOREGROUND)

    @property
    def trimap(self) -> Image.Image:
        """Grey (``L``): 0 background, 255 subject, 128 where neither is sure."""
        return self._picture(Product.TRIMAP)

    def composite(self, background: ImageLike = "white") -> Image.Image:
        """The subject over a background, RGB.

        ``background``: a CSS colour, ``blur``, ``blur:RADIUS`` (pixels), or a picture, which fills
        the photo's size and is cut where it stands out, in any of the ways a photo may be given.
        Raises ValueError where it is none of these.
        """
        return self._picture(Product.COMPOSITE, background)

    def pixels(
        self,
        product: str = "cutout",
        *,
        bits: int = 8,
        background: "ImageLike | None" = None,
        **layout: Unpack[LayoutWords],
    ) -> Pixels:
        """One product as an array: H×W, H×W×3 or H×W×4 (``cutout``) of uint8 or uint16.

        ``product``: ``cutout``, ``mask``, ``composite``, ``foreground`` or ``trimap``; ``bits``: 8
        or 16, of which the photo's colours may fill 8; 1 (bool) of a mask with a threshold.
        ``background``: as of :meth:`composite`. ``layout``: options of ``birefcli matte`` by their
        names, texts as there; sizes may be (width, height), shares and alpha numbers up to 1:
        ``preset``, ``canvas``, ``aspect``, ``fill``, ``head``, ``align``, ``resize``, ``crop``
        (a bool), ``margin``, ``shadow``, ``threshold``, ``trimap_width``. For example
        ``canvas="1200x1200", fill=0.85``. Raises ValueError, TypeError for an unknown option, and
        PhotoError for a photo that cannot be laid out.
        """
        check_names("pixels", layout, LayoutWords, ("product", "bits", "background"))
        rendering = self._rendering(product, {"bits": bits, **layout}, background)
        return self._drawn(rendering, background)

    def _rendering(
        self, product: str, words: Mapping[str, Any], background: "ImageLike | None"
    ) -> Rendering:
        """How one product looks. A background that is no text counts for one."""
        kind = _chosen(Product, "product", product)
        text = os.fspath(background) if isinstance(background, (str, os.PathLike)) else None
        return of_arguments(kind, words, text)

    def _drawn(self, rendering: Rendering, background: "ImageLike | None") -> Pixels:
        (kind,) = rendering.products
        behind = None
        if kind is Product.COMPOSITE:
            behind = given_background(rendering.background if background is None else background)
        matte = self._matte(kind)
        return render_product(kind, self._photo, matte, rendering, behind, Path())

    def _picture(self, kind: Product, background: ImageLike = "white") -> Image.Image:
        picture = Image.fromarray(self.pixels(kind.value, background=background))
        if self._photo.icc is not None and kind.has_colour:
            picture.info["icc_profile"] = self._photo.icc
        if self._photo.dpi is not None:
            picture.info["dpi"] = self._photo.dpi
        return picture

    def encode(
        self,
        product: str = "cutout",
        *,
        format: str = "png",  # noqa: A002 - as Pillow's save has it
        bits: int = 8,
        background: "ImageLike | None" = None,
        compress: str = "fast",
        strip: bool = False,
        metadata: bool = True,
        quality: int | None = None,
        max_bytes: int | str | None = None,
        **layout: Unpack[LayoutWords],
    ) -> bytes:
        """One product as the bytes of a file, the same that :meth:`save` writes.

        ``format``: ``png``, ``webp``, ``tiff``, ``avif``, or ``jpg`` for what has no transparency.
        Colour profile, resolution, EXIF, XMP and IPTC of the photo go with it, as far as the format
        holds them; ``strip`` removes the location, ``metadata=False`` all of EXIF, XMP and IPTC.
        ``bits``: 16 for png and tiff; ``compress``: ``fast``, ``balanced`` or ``small``.
        ``quality``: 1 to 100, of jpg, avif, and webp, which is lossless without it; ``max_bytes``
        finds the best one within so many bytes. ``background`` and ``layout``: as of
        :meth:`pixels`. Raises ValueError for what the format cannot hold, TypeError for an unknown
        option, PhotoError for a photo that cannot be laid out or made so small.
        """
        check_names("encode", layout, LayoutWords, ("product", "background", "format"))
        words: dict[str, Any] = {
            "format": format,
            "bits": bits,
            "compress": _chosen(Compress, "compress", compress),
            "strip": strip,
            "metadata": metadata,
            "quality": quality,
            "max_bytes": max_bytes,
            **layout,
        }
        rendering = self._rendering(product, words, background)
        return encode_product(self._drawn(rendering, background), self._photo, rendering).data

    def save(
        self,
        path: "str | os.PathLike[str]",
        product: str = "cutout",
        *,
        background: "ImageLike | None" = None,
        **how: Unpack[FileWords],
    ) -> None:
        """Write one product: the file is whole or not there.

        The format is that of the name: png, webp, tiff, avif, or jpg for what has no transparency.
        Another file of that name is replaced, as by Pillow's ``save``; the photo itself never is,
        where it came from a file, also under another name. ``how``: ``bits``, ``compress``,
        ``strip``, ``metadata``, ``quality`` and ``max_bytes`` as of :meth:`encode`, and the
        options of :meth:`pixels`. Raises ValueError for what the format cannot hold and for the
        photo's own file, TypeError for an unknown option, OSError where it cannot be written.
        """
        check_names("save", how, FileWords, ("path", "product", "background"))
        target = Path(path)
        if self._file is not None and is_same_file(self._file, target):
            raise UsageError(f"{target}: is the photo itself; save under another name")
        format_ = SUFFIXES.get(target.suffix.lower())
        if format_ is None:
            raise UsageError(f"{target}: name it {', '.join(SUFFIXES)}")
        data = self.encode(product, format=format_.value, background=background, **how)
        try:
            replace_file(target, data)
        except OSError as error:  # of the part file beside it
            raise type(error)(error.errno, error.strerror, str(target)) from error
