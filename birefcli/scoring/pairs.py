"""Which files belong together: predictions, truths, and what else is known of a photo."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from birefcli.errors import NoInputError, UsageError
from birefcli.images import stamp
from birefcli.images.files import PHOTO_SUFFIXES

TRUTH_FOLDERS = ("mask", "gt", "alpha")
PHOTO_FOLDERS = ("blurred_image", "original_image", "im")
"""Folders of the data sets P3M-10k (mask, trimap, blurred_image or original_image) and of those
laid out as BiRefNet's (gt, im)."""
TRIMAP_FOLDER = "trimap"
PREDICTION_FOLDERS = ("mask", "cutout")
"""What ``birefcli matte --write mask,cutout`` writes; mask, unless colours are compared."""


@dataclass(frozen=True)
class Sources:
    """Where to look: files or folders, None for what there is not."""

    predictions: Path | None
    """None where a model makes them, of ``photos``."""
    truths: Path
    photos: Path | None = None
    trimaps: Path | None = None
    foregrounds: Path | None = None


@dataclass(frozen=True)
class Pair:
    """One photo's files. ``name`` is the truth's path below its folder."""

    name: str
    truth: Path
    prediction: Path | None
    """None where a model makes it, of ``photo``."""
    photo: Path | None = None
    trimap: Path | None = None
    foreground: Path | None = None


@dataclass(frozen=True)
class Matched:
    """Pairs in the truths' order, and what has no partner."""

    pairs: list[Pair]
    missing: list[str] = field(default_factory=list)
    """What a truth should have and has not, a sentence each."""
    extra: list[str] = field(default_factory=list)
    """What has no truth, a sentence each."""

    @property
    def faults(self) -> list[str]:
        """All that does not fit."""
        return self.missing + self.extra


def resolve(sources: Sources) -> Sources:
    """Enter the folders of known layouts, and take the photos and trimaps that lie in them."""
    root = sources.truths
    predictions = sources.predictions
    wanted = PREDICTION_FOLDERS[::-1] if sources.foregrounds else PREDICTION_FOLDERS
    return Sources(
        predictions=_entered(predictions, wanted) if predictions else None,
        truths=_entered(root, TRUTH_FOLDERS),
        photos=_photos(sources),
        trimaps=sources.trimaps or _inside(root, (TRIMAP_FOLDER,)),
        foregrounds=sources.foregrounds,
    )


def _photos(sources: Sources) -> Path | None:
    if sources.photos is not None:
        return _entered(sources.photos, PHOTO_FOLDERS)
    return _inside(sources.truths, PHOTO_FOLDERS)


def _entered(folder: Path, names: Iterable[str]) -> Path:
    """One of a folder's folders where it has no picture of its own."""
    inner = _inside(folder, names)
    return folder if inner is None or _has_pictures(folder) else inner


def _inside(folder: Path, names: Iterable[str]) -> Path | None:
    return next((folder / name for name in names if _has_pictures(folder / name)), None)


def _has_pictures(folder: Path) -> bool:
    return folder.is_dir() and any(_is_picture(path.name) for path in folder.iterdir())


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in PHOTO_SUFFIXES


def match(sources: Sources) -> Matched:
    """Pair by path without suffix, below each folder; two single files are a pair as they are.

    A single prediction finds its truth in a folder by its name. Raises NoInputError where a place
    is not there or holds no picture, and UsageError where one stem stands for two files, or a
    folder of predictions meets a single truth.
    """
    sources = _narrowed(sources)
    truths = _find(sources.truths)
    main = sources.predictions or sources.photos
    if main is None:
        raise UsageError("name the photos that the model is to matte")
    found = _find(main)
    _check_kinds(main, sources.truths)
    if sources.truths.is_file():
        found = _renamed(found, truths)
    photos = found if sources.predictions is None else _optional(sources.photos, truths)
    trimaps = _optional(sources.trimaps, truths)
    foregrounds = _optional(sources.foregrounds, truths)
    pairs, missing = [], []
    for key, truth in truths.items():
        lacking = [
            f"{truth}: no {kind} named {key}.* in {place}"
            for kind, place, there in (
                ("photo" if sources.predictions is None else "prediction", main, found),
                ("trimap", sources.trimaps, trimaps),
                ("foreground", sources.foregrounds, foregrounds),
            )
            if place is not None and key not in there
        ]
        missing += lacking
        if key in found:
            name = truth.name if truth == sources.truths else _below(truth, sources.truths)
            prediction = None if sources.predictions is None else found[key]
            more = (photos.get(key), trimaps.get(key), foregrounds.get(key))
            pairs.append(Pair(name, truth, prediction, *more))
    extra = [f"{path}: no truth in {sources.truths}" for key, path in found.items()
             if key not in truths]  # fmt: skip
    return Matched(pairs, missing, extra)


def _narrowed(sources: Sources) -> Sources:
    """The truth of a single file, where truths are a folder. Raises NoInputError, UsageError."""
    main = sources.predictions or sources.photos
    if main is None or not main.is_file() or not sources.truths.is_dir():
        return sources
    own = [path for path in _walk(sources.truths, main.stem) if path.is_file()]
    if not own:
        raise NoInputError(f"{main}: no truth named {main.stem}.* in {sources.truths}")
    if len(own) > 1:
        raise UsageError(f"{own[0]} and {own[1]}: two truths of one name; name one of them")
    return replace(sources, truths=own[0])


def _check_kinds(main: Path, truths: Path) -> None:
    if main.is_file() != truths.is_file():
        raise UsageError(
            f"{main} and {truths}: give two folders, two files, or a file and its truth's folder"
        )
    if main.resolve() == truths.resolve():
        raise UsageError(f"{main}: predictions and truths are the same place")


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _optional(place: Path | None, truths: dict[str, Path]) -> dict[str, Path]:
    if place is None:
        return {}
    found = _find(place)
    return _renamed(found, truths) if place.is_file() else found


def _renamed(found: dict[str, Path], truths: dict[str, Path]) -> dict[str, Path]:
    """A single file belongs to the single truth, whatever it is called."""
    return dict(zip(truths, found.values(), strict=False))


def _find(place: Path) -> dict[str, Path]:
    """Pictures by their path without suffix, in name order."""
    if place.is_file():
        return {place.stem: place}
    if not place.is_dir():
        raise NoInputError(f"{place}: no such file or folder")
    found: dict[str, Path] = {}
    for path in _walk(place):
        key = path.relative_to(place).with_suffix("").as_posix()
        other = found.setdefault(key, path)
        if other != path:
            raise UsageError(f"{other} and {path}: two files of one name; keep one of them")
    if not found:
        raise NoInputError(f"no picture found in {place}")
    return found


def _walk(place: Path, stem: str | None = None) -> list[Path]:
    """Pictures below a folder, in name order; those of one ``stem`` alone, if one is given."""
    paths: list[Path] = []
    for folder, folders, names in os.walk(place, onerror=_raise, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths += [Path(folder) / name for name in sorted(names)
                  if _is_picture(name) and stem in (None, Path(name).stem)]  # fmt: skip
    # Opening a pipe would wait for ever; a link to nothing is told of when it is read.
    return [path for path in paths if (path.is_file() and not _is_sheet(path)) or not path.exists()]


def _is_sheet(path: Path) -> bool:
    try:
        return stamp.is_sheet(path)
    except OSError:  # reading it, if it comes to that, says what is wrong
        return False


def _raise(error: OSError) -> None:
    raise NoInputError(f"{error.filename}: {error.strerror}") from None
