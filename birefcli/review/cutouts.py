"""Cutouts of a contact sheet, with their photos: read once each."""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.errors import Message, PhotoError
from birefcli.images.colour import to_srgb8
from birefcli.images.files import open_photo
from birefcli.images.findings import Findings, notes_on_quality
from birefcli.images.photo import Photo
from birefcli.products.quality.check import Quality, check
from birefcli.products.quality.defects import Defect, defects
from birefcli.review.photos import PairedPhoto
from birefcli.scoring import masks
from birefcli.scoring.masks import Mask, NotAMaskError
from birefcli.system.prefetch import prefetch
from birefcli.system.temporary_store import TemporaryStore

SAME_SHAPE = 0.01
"""By how much the sides of a cutout and its photo may differ in proportion: one that was cropped or
put on a canvas is another picture, also where no stamp says so."""

Draw = Callable[[Mask, NDArray[Any] | None, int], list[bytes]]
"""Small pictures of a cutout and, where it has one, of its photo (H×W×3, sRGB), as files. The last
is the side of each, in pixels."""


@dataclass(frozen=True)
class Entry:
    """One cutout."""

    path: Path
    names: tuple[str, ...]
    """By which its photo is sought, the likeliest first: its path below the folder that was named,
    with a product's folder and without."""
    label: str
    """The name that is shown: it tells folders apart where several are named."""
    composite: bool = False
    """Whether it is a composite of ours: a picture without alpha."""
    matte: Path | None = None
    """The cutout or mask of the same run, by which a composite is judged that does not tell."""
    reframed: bool = False
    """Whether what is judged is known not to show the matte itself, as :class:`.Stamp` tells."""
    found: Findings | None = None
    """What the run that made it found out about its photo, where it tells."""
    photo: PairedPhoto | None = None

    @property
    def shows_less_than_its_run(self) -> bool:
        """Whether its run saw more than the file shows: alpha at all, all of it, or it alone."""
        return self.found is not None and (self.composite or self.reframed)

    @property
    def run_notes(self) -> tuple[str, ...]:
        """What its run noted about it."""
        if self.found is None:
            return ()
        return (*self.found.notes, *notes_on_quality(self.found.lowered, several=False))


@dataclass(frozen=True)
class Tile:
    """A cutout that was read: its figures, and where its small pictures are."""

    entry: Entry
    quality: Quality | None
    """None for a composite that does not tell, and has no matte beside it: nobody can judge it but
    who looks at it."""
    places: tuple[tuple[int, int], ...]
    """Offset and length in the store: of the cutout and, where it has one, of the photo."""
    notes: tuple[Message, ...] = ()
    """Why its photo is not shown, or why it is not judged."""
    by_alpha_alone: bool = False
    """Whether it was cropped, lies on a canvas or has a shadow: its photo is shown, and tells
    nothing."""

    @property
    def flags(self) -> tuple[Defect, ...]:
        """Why it asks for a look, gravest first."""
        return () if self.quality is None else self.quality.flags


@dataclass(frozen=True)
class Unread:
    """A cutout that cannot be shown, and why."""

    entry: Entry
    error: Message
    not_a_matte: bool
    """Whether it is a good picture, and only no matte."""


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
                yield Tile(entry, made.quality, places, made.notes, made.by_alpha_alone)


@dataclass(frozen=True)
class _Read:
    quality: Quality | None
    pictures: list[bytes]
    notes: tuple[Message, ...]
    by_alpha_alone: bool


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
    by_run = _of_run(entry.found) if entry.found else None
    quality, alone = by_run, False
    if by_run is None:
        quality, alone = _judged(alpha, photo, reframed=entry.reframed)
    return _Read(quality, draw(found, shown, side), tuple(notes), alone)


def _opaque(photo: Photo) -> Mask:
    """A composite, as a cutout without transparency."""
    pixels = to_srgb8(photo)
    return Mask(np.full(pixels.shape[:2], 255, np.uint8), pixels)


def _of_run(found: Findings) -> Quality:
    """What a stamp tells, as :func:`check` does."""
    return Quality(found.coverage, defects(found.flags), found.doubt)


def _judged(
    alpha: NDArray[Any] | None, photo: Photo | None, *, reframed: bool
) -> tuple[Quality | None, bool]:
    """Flags of a matte, and whether its photo has no part in them, as it does not lie under it."""
    if alpha is None:
        return None, False
    if photo is None:
        return check(alpha, None), False
    fits = not reframed and _same_shape(alpha, photo.pixels)
    return check(alpha, photo.pixels if fits else None), not fits


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
