"""Disks on which two names are one file: those that do not tell ``A`` from ``a``, or é from e´.

exFAT, FAT, NTFS and most network disks fold case, macOS also the two ways to write é in Unicode,
FAT also the dots and spaces that end a name. What a disk does is not known before it is tried; and
only where two names differ in nothing else does it have to be.
"""

import contextlib
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Generic, TypeVar

from birefcli.system import atomic
from birefcli.system.object_url import is_url
from birefcli.system.paths import is_folder

Owner = TypeVar("Owner")


@dataclass(frozen=True)
class Folding:
    """What of names a disk does not tell apart."""

    case: bool = False
    composition: bool = False
    """Whether é is one name as one character and as two."""
    ending: bool = False
    """Whether dots and spaces that end a name do not count."""

    def __call__(self, path: str) -> str:
        """The path as all have it that are one file: to be compared, not to be opened."""
        if self.ending:
            path = re.sub(r"[. ]+(?=[/\\]|$)", "", path)
        if self.composition:
            path = unicodedata.normalize("NFD", path)
        if self.case:
            path = path.casefold()
        return unicodedata.normalize("NFD", path) if self.composition else path


LOOSE = Folding(case=True, composition=True, ending=True)


def probe(folder: Path) -> Folding:
    """What the disk of a folder folds; nothing where files cannot be made there."""
    return Folding(
        case=_is_one_file(folder, "x", lambda name: name.replace("x.", "X.")),
        composition=_is_one_file(folder, "é", partial(unicodedata.normalize, "NFD")),
        ending=_is_one_file(folder, "x", lambda name: f"{name}."),
    )


def _is_one_file(folder: Path, mark: str, change: Callable[[str], str]) -> bool:
    """Whether a file that is made for it, and is gone afterwards, has another name as well."""
    made = folder / atomic.part_name(mark)
    other = made.with_name(change(made.name))
    try:
        made.touch(exist_ok=False)
    except (OSError, ValueError):  # ValueError: é is no character of this system's
        return False
    try:
        other.lstat()  # nobody else's has this name; some disks give one file two numbers
    except OSError:
        return False
    else:
        return True
    finally:
        with contextlib.suppress(OSError):
            made.unlink()


class NameIndex(Generic[Owner]):
    """Paths and whom each belongs to, found as the disk finds files."""

    def __init__(self) -> None:
        self._known: dict[str, list[tuple[str, Owner]]] = {}
        self._folding = lru_cache(maxsize=None)(probe)

    def add(self, path: str, owner: Owner) -> None:
        """Note a path, which is absolute and without links but for its last part."""
        self._known.setdefault(LOOSE(path), []).append((path, owner))

    def remove(self, path: str, owner: Owner) -> None:
        """Forget a path that was noted for this owner."""
        near = self._known.get(LOOSE(path), [])
        with contextlib.suppress(ValueError):
            near.remove((path, owner))
        if not near:
            self._known.pop(LOOSE(path), None)

    def find(self, path: str) -> tuple[str, Owner] | None:
        """The path that was noted first among those that are one file with this, and its owner."""
        near = self._known.get(LOOSE(path), [])
        for other, owner in near:
            if other == path:
                return other, owner
            if is_url(other) or is_url(path):
                continue  # in a store no two names are one object
            fold = self._folding(_nearest_folder(Path(other)))
            if fold(other) == fold(path):
                return other, owner
        return None


def _nearest_folder(path: Path) -> Path:
    """The folder that a path is, or will be, made in: the first of its parents that is there."""
    return next((folder for folder in path.parents if is_folder(folder)), path.parent)
