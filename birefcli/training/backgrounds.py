"""Pictures without people, to put subjects before while a network is trained."""

from collections.abc import Sequence
from pathlib import Path

from birefcli.images.files import has_photo_name, left_out_below, walk_folder
from birefcli.system.paths import absence, is_folder
from birefcli.training.dataset import (
    Bytes,
    CachedFiles,
    DataError,
    read_image,
    reduced,
    refuse_unreadable,
)


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


class Backgrounds(CachedFiles[Bytes]):
    """Pictures H×W×3, RGB."""

    def __init__(self, paths: Sequence[Path], *, longest: int, budget: int) -> None:
        """``longest``: side in pixels to which larger pictures are reduced; ``budget``: bytes."""
        super().__init__(budget)
        self.paths, self.longest = list(paths), longest

    def __len__(self) -> int:
        return len(self.paths)

    def _read(self, index: int) -> tuple[Bytes, int]:
        picture = reduced(read_image(self.paths[index]), self.longest)
        return picture, picture.nbytes
