"""Products of ours in the output whose photo is no longer among the inputs.

Nothing is deleted. Whoever deletes what is listed must not lose a product that still has its photo:
so what was made of any file of the inputs, by the size and time in its stamp, is no orphan,
whatever either is called; nor is what could be a photo's product by its name, of any kind and
format, in a folder of its kind or not. Where it cannot be told which photos there are, nothing is
listed.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeAlias

from birefcli.batch import stores
from birefcli.batch.inputs import FoundPhoto, Search, nothing_found, search_photos, whole_path
from birefcli.batch.output import LocalOutput, StoredOutput, output_of
from birefcli.batch.places import MADE_BY_US, PIPE, LocalFile, Source
from birefcli.batch.stores import StoredPhoto
from birefcli.errors import Message, NoInputError, Option, OutputError, UsageError
from birefcli.images import stamp
from birefcli.images.files import other_kind, walk_folder
from birefcli.images.stamp import Stamp
from birefcli.options import SUFFIXES, Product, Selection
from birefcli.system.name_folding import LOOSE
from birefcli.system.object_url import is_url, parse_url
from birefcli.system.paths import is_folder, is_link

Orphan: TypeAlias = Path | str
"""A file, or the URL of an object."""


class Orphans(NamedTuple):
    """What lies in the output and has no photo."""

    products: list[Orphan]
    unknown: int
    """Other pictures there: somebody's, or products that an editor saved without their stamp."""


STEM, NAME = "{stem}", "{name}"
"""Templates of names that an earlier run may have had, beside that of this one."""


def find_orphans(selection: Selection) -> Orphans:
    """List the products in the output folder that no photo of the inputs can have given.

    By name and stamp alone: no photo is read. Raises UsageError where the selection leaves photos
    out, NoInputError where there are none or they cannot all be found, OutputError.
    """
    refuse_partial(selection)
    search = search_photos(selection)
    refuse_uncertain(selection, search)
    kept = _Kept(selection, search)
    output = output_of(selection)
    if isinstance(output, StoredOutput):
        return _sorted_out(_stored(output, kept), kept)
    assert isinstance(output, LocalOutput)
    return _sorted_out(_local(output.path, kept), kept)


def refuse_partial(selection: Selection) -> None:
    """Raise UsageError where photos may be left out: their products would seem to have none."""
    if output_of(selection).is_one:
        raise UsageError("is no folder", option="output", value=selection.output)
    given = {
        "include": selection.include,
        "exclude": selection.exclude,
        "files_from": selection.listed,
        "shard": selection.shard,
        "no_recursive": not selection.recursive,
    }
    for option, value in given.items():
        if value:
            text = Message(
                Option(option, given=True), " leaves photos out, whose products would be listed"
            )
            raise UsageError(text, hint="leave it out")
    for name in selection.inputs:
        if name == PIPE or not (_is_prefix(name) if is_url(name) else is_folder(Path(name))):
            raise UsageError(
                f"{name}: is no folder; the products of all other photos would be listed",
                hint="name all folders whose products are here",
            )


def refuse_uncertain(selection: Selection, search: Search) -> None:
    """Raise NoInputError where photos may be there that were not found."""
    if search.failed:
        raise _uncertain(str(search.failed[0].place), search.failed[0].reason)
    if not selection.inputs:  # an empty list was given: every product would be listed
        raise NoInputError(nothing_found(selection, search))
    for name in selection.inputs:  # a disk that is not mounted is an empty folder
        if not any(_is_below(photo, name) for photo in search.found):
            raise NoInputError(nothing_found(replace(selection, inputs=(name,)), search))


def _is_below(photo: FoundPhoto, name: str) -> bool:
    """Whether a photo lies in a folder, or below a prefix, that is named."""
    source = photo.source
    if isinstance(source, StoredPhoto):
        return is_url(name) and source.url.is_within(parse_url(name))
    return not is_url(name) and Path(source.label).is_relative_to(name)


def _is_prefix(name: str) -> bool:
    try:
        url = parse_url(name)
        return stores.find_photo(url) is None
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None
    except OSError as error:
        raise NoInputError(f"{error.filename}: {error.strerror}") from error


class _Kept:
    """What the files that are there may have given: by their sizes and times, and by their names.

    By a path without an extension, also in a folder below the output: that may be the output of
    other runs.
    """

    def __init__(self, selection: Selection, search: Search) -> None:
        self._names = [Selection((), "", name=each) for each in {selection.name, STEM, NAME}]
        self._states = {photo.source.state() for photo in search.found}
        paths = list(_paths(selection, search))
        for relative, source in _all_below(selection):
            self._states.add(source.state())
            if _may_be_named(relative.name):
                paths.append(relative)
        self._paths = {base for path in paths for base in self._bases(path)}
        self._alone = {base for path in paths for base in self._bases(Path(path.name))}
        """Of photos that were named one by one: their products lie beside each other."""

    def _bases(self, path: Path) -> Iterator[str]:
        for each in self._names:
            yield LOOSE((path.parent / each.target_name(path)).as_posix())

    def made_of_one(self, made: Stamp) -> bool:
        """Whether a product was made of one of the files as that is now."""
        return (made.size, made.mtime_ns) in self._states

    def named_as_one(self, relative: PurePosixPath) -> bool:
        """Whether a file of the output may be the product of such a photo, by its path there."""
        parts = relative.with_suffix("").parts
        inside = parts[1:] if parts[0] in _KINDS else parts
        if len(inside) == 1 and LOOSE(inside[0]) in self._alone:
            return True
        return any(LOOSE("/".join(parts[i:])) in self._paths for i in range(len(parts)))


_KINDS = frozenset(kind.value for kind in Product)


def _all_below(selection: Selection) -> Iterator[tuple[Path, Source]]:
    """All files of the inputs, and their paths there: each may have been named itself.

    Raises NoInputError.
    """
    for name in selection.inputs:
        if is_url(name):
            yield from stores.photos_below(parse_url(name).as_prefix, _refuse_unseen)
            continue
        for path in walk_folder(Path(name), on_error=_refuse_unseen):
            yield path.relative_to(name), LocalFile(path)


def _refuse_unseen(error: OSError) -> None:
    raise _uncertain(str(error.filename), error.strerror or str(error)) from error


def _uncertain(name: str, reason: str) -> NoInputError:
    return NoInputError(f"{name}: {reason}; it may hold photos, so nothing is known to have none")


def _may_be_named(name: str) -> bool:
    """Whether a file that no search takes for a photo is one by its name, and no text beside it."""
    return not Path(name).suffix or other_kind(name) is not None


def _paths(selection: Selection, search: Search) -> Iterator[Path]:
    """Paths below the output that photos may have: found, listed or named, now or before."""
    for photo in _without_products(selection, search.found):
        yield photo.relative
        yield whole_path(photo.source)
    for path, reason in search.skipped:  # a link to a disk that is not there may be a photo again
        if reason != MADE_BY_US and isinstance(path, Path) and is_link(path):
            yield from (
                path.relative_to(root)
                for root in selection.inputs
                if not is_url(root) and path.is_relative_to(root)
            )


def _without_products(selection: Selection, found: list[FoundPhoto]) -> Iterator[FoundPhoto]:
    """Those that are photos: where these lie in the output's prefix, each object is looked at."""
    output = output_of(selection)
    if not isinstance(output, StoredOutput):
        yield from found
        return
    for photo, ours in zip(found, stores.in_order(partial(_is_ours, output), found), strict=True):
        if not ours:
            yield photo


def _is_ours(output: StoredOutput, photo: FoundPhoto) -> bool:
    source = photo.source
    if not isinstance(source, StoredPhoto) or not source.url.is_within(output.url):
        return False
    return stores.is_product(source)


def _sorted_out(pictures: Iterator[tuple[Orphan, Stamp | None]], kept: _Kept) -> Orphans:
    products: list[Orphan] = []
    unknown = 0
    for place, found in pictures:
        unknown += found is None
        if _is_orphan(found, kept):
            products.append(place)
    return Orphans(products, unknown)


def _local(folder: Path, kept: _Kept) -> Iterator[tuple[Orphan, Stamp | None]]:
    """What no photo's name explains, and its stamp."""
    if not is_folder(folder):
        raise OutputError(f"{folder}: no such folder")
    for path in walk_folder(folder, on_error=_raise):
        relative = PurePosixPath(path.relative_to(folder).as_posix())
        if not _may_be_product(relative) or kept.named_as_one(relative):
            continue
        try:
            yield path, stamp.read(path).stamp
        except OSError:
            yield path, None  # what cannot be read is not known to be ours


def _raise(error: OSError) -> None:
    raise OutputError(f"{error.filename}: {error.strerror}") from error


def _stored(output: StoredOutput, kept: _Kept) -> Iterator[tuple[Orphan, Stamp | None]]:
    prefix = output.url.as_prefix
    start = len(prefix.key)
    with stores.listing(prefix):
        near = [
            photo
            for _, photo in stores.photos_below(prefix, _raise)
            if _may_be_product(relative := PurePosixPath(photo.url.key[start:]))
            and not kept.named_as_one(relative)
        ]
        for photo, found in zip(near, stores.in_order(stores.stamp_of, near), strict=True):
            yield photo.label, found


def _may_be_product(relative: PurePosixPath) -> bool:
    return relative.suffix.lower() in SUFFIXES and not relative.name.startswith(".")


def _is_orphan(found: Stamp | None, kept: _Kept) -> bool:
    """Whether a file is ours, and of no photo that is there; a page of a contact sheet has none."""
    return found is not None and found.product != stamp.SHEET and not kept.made_of_one(found)
