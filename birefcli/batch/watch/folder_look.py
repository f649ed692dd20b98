"""What photos there are just now: the same that a search finds, by their names and times alone."""

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol, TypeAlias

from birefcli.batch.inputs import FoundPhoto, folder_left_out, is_product, is_wanted
from birefcli.batch.places import LocalFile
from birefcli.batch.shard import holds
from birefcli.images.files import other_kind, walk_entries
from birefcli.options import Selection
from birefcli.system.mounts import MountedFolder, network_type

Version: TypeAlias = tuple[int, ...]
"""Numbers that differ when a photo does: of a file its size, and both of its times in ns."""


class Look(Protocol):
    """An input that can be looked at again and again: a folder, or what else can be listed."""

    @property
    def name(self) -> str:
        """What the user calls it."""

    @property
    def others(self) -> Mapping[str, int]:
        """Pictures of kinds that are not tried, of all looks: how many, by suffix."""

    @property
    def unreadable(self) -> Mapping[str, str]:
        """What could not be looked into at the last look, and why."""

    def __call__(self) -> Iterator[tuple[str, Version]]:
        """Every photo by its label, and its version. Raises OSError where the input is not there.

        Nothing is opened: it may be called every few seconds.
        """

    def photo(self, label: str) -> FoundPhoto:
        """The photo of that label."""

    def products(self, labels: Iterable[str]) -> set[str]:
        """Those that an earlier run made: they are no photos."""

    def why_no_events(self) -> str | None:
        """Why nothing is told of changes there, and it has to be looked at; None where it is."""


class FolderLook:
    """A folder of photos."""

    def __init__(self, root: Path, selection: Selection) -> None:
        """Of a folder that is there. Raises OSError."""
        self.root, self.name = root, str(root)
        self.others: Counter[str] = Counter()
        self.unreadable: dict[str, str] = {}
        self._selection = selection
        self._skip = folder_left_out(selection)
        self._folder = MountedFolder(root)
        self._wanted: dict[str, str | bool] = {}
        """Of every file that was there: whether it is looked at, or its suffix."""

    def __call__(self) -> Iterator[tuple[str, Version]]:
        """Photos in name order."""
        if (trouble := self._folder.trouble()) is not None:
            raise OSError(errno.ENOENT, trouble, self.name)
        self._folder.is_another()  # and may be
        self.unreadable, known = {}, self._wanted
        wanted: dict[str, str | bool] = {}
        walked = walk_entries(
            self.root,
            recursive=self._selection.recursive,
            skip=self._skip,
            exclude=self._selection.exclude,
            on_error=self._note,
        )
        for here, entries in walked:
            below = _prefix(here)
            for entry in entries:
                label = below + entry.name
                taken = known.get(label)
                if taken is None:
                    taken = self._judge(Path(label).relative_to(self.root))
                wanted[label] = taken
                if taken is not True:
                    continue
                try:
                    status = entry.stat()
                except OSError:  # gone meanwhile, or a link to nothing
                    continue
                if stat.S_ISREG(status.st_mode):
                    yield label, (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        self._wanted = wanted
        if self.name in self.unreadable:
            raise OSError(errno.EIO, self.unreadable[self.name], self.name)

    def _judge(self, relative: Path) -> str | bool:
        """Whether a file is looked at; the suffix of a picture of a kind that is not tried."""
        if not holds(self._selection, relative):
            return False
        if is_wanted(relative, self._selection):
            return True
        kind = None if self._selection.include else other_kind(relative.name)
        if kind is None:
            return False
        self.others[kind] += 1
        return kind

    def _note(self, error: OSError) -> None:
        self.unreadable[str(error.filename)] = error.strerror or str(error)

    def photo(self, label: str) -> FoundPhoto:
        """The file, under its path below the folder."""
        return FoundPhoto(LocalFile(Path(label)), Path(label).relative_to(self.root))

    def products(self, labels: Iterable[str]) -> set[str]:
        """Those that are stamped."""
        return {label for label in labels if is_product(Path(label))}

    def why_no_events(self) -> str | None:
        """The type of its file system, where that is a network's."""
        kind = network_type(self.root)
        return None if kind is None else f"{self.name} is on a network ({kind})"


def _prefix(folder: Path) -> str:
    """What stands before the names of a folder's files, as ``Path`` writes it."""
    text = str(folder)
    return "" if text == os.curdir else text if text.endswith(os.sep) else text + os.sep
