"""Which photos: named, listed, and found in folders."""

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from birefcli.batch import stores
from birefcli.batch.lists import INSIDE, marked, split_unread, unread_line
from birefcli.batch.output import output_of
from birefcli.batch.places import MADE_BY_US, PIPE, LocalFile, Source, Stdin
from birefcli.batch.shard import holds
from birefcli.batch.stores import StoredPhoto
from birefcli.errors import Message, NoInputError, Option
from birefcli.images import stamp
from birefcli.images.files import (
    entry_key,
    has_photo_name,
    is_reached,
    left_out_text,
    matches,
    other_kind,
    walk_folder,
)
from birefcli.options import Selection
from birefcli.system.object_store import ObjectEntry
from birefcli.system.object_url import ObjectUrl, is_url, parse_url
from birefcli.system.paths import exists, is_folder, is_link


@dataclass(frozen=True)
class FoundPhoto:
    """A photo, and the path it keeps below the output folder."""

    source: Source
    relative: Path
    searched: bool = False
    """Whether it was found in a folder: what is named is tried whatever it is."""
    everywhere: bool = False
    """Whether every shard has it: a name under which nothing is."""


class Unread(NamedTuple):
    """What may be photos, or a folder with some, and could not be looked at."""

    place: Path | str
    reason: str
    listed: str
    """Its line in a list of photos, by which it is looked at again."""


@dataclass
class Search:
    """What a search came upon."""

    found: list[FoundPhoto] = field(default_factory=list)
    skipped: list[tuple[Path | str, str]] = field(default_factory=list)
    """What is no photo, by path or URL, and the reason."""
    failed: list[Unread] = field(default_factory=list)
    others: dict[str, str] = field(default_factory=dict)
    """The suffix of each picture of a kind that is not tried, by its key."""
    has_other_files: bool = False
    """Whether there are files that are not tried, by their names."""
    elsewhere: int = 0
    """Photos that are in other shards."""
    replaceable: set[str] = field(default_factory=set)
    """Keys of those among them that lie in the output folder, where a product could go."""
    beside: list[tuple[ObjectEntry, int]] = field(default_factory=list)
    """Objects in other shards, found in the output's prefix, which may be products; and how long
    the path of each is below what was searched. There may be millions."""

    @property
    def left_out(self) -> Counter[str]:
        """Pictures of kinds that are not tried: how many, by suffix."""
        return Counter(sorted(self.others.values()))


def find_photos(selection: Selection) -> Search:
    """Find every photo the user named, in order, each once.

    Folders are walked in name order, hidden files, the output folder and what systems put there
    left out, and prefixes of a store in the same way; files named by the user are always taken, and
    one that is not there fails alone. Raises NoInputError when nothing was found, and where a store
    cannot be asked.
    """
    search = search_photos(selection)
    if not search.found:
        raise NoInputError(nothing_found(selection, search))
    return search


def search_photos(selection: Selection) -> Search:
    """As :func:`find_photos`, but finding nothing is no error."""
    search = Search()
    output = output_of(selection)
    skip = output.folder_left_out(selection.inputs)
    start = output.start if selection.shard is not None else None
    # One folder is walked once; where there are several names, two may lead to one photo.
    several = len(selection.inputs) + len(selection.listed) > 1
    seen: set[str] = set()
    for photo in _named(selection, skip, search):
        key = next(iter(photo.source.keys), PIPE) if several else ""
        if key in seen:
            continue
        # What is no photo where it was found may be named itself.
        if (
            not _is_here(photo, selection, start, search) or _take(photo, selection, search)
        ) and several:
            seen.add(key)
    return search


def _named(selection: Selection, skip: Path | None, search: Search) -> Iterator[FoundPhoto]:
    """What the user named, and what may be a photo by its name in the folders among it."""
    for name in selection.inputs:
        if name == PIPE:
            yield FoundPhoto(Stdin(), Path("stdin"))
        elif is_url(name):
            yield from _stored(name, selection, search)
        elif is_folder(path := Path(name)):
            yield from _walk(path, selection, skip, search)
        else:
            # A folder that is not mounted must not be the matter of one shard alone.
            yield FoundPhoto(LocalFile(path), Path(path.name), everywhere=not exists(path))
    yield from _listed_ones(selection, skip, search)


def _listed_ones(selection: Selection, skip: Path | None, search: Search) -> Iterator[FoundPhoto]:
    """The photos of a list, in its order, and those in the folders that it may name."""
    names = selection.listed
    objects = stores.listed_photos(n for n in names if is_url(n) and split_unread(n) is None)
    for name in names:
        if (folder := split_unread(name)) is not None:
            yield from _in_listed_folder(*folder, selection, skip, search)
            continue
        if not is_url(name):
            yield _listed(name, LocalFile(Path(name)))
            continue
        found = next(objects)
        if isinstance(found, StoredPhoto):
            yield _listed(name, found)
        else:
            search.failed.append(Unread(*found, marked(name)))


def _in_listed_folder(
    root: str, below: str, selection: Selection, skip: Path | None, search: Search
) -> Iterator[FoundPhoto]:
    """What may be a photo in such a folder, with the paths that the earlier search had for them.

    Raises NoInputError where a store cannot be asked.
    """
    if is_url(root):
        yield from _stored(root, selection, search, below)
    else:
        yield from _walk(Path(root), selection, skip, search, below)


def _stored(
    name: str, selection: Selection, search: Search, below: str = ""
) -> Iterator[FoundPhoto]:
    """The object that is called so, or what may be a photo by its name below the prefix.

    ``below``: the part of the prefix that is searched. Raises NoInputError where the store cannot
    be asked.
    """
    try:
        url = parse_url(name + below)
    except ValueError as error:
        listed = unread_line(name, below) if below else marked(name)
        search.failed.append(Unread(name + below, str(error), listed))
        return
    try:
        photo = stores.find_photo(url)
        if photo is not None:
            yield FoundPhoto(photo, Path(url.name))
        else:
            yield from _below(parse_url(name).as_prefix, selection, search, below)
    except OSError as error:
        raise NoInputError(f"{error.filename}: {error.strerror}") from error


def _below(
    prefix: ObjectUrl, selection: Selection, search: Search, below: str
) -> Iterator[FoundPhoto]:
    """Objects below a prefix that may be photos by their names. Raises OSError."""
    for relative, photo in photos_below(prefix, selection, search, below):
        yield FoundPhoto(photo, relative, searched=True)


def photos_below(
    prefix: ObjectUrl, selection: Selection, search: Search, below: str = ""
) -> Iterator[tuple[Path, StoredPhoto]]:
    """What may be a photo by its name below a prefix, and its path there; nothing is read.

    ``below``: the part of the prefix that is searched. ``search`` learns what is left out. Raises
    OSError.
    """
    out = output_of(selection).prefix_left_out(prefix, selection.inputs)
    found = stores.photos_below(prefix.below(below), partial(_note_unreadable, search, prefix))
    paths = ((Path(below) / relative, photo) for relative, photo in found)
    return _fitting(paths, selection, search, out)


def _fitting(
    found: Iterator[tuple[Path, StoredPhoto]],
    selection: Selection,
    search: Search,
    out: ObjectUrl | None,
) -> Iterator[tuple[Path, StoredPhoto]]:
    """Those that a walk over folders of the same names would come to."""
    for relative, photo in found:
        url = photo.url
        if out is not None and url.is_within(out):
            continue
        if len(relative.parts) > 1 and not selection.recursive:
            continue
        if is_reached(relative.parent, selection.exclude) and _may_be_photo(
            relative, str(url), selection, search
        ):
            yield relative, photo


def _is_here(photo: FoundPhoto, selection: Selection, out: str | None, search: Search) -> bool:
    """Whether a photo is in the shard that is taken; what must be known of another is noted.

    ``out``: what the keys begin with of all that lies in the output.
    """
    if photo.everywhere or holds(selection, photo.relative):
        return True
    source = photo.source
    inside = [key for key in source.keys if out is not None and key.startswith(out)]
    if inside and isinstance(source, LocalFile) and is_product(source.path):
        return False
    search.elsewhere += 1
    if inside and photo.searched and isinstance(source, StoredPhoto):
        assert source.entry is not None, "it was listed"
        search.beside.append((source.entry, len(photo.relative.as_posix())))
    else:
        search.replaceable.update(inside)
    return False


def _take(photo: FoundPhoto, selection: Selection, search: Search) -> bool:
    """Note a photo; or why it is none, if it lies in a folder and was not named itself."""
    if photo.searched and isinstance(photo.source, LocalFile):
        path = photo.source.path
        try:
            reason = _unfit(path)
        except OSError as error:
            listed = photo.source.listed_as(photo.relative) or str(path)
            search.failed.append(Unread(path, error.strerror or str(error), listed))
            return False
        if reason is None and not selection.products and is_product(path):
            reason = MADE_BY_US
        if reason is not None:
            search.skipped.append((path, reason))
            return False
    search.found.append(photo)
    return True


def _note_unreadable(search: Search, root: Path | ObjectUrl, error: OSError) -> None:
    """Note a folder, or a prefix, below ``root`` or that itself, and how lists name it."""
    name, reason = str(error.filename), error.strerror or str(error)
    if isinstance(root, ObjectUrl):
        listed = unread_line(str(root), name.removeprefix(str(root)))
        search.failed.append(Unread(name, reason, listed))
        return
    below = Path(name).relative_to(root).as_posix()
    listed = unread_line(str(root), "" if below == "." else below)
    search.failed.append(Unread(Path(name), reason, listed))


def _listed(name: str, source: Source) -> FoundPhoto:
    """A photo of a list, under its own path below the output folder, without leaving it."""
    _, mark, below = name.partition(INSIDE)
    return FoundPhoto(source, _inside(Path(below)) if mark else whole_path(source))


def whole_path(source: Source) -> Path:
    """The path that a photo has below the output folder where it is listed, or named by its own."""
    return _inside(Path(source.url.key if isinstance(source, StoredPhoto) else str(source)))


def _inside(path: Path) -> Path:
    parts = [part for part in path.parts if part not in (path.anchor, os.pardir, os.curdir)]
    return Path(*parts)


def nothing_found(selection: Selection, search: Search) -> Message:
    """Why a search found nothing, and the next step."""
    what = "cutout or mask" if selection.products else "photo"
    where = ", ".join(selection.inputs) or "the list"
    unfit = [*((each.place, each.reason) for each in search.failed), *search.skipped]
    others = f"; {left_out_text(search.left_out)}" if search.left_out else ""
    if unfit:
        more = f", and {len(unfit) - 1} more" if len(unfit) > 1 else ""
        skipped = f"skipped {unfit[0][0]}: {unfit[0][1]}{more}"
        return Message(f"no {what} found in {where}; {skipped}{others}")
    filters = {"include": selection.include, "exclude": selection.exclude}
    given = [Option(name) for name, patterns in filters.items() if patterns]
    if given and not selection.products:
        both = [given[0], *(part for option in given[1:] for part in (" and ", option))]
        advice = "a pattern matches a name or a path in the folder; repeat the option for several"
        return Message(f"no {what} found in {where} that fits ", *both, others, f"; {advice}")
    if search.has_other_files and not others:
        others = "; a file that is named itself is tried whatever its name"
    return Message(f"no {what} found in {where}{others}")


def _walk(
    root: Path, selection: Selection, skip: Path | None, search: Search, below: str = ""
) -> Iterator[FoundPhoto]:
    """Files below a folder that may be photos by their names; what else there is is noted.

    ``below``: the part of the folder that is searched.
    """
    for path in walk_folder(
        root / below,
        recursive=selection.recursive,
        skip=skip,
        exclude=selection.exclude,
        on_error=partial(_note_unreadable, search, root),
    ):
        relative = _inside(path.relative_to(root))
        if below and not is_reached(relative.parent, selection.exclude):
            continue
        if _may_be_photo(relative, path, selection, search):
            yield FoundPhoto(LocalFile(path), relative, searched=True)


def _may_be_photo(relative: Path, place: Path | str, selection: Selection, search: Search) -> bool:
    """Whether to try a file by its path below what is searched; one of another kind is noted."""
    if _is_hidden(relative, selection):
        return False
    if _included(relative, selection):
        return True
    search.has_other_files = True
    if (kind := _left_out(relative, selection)) is not None:
        search.others[place if isinstance(place, str) else entry_key(place)] = kind
    return False


def is_wanted(relative: Path, selection: Selection) -> bool:
    """Whether a file of a folder is to be looked at, by its path below that folder."""
    return not _is_hidden(relative, selection) and _included(relative, selection)


def _is_hidden(relative: Path, selection: Selection) -> bool:
    return relative.name.startswith(".") or matches(relative, selection.exclude)


def _included(relative: Path, selection: Selection) -> bool:
    """Whether a file of a folder is to be tried, by its name."""
    if selection.include:
        return matches(relative, selection.include)
    return has_photo_name(relative.name)


def _left_out(relative: Path, selection: Selection) -> str | None:
    """The suffix of a picture of a kind that is not tried; who asks for some knows of the others.

    None for all else, and for what is in another shard.
    """
    kind = other_kind(relative.name) if selection.products or not selection.include else None
    return kind if kind is not None and holds(selection, relative) else None


def _unfit(path: Path) -> str | None:
    """Why a file of a folder is no photo, before anything opens it (opening a pipe would wait).

    Raises OSError where that cannot be said.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if is_link(path) and error.errno in (errno.ENOENT, errno.ELOOP):
            return "a symbolic link to nothing"
        raise
    return None if stat.S_ISREG(mode) else "not a regular file"


def is_product(path: Path) -> bool:
    """Whether a file was written by an earlier run, and is no photo of the next one.

    Wherever this run writes: folders of cutouts and composites may lie among the photos.
    """
    try:
        return stamp.read(path).stamp is not None
    except OSError:
        return False
