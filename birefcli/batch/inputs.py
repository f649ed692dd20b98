"""Which photos: named, listed, and found in folders."""

import errno
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from birefcli.batch.places import PIPE, LocalFile, Source, Stdin
from birefcli.errors import Message, NoInputError, Option
from birefcli.images import stamp
from birefcli.images.files import (
    entry_key,
    has_photo_name,
    left_out_text,
    matches,
    other_kind,
    walk_folder,
)
from birefcli.options import Selection
from birefcli.system.paths import is_folder, is_link, real_path

MADE_BY_US = "made by birefcli"  # why a product of an earlier run is no photo of this one


@dataclass(frozen=True)
class FoundPhoto:
    """A photo, and the path it keeps below the output folder."""

    source: Source
    relative: Path


@dataclass
class Search:
    """What a search came upon; ``skipped`` and ``failed`` are (path, reason)."""

    found: list[FoundPhoto] = field(default_factory=list)
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    """What is no photo."""
    failed: list[tuple[Path, str]] = field(default_factory=list)
    """What may be photos and could not be looked at."""
    others: dict[str, str] = field(default_factory=dict)
    """The suffix of each picture of a kind that is not tried, by its key."""

    @property
    def left_out(self) -> Counter[str]:
        """Pictures of kinds that are not tried: how many, by suffix."""
        return Counter(sorted(self.others.values()))


def find_photos(selection: Selection) -> Search:
    """Find every photo the user named, in order, each once.

    Folders are walked in name order, hidden files, the output folder and what systems put there
    left out; files named by the user are always taken, and one that is not there fails alone.
    Raises NoInputError when nothing was found.
    """
    search = search_photos(selection)
    if not search.found:
        raise NoInputError(nothing_found(selection, search))
    return search


def search_photos(selection: Selection) -> Search:
    """As :func:`find_photos`, but finding nothing is no error."""
    search = Search()
    skip = _output_folder(selection)
    for name in selection.inputs:
        if name == PIPE:
            search.found.append(FoundPhoto(Stdin(), Path("stdin")))
            continue
        path = Path(name)
        if is_folder(path):
            _walk(path, selection, skip, search)
        else:
            search.found.append(FoundPhoto(LocalFile(path), Path(path.name)))
    search.found.extend(_listed(name) for name in selection.listed)
    search.found = list(_once(search.found))
    return search


def _output_folder(selection: Selection) -> Path | None:
    """The output folder where it is another than every input folder, to be left out of a walk."""
    if selection.output == PIPE:
        return None
    out = real_path(Path(selection.output))
    return None if any(real_path(Path(i)) == out for i in selection.inputs if i != PIPE) else out


def _listed(name: str) -> FoundPhoto:
    """A photo of a list, under its own path below the output folder, without leaving it.

    Like rsync, what stands before ``/./`` is not part of that path.
    """
    root, mark, below = name.partition("/./")
    path = Path(name)
    parts = Path(below if mark else root).parts
    kept = [part for part in parts if part not in (path.anchor, os.pardir, os.curdir)]
    return FoundPhoto(LocalFile(path), Path(*kept))


def nothing_found(selection: Selection, search: Search) -> Message:
    """Why a search found nothing, and the next step."""
    what = "cutout or mask" if selection.products else "photo"
    where = ", ".join(selection.inputs) or "the list"
    unfit = search.failed + search.skipped
    others = f"; {left_out_text(search.left_out)}" if search.left_out else ""
    if unfit:
        more = f", and {len(unfit) - 1} more" if len(unfit) > 1 else ""
        skipped = f"skipped {unfit[0][0]}: {unfit[0][1]}{more}"
        return Message(f"no {what} found in {where}; {skipped}{others}")
    filters = {"include": selection.include, "exclude": selection.exclude}
    given = [Option(name) for name, patterns in filters.items() if patterns]
    if given and not selection.products:
        both = [given[0], *(part for option in given[1:] for part in (" and ", option))]
        return Message(f"no {what} found in {where} that fits ", *both, others)
    advice = others or "; a file that is named itself is tried whatever its name"
    return Message(f"no {what} found in {where}{advice}")


def _once(found: Iterable[FoundPhoto]) -> Iterator[FoundPhoto]:
    seen: set[str] = set()
    for photo in found:
        key = next(iter(photo.source.keys), PIPE)
        if key not in seen:
            seen.add(key)
            yield photo


def _walk(root: Path, selection: Selection, skip: Path | None, search: Search) -> None:
    def unreadable(error: OSError) -> None:
        search.failed.append((Path(error.filename), error.strerror or str(error)))

    for path in walk_folder(
        root,
        recursive=selection.recursive,
        skip=skip,
        exclude=selection.exclude,
        on_error=unreadable,
    ):
        relative = path.relative_to(root)
        if path.name.startswith(".") or matches(relative, selection.exclude):
            continue
        if not _included(relative, selection):
            if (kind := other_kind(path.name)) and _takes_all_kinds(selection):
                search.others[entry_key(path)] = kind
            continue
        try:
            reason = _unfit(path)
        except OSError as error:
            unreadable(error)
            continue
        if reason is None and not selection.products and _is_product(path):
            reason = MADE_BY_US
        if reason is None:
            search.found.append(FoundPhoto(LocalFile(path), relative))
        else:
            search.skipped.append((path, reason))


def _included(relative: Path, selection: Selection) -> bool:
    """Whether a file of a folder is to be tried, by its name."""
    if selection.include:
        return matches(relative, selection.include)
    return has_photo_name(relative.name)


def _takes_all_kinds(selection: Selection) -> bool:
    """Whether photos of every kind are looked for: who asks for some knows of the others."""
    return selection.products or not selection.include


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


def _is_product(path: Path) -> bool:
    """Whether a file was written by an earlier run, and is no photo of the next one.

    Wherever this run writes: folders of cutouts and composites may lie among the photos.
    """
    try:
        return stamp.read(path).stamp is not None
    except OSError:
        return False


Missing: TypeAlias = tuple[FoundPhoto, str]
"""A photo that is not there, and the reason."""


def split_missing(found: list[FoundPhoto]) -> tuple[list[FoundPhoto], list[Missing]]:
    """Part the photos that are there from those that are not.

    Raises NoInputError when none is there.
    """
    there, missing = partition_missing(found)
    if missing and not there:
        raise NoInputError(all_missing(missing))
    return there, missing


def partition_missing(found: list[FoundPhoto]) -> tuple[list[FoundPhoto], list[Missing]]:
    """As :func:`split_missing`, but that none is there is no error."""
    there: list[FoundPhoto] = []
    missing: list[Missing] = []
    for photo in found:
        reason = photo.source.absence()
        if reason is None:
            there.append(photo)
        else:
            missing.append((photo, f"{reason}{_hint(str(photo.source))}"))
    return there, missing


def all_missing(missing: list[Missing]) -> Message:
    """The first of photos none of which is there, with the reason."""
    more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
    return Message(f"{missing[0][0].source}: {missing[0][1]}{more}")


def _hint(path: str) -> str:
    """What may have been meant by a name under which no file is."""
    if re.match(r"(?!file:)[a-z][a-z0-9]+:/", path, re.IGNORECASE):
        return "; photos are read from files, not from addresses: download it first"
    if re.match(r"#\s", path):
        return "; every line of a list is a name, there are no comments"
    return ""
