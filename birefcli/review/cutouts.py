"""Cutouts of a contact sheet: found, paired with their photos, and read once each."""

import os
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.batch.inputs import find_photos, split_missing
from birefcli.batch.places import PIPE, LocalFile
from birefcli.errors import Message, PhotoError, UsageError
from birefcli.images import stamp
from birefcli.images.colour import to_srgb8
from birefcli.images.files import open_photo
from birefcli.images.photo import Photo
from birefcli.options import SUFFIXES, Format, Product, Selection
from birefcli.products.quality.check import Defect, Quality, check
from birefcli.review.photos import PairedPhoto
from birefcli.scoring import masks
from birefcli.scoring.masks import Mask, NotAMaskError
from birefcli.system.paths import is_file, is_folder
from birefcli.system.prefetch import prefetch
from birefcli.system.temporary_store import TemporaryStore

PRODUCTS = ("cutout", "mask")  # folders of a run that wrote both; others show no matte
SAME_SHAPE = 0.01
"""By how much the sides of a cutout and its photo may differ in proportion: one that was cropped or
put on a canvas is another picture."""

Draw = Callable[[Mask, NDArray[Any] | None, int], list[bytes]]
"""Small pictures of a cutout and, where it has one, of its photo (H×W×3, sRGB), as files. The last
is the side of each, in pixels."""


@dataclass(frozen=True)
class Entry:
    """One cutout. ``name``: its path below the folder that was named."""

    path: Path
    name: str
    label: str
    """The name that is shown: it tells folders apart where several are named."""
    composite: bool = False
    """Whether it is a composite of ours: a picture without alpha."""
    matte: Path | None = None
    """The cutout or mask of the same run, by which a composite is judged."""
    photo: PairedPhoto | None = None


@dataclass(frozen=True)
class Tile:
    """A cutout that was read: its figures, and where its small pictures are."""

    entry: Entry
    findings: Quality | None
    """None for a composite without a matte beside it: nobody can judge it but who looks at it."""
    places: tuple[tuple[int, int], ...]
    """Offset and length in the store: of the cutout and, where it has one, of the photo."""
    notes: tuple[Message, ...] = ()
    """Why its photo is not shown, or why it is not judged."""

    @property
    def flags(self) -> tuple[Defect, ...]:
        """Why it asks for a look, gravest first."""
        return () if self.findings is None else self.findings.flags


@dataclass(frozen=True)
class Unread:
    """A cutout that cannot be shown, and why."""

    entry: Entry
    error: Message
    not_a_matte: bool
    """Whether it is a good picture, and only no matte."""


@dataclass
class Found:
    """Cutouts in the order of their names, and what else was there."""

    entries: list[Entry] = field(default_factory=list)
    failed: list[tuple[str, str | Message]] = field(default_factory=list)
    """What cannot be looked at, and why."""
    not_mattes: int = 0
    """Pictures of folders that show no matte and are no composites of ours."""


def find_cutouts(inputs: tuple[str, ...]) -> Found:
    """Cutouts, masks and composites of ours among files and below folders.

    Raises UsageError, NoInputError.
    """
    roots = tuple(_products_folder(name) for name in inputs)
    search = find_photos(Selection(roots, PIPE, products=True))
    there, missing = split_missing(search.found)
    named, common = frozenset(roots), _common_folder(roots)
    found = Found()
    found.failed = [*((str(name), reason) for name, reason in search.failed),
                    *((str(photo.source), why) for photo, why in missing)]  # fmt: skip
    for photo in there:
        assert isinstance(photo.source, LocalFile), "others are refused as an input"
        path = photo.source.path
        name = str(photo.relative)
        entry = Entry(path, name, name if common is None else os.path.relpath(path, common))
        kind = _kind(path, named=str(path) in named)
        if kind is _Kind.COMPOSITE:
            found.entries.append(replace(entry, composite=True, matte=_matte_of(path)))
        elif kind is _Kind.MATTE:
            found.entries.append(entry)
        else:
            found.not_mattes += kind is _Kind.OTHER
    return found


def _common_folder(roots: tuple[str, ...]) -> str | None:
    """The last folder that holds all of several; None of one, or where there is none.

    Names of cutouts are shown below it: those below a folder each would be the same.
    """
    if len(roots) == 1:
        return None
    folders = {Path(root) if is_folder(Path(root)) else Path(root).parent for root in roots}
    try:
        return os.path.commonpath([os.path.abspath(folder) for folder in folders])  # noqa: PTH100
    except ValueError:  # on several drives
        return None


def _products_folder(name: str) -> str:
    """The folder of cutouts or masks, where several products lie in a folder each."""
    if name == PIPE:
        raise UsageError("a sheet is made of files, and not of stdin (-)")
    inside = [Path(name, product) for product in PRODUCTS]
    return next((str(path) for path in inside if is_folder(path)), name)


class _Kind(Enum):
    """What a picture is to a sheet."""

    MATTE = auto()
    """A cutout or mask, or what may be one: reading it says what it is."""
    COMPOSITE = auto()
    """One of ours."""
    PAGE = auto()
    """Of a sheet."""
    OTHER = auto()


def _kind(path: Path, *, named: bool) -> _Kind:
    """Of ours, what the stamp says; of others, all that is ``named``, and in folders no JPEG.

    A black and white photo that was put on white would pass for a mask.
    """
    try:
        made = stamp.read(path).stamp
    except OSError:
        return _Kind.MATTE  # reading it says why
    product = "" if made is None else made.product
    if product == Product.COMPOSITE.value:
        return _Kind.COMPOSITE
    if product == stamp.SHEET and not named:
        return _Kind.PAGE
    format_ = SUFFIXES.get(path.suffix.lower())
    may_hold = format_ is not None and (made is not None or format_ is not Format.JPG)
    # Another version's stamp names no product: reading it says what it is.
    is_tried = named or (may_hold and product in (*PRODUCTS, ""))
    return _Kind.MATTE if is_tried else _Kind.OTHER


def _matte_of(path: Path) -> Path | None:
    """The cutout or mask beside a composite, where one run wrote each into a folder of its own."""
    parts = path.parts[:-1]
    if Product.COMPOSITE.value not in parts:
        return None
    at = len(parts) - 1 - parts[::-1].index(Product.COMPOSITE.value)
    beside = [Path(*parts[:at], kind, *path.parts[at + 1 :]) for kind in PRODUCTS]
    files = (each.with_suffix(suffix) for each in beside for suffix in SUFFIXES)
    return next((file for file in files if is_file(file)), None)


def read_tiles(
    entries: Iterable[Entry],
    store: TemporaryStore,
    draw: Draw,
    side: int,
    threads: int,
    max_pixels: int,
) -> Generator[Tile | Unread, None, None]:
    """Read cutouts and masks, in order, ``threads`` at once."""

    def make(entry: Entry) -> _Read | Unread:
        try:
            return _read(entry, draw, side, max_pixels)
        except PhotoError as error:
            return Unread(entry, error.message, isinstance(error, NotAMaskError))

    listed = list(entries)
    with ThreadPoolExecutor(threads, "tile") as pool:
        calls = prefetch(pool, make, listed, threads + 1)
        for entry, future in zip(listed, calls, strict=True):
            made = future.result()
            if isinstance(made, Unread):
                yield made
            else:
                places = tuple(store.put(picture) for picture in made.pictures)
                yield Tile(entry, made.findings, places, made.notes)


@dataclass(frozen=True)
class _Read:
    findings: Quality | None
    pictures: list[bytes]
    notes: tuple[Message, ...]


def _read(entry: Entry, draw: Draw, side: int, max_pixels: int) -> _Read:
    """Figures and pictures of a cutout, mask or composite. Raises PhotoError."""
    notes: list[Message] = []
    if entry.composite:
        found = _opaque(open_photo(entry.path, max_pixels))
        alpha = None
        if entry.matte is not None:
            try:
                alpha = masks.read(entry.matte, max_pixels).alpha
            except PhotoError as error:
                notes.append(Message(error.message, "; its composite is not judged"))
    else:
        found = masks.read(entry.path, max_pixels)
        alpha = found.alpha
    photo = None
    if entry.photo is not None:
        try:
            photo = open_photo(entry.photo.path, max_pixels)
        except PhotoError as error:
            notes.append(Message(error.message, "; its cutout is shown without it"))
    shown = None if photo is None else _small_srgb(photo, side)
    return _Read(_judged(alpha, photo), draw(found, shown, side), tuple(notes))


def _opaque(photo: Photo) -> Mask:
    """A composite, as a cutout without transparency."""
    pixels = to_srgb8(photo)
    return Mask(np.full(pixels.shape[:2], 255, np.uint8), pixels)


def _judged(alpha: NDArray[Any] | None, photo: Photo | None) -> Quality | None:
    """Flags of a matte, by its photo too where it is of the whole photo."""
    if alpha is None:
        return None
    fits = photo is not None and _same_shape(alpha, photo.pixels)
    return check(alpha, photo.pixels if photo is not None and fits else None)


def _same_shape(alpha: NDArray[Any], pixels: NDArray[Any]) -> bool:
    """Whether a matte is of the whole photo, in whatever size."""
    (height, width), (rows, columns) = alpha.shape, pixels.shape[:2]
    slack = max(SAME_SHAPE * height * columns, height, rows, width, columns)
    return bool(abs(height * columns - width * rows) <= slack)


def small_size(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """(width, height) of a picture that is at most ``side`` wide and high; none is enlarged."""
    height, width = shape[:2]
    scale = min(1.0, side / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _small_srgb(photo: Photo, side: int) -> NDArray[Any]:
    size = small_size(photo.pixels.shape, side)
    pixels = cv2.resize(photo.pixels, size, interpolation=cv2.INTER_AREA)
    alpha = photo.alpha
    if alpha is not None:
        alpha = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    return to_srgb8(replace(photo, pixels=pixels, alpha=alpha))
