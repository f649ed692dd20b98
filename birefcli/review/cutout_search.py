"""Which pictures a contact sheet shows: cutouts, masks and composites below folders.

A run that writes several products puts each into a folder of its own: ``out/cutout/a.png``,
``out/mask/a.png``. A folder of photos may be called so too. The stamp tells them apart.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

from birefcli.batch.inputs import FoundPhoto, find_photos
from birefcli.batch.missing import split_missing
from birefcli.batch.places import PIPE, LocalFile
from birefcli.errors import Message, UsageError
from birefcli.images import stamp
from birefcli.images.findings import Findings
from birefcli.images.stamp import Stamp
from birefcli.options import SUFFIXES, Format, Product, Selection
from birefcli.review.cutouts import Entry
from birefcli.system.paths import is_file, is_folder

MATTES = (Product.CUTOUT.value, Product.MASK.value)
"""Products that are judged; of one photo's, the first is shown."""


@dataclass
class Found:
    """Cutouts in the order of their names, and what else was there."""

    entries: list[Entry] = field(default_factory=list)
    failed: list[tuple[str, str | Message]] = field(default_factory=list)
    """What cannot be looked at, and why."""
    not_mattes: int = 0
    """Pictures of folders that show no matte and are no composites of ours."""
    beside: int = 0
    """Other products of photos whose cutout or mask is shown."""


class _Kind(Enum):
    """What a picture is to a sheet."""

    MATTE = auto()
    """A cutout or mask, or what may be one: reading it says what it is."""
    COMPOSITE = auto()
    """One of ours."""
    PAGE = auto()
    """Of a sheet."""
    OTHER = auto()


@dataclass(frozen=True)
class _Slot:
    """A product's place in a run that writes each product into a folder of its own."""

    product: str
    of: tuple[Path, Path]
    """The output folder, and the path below that all products of one photo have, without suffix."""
    photo: str
    """Of the photo, as a cutout's name: without the folder of the product."""


@dataclass(frozen=True)
class _Picture:
    """A picture that a search came upon. ``name``: its path below the folder that was named."""

    path: Path
    name: str
    kind: _Kind
    made: Stamp | None
    found: Findings | None
    """What its run found out; None where that is not told, or it was edited since."""
    slots: tuple[_Slot, ...]
    """Places that it may have: none where it was named itself."""


_Places = dict[tuple[Path, Path], list[tuple[str, _Picture]]]


def find_cutouts(inputs: tuple[str, ...]) -> Found:
    """Cutouts, masks and composites of ours among files and below folders.

    Of one photo's products in folders side by side the cutout is found, or the mask where there is
    no cutout. Raises UsageError, NoInputError.
    """
    if PIPE in inputs:
        raise UsageError("a sheet is made of files, and not of stdin (-)")
    search = find_photos(Selection(inputs, PIPE, products=True))
    there, missing = split_missing(search.found)
    named, common = frozenset(inputs), _common_folder(inputs)
    found = Found()
    found.failed = [*((str(each.place), each.reason) for each in search.failed),
                    *((str(photo.source), why) for photo, why in missing)]  # fmt: skip
    pictures = [_looked_at(photo, named) for photo in there]
    places = _by_place(pictures)
    for picture in pictures:
        if picture.kind is _Kind.PAGE:
            continue
        if _is_beside_matte(picture, places):
            found.beside += 1
        elif picture.kind is _Kind.OTHER:
            found.not_mattes += 1
        else:
            found.entries.append(_entry(picture, places, common))
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


# What a picture is


def _looked_at(photo: FoundPhoto, named: frozenset[str]) -> _Picture:
    assert isinstance(photo.source, LocalFile), "others are refused as an input"
    path = photo.source.path
    is_named = str(path) in named
    try:
        there = stamp.read(path)
        made = there.stamp
        kind = _kind(path, made, named=is_named)
        found = made.found if made is not None and there.is_as_made else None
    except OSError:
        made, found, kind = None, None, _Kind.MATTE  # reading it says why
    slots = () if is_named else tuple(_slots(path, photo.relative, made))
    return _Picture(path, str(photo.relative), kind, made, found, slots)


def _kind(path: Path, made: Stamp | None, *, named: bool) -> _Kind:
    """Of ours, what the stamp says; of others, all that is ``named``, and in folders no JPEG.

    A black and white photo that was put on white would pass for a mask.
    """
    product = "" if made is None else made.product
    if product == Product.COMPOSITE.value:
        return _Kind.COMPOSITE
    if product == stamp.SHEET and not named:
        return _Kind.PAGE
    format_ = SUFFIXES.get(path.suffix.lower())
    may_hold = format_ is not None and (made is not None or format_ is not Format.JPG)
    # Another version's stamp names no product: reading it says what it is.
    is_tried = named or (may_hold and product in (*MATTES, ""))
    return _Kind.MATTE if is_tried else _Kind.OTHER


# Products of one photo


def _slots(path: Path, relative: Path, made: Stamp | None) -> Iterator[_Slot]:
    """Where a picture may lie among products of one photo: in a folder that is called as it is.

    A photo's own folder may be called so as well. What has no stamp may be what its folder says.
    """
    product = "" if made is None else made.product
    below = relative.parts
    outside = path.parts[: len(path.parts) - len(below)]
    for at, part in enumerate(below[:-1]):
        if part == product or (not product and part in MATTES):
            rest = Path(*below[at + 1 :])
            folder = Path(*outside, *below[:at])
            yield _Slot(part, (folder, rest.with_suffix("")), str(Path(*below[:at], rest)))


def _by_place(pictures: list[_Picture]) -> _Places:
    places: _Places = defaultdict(list)
    for picture in pictures:
        for slot in picture.slots:
            places[slot.of].append((slot.product, picture))
    return places


def _beside(slot: _Slot, picture: _Picture, places: _Places) -> Iterator[tuple[str, _Picture]]:
    """Other products that one run made of the same photo."""
    for product, other in places[slot.of]:
        if product != slot.product and _may_be_of_one_photo(picture.made, other.made):
            yield product, other


def _may_be_of_one_photo(one: Stamp | None, other: Stamp | None) -> bool:
    """Whether two stamps tell of one photo's file; one that tells nothing may be of any."""
    if one is None or other is None or not (one.product and other.product):
        return True
    return (one.size, one.mtime_ns) == (other.size, other.mtime_ns)


def _is_beside_matte(picture: _Picture, places: _Places) -> bool:
    """Whether a cutout of the same photo is shown; or, of what is no cutout, its mask."""
    return any(
        other.kind is _Kind.MATTE and product in _shown_before(slot.product)
        for slot in picture.slots
        for product, other in _beside(slot, picture, places)
    )


def _shown_before(product: str) -> tuple[str, ...]:
    """Products that are shown in the place of another of the same photo."""
    return MATTES[: MATTES.index(product)] if product in MATTES else MATTES


def _entry(picture: _Picture, places: _Places, common: str | None) -> Entry:
    """What is shown; a folder that surely is a product's is no part of the photo's name."""
    path, name, found = picture.path, picture.name, picture.found
    label = name if common is None else os.path.relpath(path, common)
    sure = [slot.photo for slot in picture.slots if any(_beside(slot, picture, places))]
    names = tuple(dict.fromkeys([*sure, name, *(slot.photo for slot in picture.slots)]))
    if picture.kind is not _Kind.COMPOSITE:
        return Entry(path, names, label, reframed=_is_reframed(picture.made), found=found)
    matte = _matte_of(path, picture.made) if found is None else None
    made = None if matte is None else _stamp_of(matte)
    is_reframed = _is_reframed(made)
    return Entry(path, names, label, True, matte=matte, reframed=is_reframed, found=found)


def _is_reframed(made: Stamp | None) -> bool:
    return made is not None and made.reframed


def _matte_of(path: Path, made: Stamp | None) -> Path | None:
    """The cutout or mask beside a composite, where one run wrote each into a folder of its own."""
    parts = path.parts[:-1]
    beside = [
        Path(*parts[:at], kind, *path.parts[at + 1 :]).with_suffix(suffix)
        for at, part in enumerate(parts)
        if part == Product.COMPOSITE.value
        for kind in MATTES
        for suffix in SUFFIXES
    ]
    return next((file for file in beside if is_file(file) and _is_matte_of(file, made)), None)


def _is_matte_of(file: Path, made: Stamp | None) -> bool:
    found = _stamp_of(file)
    is_matte = found is None or found.product in (*MATTES, "")
    return is_matte and _may_be_of_one_photo(found, made)


def _stamp_of(file: Path) -> Stamp | None:
    """None also where it cannot be read: whoever reads the picture hears why."""
    try:
        return stamp.read(file).stamp
    except OSError:
        return None
