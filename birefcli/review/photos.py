"""The photo of each cutout: by path without suffix below the folders, as matte names products."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from birefcli.batch.inputs import Unread, find_photos
from birefcli.batch.missing import split_missing
from birefcli.batch.places import PIPE, LocalFile
from birefcli.errors import NoInputError
from birefcli.options import Selection
from birefcli.scoring.layouts import photo_of
from birefcli.system.paths import absence, exists, is_folder


@dataclass(frozen=True)
class PairedPhoto:
    """A photo below a folder."""

    path: Path
    listed: str
    """As a list of photos names it: its products then lie where they lay."""


class PhotoIndex:
    """Photos of a folder, by all names that their cutouts may have."""

    def __init__(self, root: Path) -> None:
        """Find them. Raises NoInputError where there is none."""
        if not exists(root):
            raise NoInputError(f"{root}: {absence(root)}", option="pairs")
        self._by_name: dict[str, list[PairedPhoto]] = defaultdict(list)
        """By path below the folder, with suffix and without."""
        self._by_last: dict[str, list[PairedPhoto]] = defaultdict(list)
        """The same, by name alone."""
        try:
            search = find_photos(Selection((str(root),), PIPE))
        except NoInputError as error:
            raise NoInputError(error.message, option="pairs") from None
        self.unread: list[Unread] = search.failed
        """Folders whose photos are not known."""
        there, _ = split_missing(search.found)
        for found in there:
            if isinstance(found.source, LocalFile):
                self._add(root, found.source.path, PurePosixPath(found.relative.as_posix()))

    def _add(self, root: Path, path: Path, relative: PurePosixPath) -> None:
        listed = f"{root.as_posix()}/./{relative}" if is_folder(root) else str(path)
        photo = PairedPhoto(path, listed)
        for named in (relative, relative.with_suffix("")):
            self._by_name[str(named)].append(photo)
            self._by_last[named.name].append(photo)

    def of(self, *names: str) -> list[PairedPhoto]:
        """Photos that a cutout may be of: one, none, or several where its name does not tell.

        ``names``: of the cutout, below its folder, the likeliest first. ``x/a.png`` is of
        ``x/a.jpg``, ``x/a.jpg.png`` too, and ``x/a_mask.png``; where there is none, of the only
        ``a.jpg`` of any folder.
        """
        stems = [key for name in names for key in _stems(name)]
        for key in stems:
            if found := self._by_name.get(key):
                return found
        for key in stems:
            if found := self._by_last.get(PurePosixPath(key).name):
                return found
        return []


def _stems(name: str) -> list[str]:
    """Names that the photo of a cutout may have, with suffix or without."""
    stem = str(PurePosixPath(Path(name).as_posix()).with_suffix(""))
    return [stem, *([own] if (own := photo_of(stem)) else [])]


def lonely(names: Iterable[str], several: bool) -> str:
    """Which cutouts are shown alone, and why, in one sentence."""
    every = list(names)
    others = f" and {len(every) - 1} more" if len(every) > 1 else ""
    why = "several photos of this name" if several else "no photo of this name"
    return f"{every[0]}{others}: {why}, shown without one"
