"""How data sets lie in folders: where photos, truths and trimaps are, and what is held out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from birefcli.images.files import has_photo_name

Item = TypeVar("Item")


@dataclass(frozen=True)
class Layout:
    """Names of the folders of one kind of data set."""

    photos: str
    truths: str
    trimaps: str | None = None


LAYOUTS = (
    Layout("im", "gt"),
    Layout("blurred_image", "mask", "trimap"),
    Layout("original_image", "mask", "trimap"),
)
"""That of BiRefNet's and many other sets, and P3M-10k's (Li et al., ACM MM 2021), with faces
blurred and not."""
TRAINING_PART = "train"
"""Folder of a data set that holds its training part, where it has such."""

_RICHEST_FIRST = sorted(LAYOUTS, key=lambda layout: layout.trimaps is None)
# Some sets have truths alone, in a folder called alpha.
TRUTH_FOLDERS = (*dict.fromkeys(layout.truths for layout in _RICHEST_FIRST), "alpha")
PHOTO_FOLDERS = tuple(layout.photos for layout in _RICHEST_FIRST)
TRIMAP_FOLDERS = tuple(dict.fromkeys(each.trimaps for each in LAYOUTS if each.trimaps))


def find_layout(folder: Path) -> tuple[Path, Layout] | None:
    """The folder that holds photos and truths, and how: this one, or its training part."""
    for root in (folder, folder / TRAINING_PART):
        for layout in LAYOUTS:
            if (root / layout.photos).is_dir() and (root / layout.truths).is_dir():
                return root, layout
    return None


def split_held_out(items: Sequence[Item], every: int) -> tuple[list[Item], list[Item]]:
    """Training part, and each ``every``-th item (from the first) held out; 0 holds out none."""
    if every == 0:
        return list(items), []
    train = [item for i, item in enumerate(items) if i % every]
    return train, list(items[::every])


def has_photos(folder: Path) -> bool:
    """Whether files with a photo's name lie in a folder; one that is not there has none."""
    return folder.is_dir() and any(has_photo_name(path.name) for path in folder.iterdir())


def folders_with_photos(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Those of a folder's folders that hold photos, in the order of ``names``."""
    return (folder / name for name in names if has_photos(folder / name))
