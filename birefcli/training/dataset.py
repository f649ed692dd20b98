"""Photographs with masks: finding them, checking them all, holding some back, reading them."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.errors import BirefcliError, ExitCode, Message, PhotoError
from birefcli.images.colour import to_srgb8
from birefcli.images.decode import decode_photo
from birefcli.images.files import PHOTO_SUFFIXES
from birefcli.system import cpu
from birefcli.training import soft_edges

Bytes = NDArray[np.uint8]
Item = TypeVar("Item")

LAYOUTS = (("im", "gt"), ("blurred_image", "mask"), ("original_image", "mask"))
"""Names of the folders of photos and masks: that of many sets, and P3M's (Li et al., ACM MM 2021),
with faces blurred and not."""
TRAINING_PART = "train"
"""Folder of a data set that holds its training part, if it says so."""
MAX_PIXELS = 300_000_000
"""Of a photo, as for the matte command."""


class DataError(BirefcliError):
    """The training data cannot be used. ``faults`` has what is wrong, a line a file."""

    exit_code = ExitCode.NO_INPUT

    def __init__(self, text: str | Message, faults: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.faults = list(faults)


@dataclass(frozen=True)
class Pair:
    """Where a photo and its mask are."""

    image: Path
    mask: Path


@dataclass(frozen=True)
class Example:
    """One photo and its truth."""

    name: str
    image: Bytes
    """H×W×3, RGB."""
    alpha: Bytes
    """H×W, 0 background to 255 subject."""


# Finding


def find_pairs(folders: Sequence[Path]) -> list[Pair]:
    """Every photo of the folders with the mask of the same stem, by name.

    A folder holds ``im/`` and ``gt/``, or P3M's folders, or a ``train/`` that does. Raises
    DataError that lists every photo without mask, mask without photo, and what is wrong with the
    others: training on half of a folder by mistake would go unnoticed.
    """
    pairs: list[Pair] = []
    faults: list[str] = []
    for folder in dict.fromkeys(folders):
        images_, masks = _layout(folder)
        found, wrong = _pairs(images_, masks)
        if not found and not wrong:
            wrong = [f"{images_}: no photo in it"]
        pairs += found
        faults += wrong
    if faults:
        # Nothing will be trained: whoever mends names learns at once what else there is to mend.
        dataset = Dataset(pairs, longest=None, soften=False, budget=0)
        refuse_faults(faults + dataset.faults(range(len(pairs)), cpu.count()))
    return pairs


def split_held_out(items: Sequence[Item], every: int) -> tuple[list[Item], list[Item]]:
    """Training part, and each ``every``-th item (from the first) held back; 0 holds none."""
    if every == 0:
        return list(items), []
    train = [item for i, item in enumerate(items) if i % every]
    return train, list(items[::every])


def _layout(folder: Path) -> tuple[Path, Path]:
    """Folder of photos and folder of masks."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    for root in (folder, folder / TRAINING_PART):
        for photos, masks in LAYOUTS:
            if (root / photos).is_dir() and (root / masks).is_dir():
                return root / photos, root / masks
    known = ", or ".join(f"{photos}/ and {masks}/" for photos, masks in LAYOUTS[:2])
    raise DataError(f"{folder}: no photos with masks there; it must hold {known}")


def _pairs(photos: Path, masks: Path) -> tuple[list[Pair], list[str]]:
    found, faults = _by_stem(photos)
    truths, more = _by_stem(masks)
    faults += more
    faults += [f"{found[s]}: no mask in {masks.name}/" for s in found if s not in truths]
    faults += [f"{truths[s]}: no photo in {photos.name}/" for s in truths if s not in found]
    return [Pair(found[s], truths[s]) for s in found if s in truths], faults


def _by_stem(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Pictures of a folder by stem, and those whose stem another one has."""
    found: dict[str, Path] = {}
    faults = []
    for path in _pictures(folder):
        if path.stem in found:
            faults.append(f"{path}: has the name of {found[path.stem].name}")
        found.setdefault(path.stem, path)
    return found, faults


def _pictures(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        # Hidden files: macOS leaves ._a.jpg beside a.jpg on foreign disks.
        if path.suffix.lower() in PHOTO_SUFFIXES and not path.name.startswith("."):
            yield path


def refuse_faults(faults: Sequence[str]) -> None:
    """Raise DataError if there are faults, a line a file."""
    if faults:
        are = "file is" if len(faults) == 1 else "files are"
        raise DataError(f"{len(faults)} {are} not as training needs them; nothing done", faults)


# Reading


class Dataset(Sequence[Example]):
    """Examples that are read when they are asked for; the first to fit in ``budget`` stay.

    What is returned depends on the files alone, not on what was kept. Threads may share it.
    """

    def __init__(
        self, pairs: Sequence[Pair], *, longest: int | None, soften: bool, budget: int
    ) -> None:
        """``longest``: side in pixels to which larger photos are reduced; None for none.

        ``soften``: binary masks get soft edges (:func:`birefcli.training.soft_edges.soften`).
        ``budget``: bytes of pixels to keep.
        """
        self.pairs = list(pairs)
        self.longest, self.soften = longest, soften
        self._left = budget
        self._kept: dict[int, Example] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        """The ``index``-th example. Raises DataError when its files are gone or damaged."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        kept = self._kept.get(index)
        return kept if kept is not None else self._keep(index, self._read(self.pairs[index]))

    def faults(
        self, indices: Sequence[int], threads: int, told: Callable[[], None] = lambda: None
    ) -> list[str]:
        """Read these examples once, and say what is wrong with which; ``told`` after each."""
        found = []
        pool = ThreadPoolExecutor(threads)
        try:
            for fault in pool.map(self._fault, indices):
                if fault is not None:
                    found.append(fault)
                told()
        finally:
            # Ctrl-C must not wait for ten thousand photos.
            pool.shutdown(cancel_futures=True)
        return found

    @property
    def kept(self) -> int:
        """How many examples stay in memory."""
        return len(self._kept)

    def _fault(self, index: int) -> str | None:
        try:
            self[index]
        except DataError as error:
            return str(error)
        return None

    def _keep(self, index: int, example: Example) -> Example:
        size = example.image.nbytes + example.alpha.nbytes
        with self._lock:
            if size <= self._left and index not in self._kept:
                self._left -= size
                self._kept[index] = example
        return example

    def _read(self, pair: Pair) -> Example:
        image, alpha = read_image(pair.image), read_mask(pair.mask)
        if image.shape[:2] != alpha.shape:
            wanted = _size(image.shape)
            raise DataError(f"{pair.mask}: {_size(alpha.shape)} instead of the photo's {wanted}")
        if not (alpha > 127).any():
            why = "a mask is 0 to 255, and its largest value here is"
            raise DataError(f"{pair.mask}: no subject ({why} {alpha.max()})")
        example = Example(pair.image.name, image, alpha)
        soften = self.soften and soft_edges.is_binary(alpha)
        example = replace(example, alpha=soft_edges.soften(image, alpha)) if soften else example
        return example if self.longest is None else _reduced(example, self.longest)


def read_image(path: Path) -> Bytes:
    """A photo as the network is to see it: H×W×3, RGB, upright, sRGB. Raises DataError."""
    try:
        return to_srgb8(decode_photo(path.read_bytes(), MAX_PIXELS))
    except PhotoError as error:
        raise DataError(f"{path}: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error


def read_mask(path: Path) -> Bytes:
    """A mask H×W, 0..255: a grey picture, or the transparency of a cutout. Raises DataError."""
    try:
        stored = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    try:
        pixels = cv2.imdecode(stored, cv2.IMREAD_UNCHANGED) if len(stored) else None
        grey = cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE) if len(stored) else None
    except cv2.error:
        pixels = grey = None
    if pixels is None or grey is None:
        raise DataError(f"{path}: not readable as an image")
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        opacity = pixels[..., 3] // 257 if pixels.dtype == np.uint16 else pixels[..., 3]
        if (opacity < 255).any():
            return np.ascontiguousarray(opacity, np.uint8)
    return np.asarray(grey, np.uint8)


def _reduced(example: Example, longest: int) -> Example:
    height, width = example.alpha.shape
    scale = longest / max(height, width)
    if scale >= 1:
        return example
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shrink = partial(cv2.resize, dsize=size, interpolation=cv2.INTER_AREA)
    image, alpha = (np.asarray(shrink(p), np.uint8) for p in (example.image, example.alpha))
    # What was a speck may be gone; the views need somebody to look at.
    return Example(example.name, image, alpha) if (alpha > 127).any() else example


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}×{shape[0]}"
