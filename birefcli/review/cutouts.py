"""Cutouts of a contact sheet: found, paired with their photos, and read once each."""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
from numpy.typing import NDArray

from birefcli.batch.inputs import find_photos, split_missing
from birefcli.batch.places import PIPE, LocalFile
from birefcli.errors import Message, PhotoError, UsageError
from birefcli.images import stamp
from birefcli.images.colour import to_srgb8
from birefcli.images.files import open_photo
from birefcli.images.photo import Photo
from birefcli.options import SUFFIXES, Format, Selection
from birefcli.products.quality.check import Quality, check
from birefcli.review.photos import PairedPhoto
from birefcli.scoring import masks
from birefcli.scoring.masks import Mask, NotAMaskError
from birefcli.system.paths import is_folder
from birefcli.system.prefetch import prefetch
from birefcli.system.temporary_store import TemporaryStore

PRODUCTS = ("cutout", "mask")  # folders of a run that wrote both; others show no matte
SHOWN = ("png", "webp", "tif", "tiff", "jpg", "jpeg")
"""Endings of names that are tried in folders."""
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
    photo: PairedPhoto | None = None


@dataclass(frozen=True)
class Tile:
    """A cutout that was read: its figures, and where its small pictures are."""

    entry: Entry
    findings: Quality
    places: tuple[tuple[int, int], ...]
    """Offset and length in the store: of the cutout and, where it has one, of the photo."""
    note: Message | None = None
    """Why its photo is not shown."""


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
    """Files of folders that show no matte."""


def find_cutouts(inputs: tuple[str, ...]) -> Found:
    """Cutouts and masks among files and below folders. Raises UsageError, NoInputError."""
    roots = tuple(_products_folder(name) for name in inputs)
    patterns = tuple(f"*.{case}" for suffix in SHOWN for case in (suffix, suffix.upper()))
    search = find_photos(Selection(roots, PIPE, include=patterns, products=True))
    there, missing = split_missing(search.found)
    found = Found()
    found.failed = [*((str(name), reason) for name, reason in search.failed),
                    *((str(photo.source), why) for photo, why in missing)]  # fmt: skip
    for photo in there:
        assert isinstance(photo.source, LocalFile), "others are refused as an input"
        path = photo.source.path
        if str(path) in roots or _may_be_matte(path):
            found.entries.append(Entry(path, str(photo.relative)))
        else:
            found.not_mattes += not stamp.is_sheet(path)
    return found


def _products_folder(name: str) -> str:
    """The folder of cutouts or masks, where several products lie in a folder each."""
    if name == PIPE:
        raise UsageError("a sheet is made of files, and not of stdin (-)")
    inside = [Path(name, product) for product in PRODUCTS]
    return next((str(path) for path in inside if is_folder(path)), name)


def _may_be_matte(path: Path) -> bool:
    """Whether a file of a folder is tried: of ours cutouts and masks, of others no JPEG.

    A black and white photo that was put on white would pass for a mask.
    """
    try:
        made = stamp.read(path).stamp
    except OSError:
        return True  # reading it says why
    if made is None:
        return SUFFIXES[path.suffix.lower()] is not Format.JPG
    return made.product in (*PRODUCTS, "")  # another version's: reading it says what it is


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
                yield Tile(entry, made.findings, places, made.note)


@dataclass(frozen=True)
class _Read:
    findings: Quality
    pictures: list[bytes]
    note: Message | None


def _read(entry: Entry, draw: Draw, side: int, max_pixels: int) -> _Read:
    """Figures and pictures of a cutout or mask. Raises PhotoError."""
    found = masks.read(entry.path, max_pixels)
    photo, note = None, None
    if entry.photo is not None:
        try:
            photo = open_photo(entry.photo.path, max_pixels)
        except PhotoError as error:
            note = error.message
    fits = photo is not None and _same_shape(found.alpha, photo.pixels)
    findings = check(found.alpha, photo.pixels if photo is not None and fits else None)
    shown = None if photo is None else _small_srgb(photo, side)
    return _Read(findings, draw(found, shown, side), note)


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
