"""Pictures without people, to put subjects before while a network is trained."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from birefcli.errors import Message
from birefcli.images.files import has_photo_name, left_out_below, walk_folder
from birefcli.system.paths import absence, is_folder
from birefcli.training.dataset import Bytes, Cache, DataError, read_image, refuse_unreadable


def find_backgrounds(folders: Sequence[Path]) -> list[Path]:
    """Every picture in and below the folders. Raises DataError for a folder without any."""
    found: list[Path] = []
    for folder in dict.fromkeys(folders):
        if not is_folder(folder):
            raise DataError(f"{folder}: {absence(folder, 'folder')}")
        paths = walk_folder(folder, on_error=refuse_unreadable)
        names = [path for path in paths if has_photo_name(path.name)]
        if not names:
            raise DataError(f"{folder}: no picture in it{left_out_below(folder, recursive=True)}")
        found += names
    return found


class Backgrounds(Sequence[Bytes]):
    """Pictures H×W×3, RGB, read when they are indexed; the first to fit in ``budget`` are cached.

    Threads may share it.
    """

    def __init__(self, paths: Sequence[Path], *, longest: int, budget: int) -> None:
        """``longest``: side in pixels to which larger pictures are reduced; ``budget``: bytes."""
        self.paths, self.longest = list(paths), longest
        self._cache: Cache[Bytes] = Cache(budget)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Bytes:  # type: ignore[override]
        """The ``index``-th picture. Raises DataError when its file is gone or damaged."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        cached = self._cache.get(index)
        if cached is None:
            cached = _reduced(read_image(self.paths[index]), self.longest)
            self._cache.add(index, cached, cached.nbytes)
        return cached

    def faults(self) -> list[Message]:
        """Read all of them once; what is wrong with which."""
        found = (self._fault(index) for index in range(len(self)))
        return [fault for fault in found if fault is not None]

    def _fault(self, index: int) -> Message | None:
        try:
            self[index]
        except DataError as error:
            return error.message
        return None


def _reduced(picture: Bytes, longest: int) -> Bytes:
    height, width = picture.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
