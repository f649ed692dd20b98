"""How data sets lie in folders: where photos, truths and trimaps are, and what is held out."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from birefcli.images.files import has_photo_name
from birefcli.system.paths import is_folder, names_in

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


_MASK_NAME = re.compile(r"(.*[^/])[_.\- ](?:mask|matte|alpha|gt)", re.IGNORECASE | re.DOTALL)


def photo_of(key: str) -> str | None:
    """Name of the photo whose mask a file is by its own name: ``a`` of ``a_mask``; None for none.

    Both are without suffix.
    """
    found = _MASK_NAME.fullmatch(key)
    return None if found is None else found[1]


def masks_lie_beside(keys: Collection[str]) -> bool:
    """Whether most photos of a folder have their mask beside them; ``keys``: as of photo_of.

    One photo called ``gas_mask`` among a hundred, with another called ``gas``, is no such folder.
    """
    found = [photo for photo in map(photo_of, keys) if photo is not None]
    photos = len(keys) - len(found)
    return bool(found) and 2 * sum(photo in keys for photo in found) > max(photos, len(found))


def find_masks_beside(folder: Path) -> Path | None:
    """The folder that holds photos with masks beside them: this one, or its training part."""
    for root in (folder, folder / TRAINING_PART):
        if masks_lie_beside({Path(name).stem for name in names_in(root) if has_photo_name(name)}):
            return root
    return None


def split_masks(files: Mapping[str, Item]) -> tuple[dict[str, Item], dict[str, Item]]:
    """The photos and the masks of a folder that holds both, each by the photo's name."""
    photos = {key: item for key, item in files.items() if photo_of(key) is None}
    masks = {photo: item for key, item in files.items() if (photo := photo_of(key)) is not None}
    return photos, masks


def aligned(files: Mapping[str, Item], names: Collection[str]) -> dict[str, Item]:
    """Files by the names of others that they belong to; what belongs to none keeps its own.

    ``a_mask`` belongs to ``a``, and the other way round, where that matches more files than equal
    names do.
    """
    plain = {photo_of(name) or name: name for name in names}
    found = {photo_of(key) or key: item for key, item in files.items()}
    more = len(found.keys() & plain.keys()) > len(files.keys() & set(names))
    unique = len(found) == len(files) and len(plain) == len(names)
    if not (more and unique):
        return dict(files)
    return {plain.get(key, key): item for key, item in found.items()}


def find_layout(folder: Path) -> tuple[Path, Layout] | None:
    """The folder that holds photos and truths, and how: this one, or its training part."""
    for root in (folder, folder / TRAINING_PART):
        for layout in LAYOUTS:
            if is_folder(root / layout.photos) and is_folder(root / layout.truths):
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
    return any(map(has_photo_name, names_in(folder)))


def folders_with_photos(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Those of a folder's folders that hold photos, in the order of ``names``."""
    return (folder / name for name in names if has_photos(folder / name))
