"""Which files belong together: predictions, truths, and what else is known of a photo."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from birefcli.errors import NoInputError, UsageError
from birefcli.images import stamp
from birefcli.images.files import has_photo_name, left_out_below, walk_folder
from birefcli.scoring.layouts import (
    PHOTO_FOLDERS,
    TRIMAP_FOLDERS,
    TRUTH_FOLDERS,
    aligned,
    find_layout,
    find_masks_beside,
    folders_with_photos,
    has_photos,
    masks_lie_beside,
    photo_of,
    split_held_out,
    split_masks,
)
from birefcli.system.paths import absence, exists, is_file, is_folder, real_path

PREDICTION_FOLDERS = ("mask", "cutout")
"""What ``birefcli matte`` calls the folders of these products; mask, unless colours are
compared."""


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


def resolve(sources: Sources, hold_out: int = 0) -> Sources:
    """Enter the folders of known layouts, and take the photos and trimaps that lie in them.

    With ``hold_out`` that is what a training takes of a data set, its training part if it has one.
    """
    predictions = sources.predictions
    wanted = PREDICTION_FOLDERS[::-1] if sources.foregrounds else PREDICTION_FOLDERS
    root, truths, inner = _truths(sources.truths, hold_out)
    return Sources(
        predictions=_entered(predictions, wanted) if predictions else None,
        truths=truths,
        photos=inner if sources.photos is None else _photos(sources.photos, hold_out),
        trimaps=sources.trimaps or _inside(root, TRIMAP_FOLDERS),
        foregrounds=sources.foregrounds,
    )


def _truths(root: Path, hold_out: int) -> tuple[Path, Path, Path | None]:
    """The data set, its folder of truths and, if it has one, its folder of photos."""
    found = find_layout(root) if hold_out else None
    if found is None:
        root = (find_masks_beside(root) if hold_out else None) or root
        return root, _entered(root, TRUTH_FOLDERS), _inside(root, PHOTO_FOLDERS)
    part, layout = found
    return part, part / layout.truths, part / layout.photos


def _photos(root: Path, hold_out: int) -> Path:
    found = find_layout(root) if hold_out else None
    return _entered(root, PHOTO_FOLDERS) if found is None else found[0] / found[1].photos


def _entered(folder: Path, names: Sequence[str]) -> Path:
    """One of a folder's folders where it has no photo of its own."""
    inner = _inside(folder, names)
    return folder if inner is None or has_photos(folder) else inner


def _inside(folder: Path, names: Sequence[str]) -> Path | None:
    return next(folders_with_photos(folder, names), None)


def match(sources: Sources, hold_out: int = 0) -> Matched:
    """Pair by path without suffix, below each folder; two single files are a pair as they are.

    A mask ``a_mask`` belongs to the photo ``a`` where equal names match fewer, or beside it.
    A single prediction finds its truth in a folder by its name. ``hold_out`` N takes every N-th
    photo alone, those that a training on the same folder holds out; 0 takes all. Raises
    NoInputError where a place is not there or holds no photo, and UsageError where one stem stands
    for two files, or a folder of predictions meets a single truth.
    """
    sources = _narrowed(sources)
    main = sources.predictions or sources.photos
    if main is None:
        raise UsageError("name the photos that the model is to matte")
    beside, known = _truth_files(sources.truths)
    found = _files_of(main, known)
    # Photos with their masks beside them are both in one place.
    _check_kinds(main, sources.truths, one_place=bool(beside) and sources.predictions is None)
    required = [
        _Files("photo" if sources.predictions is None else "prediction", main, found),
        _Files("trimap", sources.trimaps, _files_of(sources.trimaps, known)),
        _Files("foreground", sources.foregrounds, _files_of(sources.foregrounds, known)),
    ]
    photos = found if sources.predictions is None else _files_of(sources.photos, known) or beside
    truths = _held_out(known, photos, hold_out) if hold_out else known
    missing = [
        f"{truth}: no {files.kind} named {key}.* in {files.place}"
        for key, truth in truths.items()
        for files in required
        if files.place is not None and key not in files.by_key
    ]
    pairs = [
        _pair(sources, key, truth, required, photos)
        for key, truth in truths.items()
        if key in found
    ]
    extra = [f"{path}: no truth in {sources.truths}" for key, path in found.items()
             if key not in known]  # fmt: skip
    return Matched(pairs, missing, extra)


def _held_out(
    truths: Mapping[str, Path], photos: Mapping[str, Path], every: int
) -> dict[str, Path]:
    """What a training takes: photos in the order of their names, none of folders in the folder."""
    keys = [key for key in truths if "/" not in key]
    keys.sort(key=lambda key: photos.get(key, truths[key]).name)
    chosen = set(split_held_out(keys, every)[1])
    if not chosen:
        raise NoInputError(
            "only photos that lie in no inner folder are held out", option="hold_out", value=every
        )
    return {key: truth for key, truth in truths.items() if key in chosen}


@dataclass(frozen=True)
class _Files:
    """Files of one kind, by their path without suffix below a place."""

    kind: str
    place: Path | None
    by_key: Mapping[str, Path]


def _pair(
    sources: Sources,
    key: str,
    truth: Path,
    required: Sequence[_Files],
    photos: Mapping[str, Path],
) -> Pair:
    found, trimaps, foregrounds = (files.by_key for files in required)
    return Pair(
        name=truth.name if truth == sources.truths else _below(truth, sources.truths),
        truth=truth,
        prediction=None if sources.predictions is None else found[key],
        photo=photos.get(key),
        trimap=trimaps.get(key),
        foreground=foregrounds.get(key),
    )


def _narrowed(sources: Sources) -> Sources:
    """The truth of a single file, where truths are a folder. Raises NoInputError, UsageError."""
    main = sources.predictions or sources.photos
    if main is None or not is_file(main) or not is_folder(sources.truths):
        return sources
    found = [path for path in _masks(sources.truths) if is_file(path) and path != main]
    own = [path for path in found if path.stem == main.stem]
    own = own or [path for path in found if photo_of(path.stem) == main.stem]
    if not own:
        raise NoInputError(f"{main}: no truth named {main.stem}.* in {sources.truths}")
    if len(own) > 1:
        raise UsageError(f"{own[0]} and {own[1]}: two truths of one name; name one of them")
    return replace(sources, truths=own[0])


def _check_kinds(main: Path, truths: Path, *, one_place: bool) -> None:
    if is_file(main) != is_file(truths):
        raise UsageError(
            f"{main} and {truths}: give two folders, two files, or a file and its truth's folder"
        )
    if real_path(main) == real_path(truths) and not one_place:
        raise UsageError(f"{main}: predictions and truths are the same place")


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _truth_files(place: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Photos that lie beside their masks in a folder of truths, none elsewhere; and the truths."""
    found = _find(place)
    return split_masks(found) if masks_lie_beside(found) else ({}, found)


def _files_of(place: Path | None, truths: dict[str, Path]) -> dict[str, Path]:
    """Files of a place by the keys of the truths they belong to."""
    if place is None:
        return {}
    found = _find(place)
    if is_file(place):
        return _renamed(found, truths)
    return aligned(split_masks(found)[0] if masks_lie_beside(found) else found, truths)


def _renamed(found: dict[str, Path], truths: dict[str, Path]) -> dict[str, Path]:
    """A single file belongs to the single truth, whatever it is called."""
    return dict(zip(truths, found.values(), strict=False))


def _find(place: Path) -> dict[str, Path]:
    """Files by their path without suffix, in name order."""
    if is_file(place):
        return {place.stem: place}
    if not is_folder(place):
        raise NoInputError(f"{place}: {absence(place)}")
    found: dict[str, Path] = {}
    for path in _masks(place):
        key = path.relative_to(place).with_suffix("").as_posix()
        other = found.setdefault(key, path)
        if other != path:
            raise UsageError(f"{other} and {path}: two files of one name; keep one of them")
    if not found:
        raise NoInputError(f"no picture found in {place}{left_out_below(place)}")
    return found


def _masks(place: Path) -> list[Path]:
    """Files with a photo's name below a folder, in name order. A contact sheet is none."""
    named = [
        path
        for path in walk_folder(place, follow_links=False, on_error=_raise)
        if has_photo_name(path.name)
    ]
    # Opening a pipe would wait for ever; a link to nothing is reported when it is read.
    return [path for path in named if (is_file(path) and not _is_sheet(path)) or not exists(path)]


def _is_sheet(path: Path) -> bool:
    try:
        return stamp.is_sheet(path)
    except OSError:  # reading it, if it comes to that, shows what is wrong
        return False


def _raise(error: OSError) -> None:
    raise NoInputError(f"{error.filename}: {error.strerror}") from None
