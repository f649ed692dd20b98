"""A background that is used again and again: it is read anew only where it has changed."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from birefcli.images.files import walk_entries
from birefcli.products.background import (
    Background,
    Folder,
    Picture,
    parse_background,
    parse_colour_or_blur,
)
from birefcli.products.background_files import Pictures, StoredPicture, find_pictures
from birefcli.system.object_url import is_url
from birefcli.system.paths import is_folder

TICK = 2.0  # seconds within which a folder may change without a new time: FAT's, the coarsest

Folders: TypeAlias = dict[Path, tuple[int, ...]]
"""A folder and all below it, each with what changes when files come to it, or go."""
State: TypeAlias = Pictures | Folders | str
"""Equal where a background is the same: what a store lists, folders, or what tells a picture."""


class KeptBackground:
    """What the text of a background means, as it is now."""

    def __init__(self, text: str, max_pixels: int) -> None:
        self._text, self._max_pixels = text, max_pixels
        self._loaded: Background | None = None
        self._state: State | None = None
        """Of what is loaded; None where that cannot be told."""
        self._folders: Folders | None = None
        """Those that were walked, of a folder of this machine."""

    def load(self) -> Background:
        """The background; the same object as before where it has not changed. Raises UsageError."""
        stored = is_url(self._text)
        # A store is asked once for what was never loaded; a folder before it is walked.
        state = None if stored and self._loaded is None else self._state_now()
        if self._loaded is None or state is None or state != self._state:
            self._loaded = None
            self._loaded = parse_background(self._text, self._max_pixels)
            self._state = _state_of(self._loaded) if stored else state
        return self._loaded

    def _state_now(self) -> State | None:
        """Raises UsageError where there is no background."""
        if parse_colour_or_blur(self._text) is not None:
            return ""
        if is_url(self._text) or not is_folder(Path(self._text)):
            return _state(find_pictures(self._text)[1])
        if self._folders is None or _times(self._folders) != self._folders:
            self._folders = _times(_walked(Path(self._text)))
        return self._folders


def _state_of(loaded: Background) -> State | None:
    match loaded:
        case Folder(pictures=pictures):
            return pictures
        case Picture(file=file) if file is not None:
            return _state(file)
        case _:
            return None


def _state(found: StoredPicture | Pictures) -> State:
    return found if isinstance(found, dict) else found.identity("")


def _walked(root: Path) -> list[Path]:
    """A folder and all below it, also those that cannot be read."""
    unread: list[Path] = []
    walked = walk_entries(root, on_error=lambda error: unread.append(Path(error.filename)))
    return [here for here, _ in walked] + unread


def _times(folders: Iterable[Path]) -> Folders | None:
    """None where a change may not be seen: it may come within one tick of their clock.

    What has become of a picture's file is asked when it is used.
    """
    found: Folders = {}
    now = time.time()
    for folder in folders:
        try:
            status = folder.stat()
        except OSError:
            return None
        if status.st_mtime > now - TICK:
            return None
        found[folder] = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
    return found
