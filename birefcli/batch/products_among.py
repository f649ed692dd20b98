"""Products of ours among the objects that a search of a store has come upon.

In a folder every file is looked at for a stamp. In a store that is a request for each, so only
those are looked at that would hinder a run if they were photos: what lies where a product goes, and
what wants the same target as another. Any other product is noticed when it is read.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from birefcli.batch import stores
from birefcli.batch.inputs import FoundPhoto, Search
from birefcli.batch.output import output_url
from birefcli.batch.places import MADE_BY_US, PIPE
from birefcli.batch.stores import StoredPhoto
from birefcli.batch.targets import names_a_file, plan_job
from birefcli.errors import NoInputError
from birefcli.options import Format, Product, Selection
from birefcli.system.name_folding import LOOSE


def set_products_aside(
    search: Search, selection: Selection, products: tuple[Product, ...], format_: Format
) -> None:
    """Move products from what was found to what is skipped, and count none as other shards' photos.

    Raises NoInputError where a store cannot be asked.
    """
    if selection.output == PIPE or names_a_file(selection):
        return
    sought = _Sought(selection, products, format_)
    try:
        theirs = _wanted_elsewhere(search, sought)
        _set_aside(search, sought, theirs)
        _judge_others(search, sought, theirs)
    except OSError as error:
        raise NoInputError(f"{error.filename}: {error.strerror}") from error


class _Sought:
    """Where the products of a photo go."""

    def __init__(
        self, selection: Selection, products: tuple[Product, ...], format_: Format
    ) -> None:
        self.selection, self._products, self._format = selection, products, format_

    def __call__(self, photo: FoundPhoto) -> list[str]:
        """Their keys."""
        job = plan_job(photo, self.selection, self._products, self._format)
        return [key for target in job.targets.values() if (key := target.key) is not None]


def _wanted_elsewhere(search: Search, sought: _Sought) -> set[str]:
    """Which of the objects, here or in other shards, lie where those of other shards go."""
    if not search.beside:
        return set()
    labels = {label for label, _ in _beside(search, sought)}
    labels |= {photo.source.label for photo in search.found}
    wanted: set[str] = set()
    source = StoredPhoto(output_url(sought.selection), None)  # targets do not depend on it
    for label, relative in _beside(search, sought):
        wanted |= labels.intersection(sought(FoundPhoto(source, relative))) - {label}
    return wanted


def _beside(search: Search, sought: _Sought) -> Iterator[tuple[str, Path]]:
    bucket = str(output_url(sought.selection).at(""))
    for entry, length in search.beside:
        yield bucket + entry.key, Path(entry.key[-length:])


def _set_aside(search: Search, sought: _Sought, theirs: set[str]) -> None:
    stored = [found for photo in search.found if (found := _stored(photo)) is not None]
    if not stored:
        return
    # Loosely: the products may go to a disk that takes two names for one.
    wanted = Counter(LOOSE(key) for photo in search.found for key in sought(photo))
    suspects = {p.label: p for p in stored if p.label in theirs or LOOSE(p.label) in wanted}
    several = {key for key, count in wanted.items() if count > 1}
    for photo in search.found if several else ():
        found = _stored(photo)
        if found is not None and any(LOOSE(key) in several for key in sought(photo)):
            suspects[found.label] = found
    ours = _ours(suspects.values())
    search.skipped += [(label, MADE_BY_US) for label in ours]
    gone = set(ours)
    search.found = [photo for photo in search.found if photo.source.label not in gone]


def _judge_others(search: Search, sought: _Sought, theirs: set[str]) -> None:
    """Which objects of other shards are photos that no product may replace."""
    if not search.beside:
        return
    out = output_url(sought.selection)
    own = {key for photo in search.found for key in sought(photo)}
    near = [
        photo for e, _ in search.beside if (photo := StoredPhoto(out.at(e.key), e)).label in own
    ]
    ours = _ours(near)
    search.replaceable |= {photo.label for photo in near}.difference(ours)
    # Those by their names alone: in their own shards they are looked at.
    products = {label for label, _ in _beside(search, sought) if label in theirs}
    search.elsewhere -= len(products.union(ours))
    search.beside = []


def _stored(photo: FoundPhoto) -> StoredPhoto | None:
    """The object that a search came upon; None for what is named, which is tried whatever it is."""
    return photo.source if photo.searched and isinstance(photo.source, StoredPhoto) else None


def _ours(photos: Iterable[StoredPhoto]) -> list[str]:
    """Labels of those that are stamped, by a small read each. Raises OSError."""
    photos = list(photos)
    marks = stores.in_order(stores.is_product, photos) if photos else ()
    return [photo.label for photo, ours in zip(photos, marks, strict=True) if ours]
