"""Photographs with masks: finding them, checking them all, reading them."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.errors import BirefcliError, ExitCode, Message, PhotoError
from birefcli.images.colour import to_srgb8
from birefcli.images.files import has_photo_name, left_out_below, open_photo, walk_folder
from birefcli.matting.foreground import cpu as cpu_foreground
from birefcli.scoring import masks
from birefcli.scoring.layouts import (
    LAYOUTS,
    aligned,
    find_layout,
    find_masks_beside,
    split_masks,
)
from birefcli.scoring.masks import Mask
from birefcli.system import cpu
from birefcli.system.paths import absence, is_folder, obstacle
from birefcli.training import soft_edges

Bytes = NDArray[np.uint8]
Item = TypeVar("Item")

LEAST_SCALE = 0.1
"""Of a mask's sides and its photo's; a smaller one says nothing of the edge."""

MAX_PIXELS = 300_000_000
"""Of a photo, as for the matte command."""


class DataError(BirefcliError):
    """The training data cannot be used. ``faults`` has what is wrong, a line a file."""

    exit_code = ExitCode.NO_INPUT

    def __init__(
        self,
        text: str | Message,
        faults: Sequence[str | Message] = (),
        *,
        hint: str | Message | None = None,
    ) -> None:
        super().__init__(text, hint=hint)
        self.faults = [Message(fault) for fault in faults]


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
    foreground: Bytes
    """H×W×3, RGB: the subject's own colour where alpha is soft, the photo's elsewhere."""
    cut: bool
    """Whether the mask was cut pixel by pixel; its edge may have been softened since."""
    plain: bool
    """Whether what is behind the subject is even, as a studio's backdrop is."""


# Finding


def find_pairs(folders: Sequence[Path]) -> list[list[Pair]]:
    """Every photo of each folder with the mask of the same stem, by name.

    A folder holds ``im/`` and ``gt/``, or P3M's folders, or photos with masks beside them
    (``a.jpg``, ``a_mask.png``), or a ``train/`` that does. Raises DataError that lists every photo
    without mask, mask without photo, and what is wrong with the others: training on half of a
    folder by mistake would go unnoticed.
    """
    pairs: list[list[Pair]] = []
    faults: list[str | Message] = []
    for folder in dict.fromkeys(folders):
        photos, truths = _folders(folder)
        found, wrong = _pairs(photos, truths)
        if not found and not wrong:
            wrong = [f"{photos}: no photo in it{left_out_below(photos, recursive=False)}"]
        pairs.append(found)
        faults += wrong
    if faults:
        # Nothing will be trained: whoever mends names learns at once what else there is to mend.
        every = [pair for part in pairs for pair in part]
        dataset = Dataset(every, longest=None, soften=False, budget=0)
        refuse_faults([*faults, *dataset.faults(range(len(every)), cpu.count())])
    return pairs


def _folders(folder: Path) -> tuple[Path, Path]:
    """Folder of photos and folder of masks, which may be one."""
    if not is_folder(folder):
        raise DataError(f"{folder}: {absence(folder, 'folder')}")
    found = find_layout(folder)
    if found is not None:
        root, layout = found
        return root / layout.photos, root / layout.truths
    if (both := find_masks_beside(folder)) is not None:
        return both, both
    if (why := obstacle(folder)) is not None:
        raise DataError(f"{folder}: {why}")
    known = ", or ".join(f"{each.photos}/ and {each.truths}/" for each in LAYOUTS[:2])
    beside = "a.jpg with a_mask.png beside it"
    raise DataError(f"{folder}: no photos with masks there; it must hold {known}, or {beside}")


def _pairs(photos: Path, truths: Path) -> tuple[list[Pair], list[str]]:
    images, faults = _by_stem(photos)
    if photos == truths:
        images, masks_ = split_masks(images)
    else:
        masks_, more = _by_stem(truths)
        faults += more
        masks_ = aligned(masks_, images)
    faults += [
        f"{path}: no mask in {truths.name}/" for s, path in images.items() if s not in masks_
    ]
    faults += [
        f"{path}: no photo in {photos.name}/" for s, path in masks_.items() if s not in images
    ]
    return [Pair(path, masks_[s]) for s, path in images.items() if s in masks_], faults


def _by_stem(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Files with a photo's name by stem, and those whose stem another one has."""
    found: dict[str, Path] = {}
    faults = []
    for path in walk_folder(folder, recursive=False, on_error=refuse_unreadable):
        if not has_photo_name(path.name):
            continue
        if path.stem in found:
            faults.append(f"{path}: has the name of {found[path.stem].name}")
        found.setdefault(path.stem, path)
    return found, faults


def refuse_unreadable(error: OSError) -> None:
    """Raise DataError for a folder that cannot be read."""
    raise DataError(f"{error.filename}: {error.strerror}") from None


def refuse_faults(faults: Sequence[str | Message]) -> None:
    """Raise DataError if there are faults, a line a file."""
    if faults:
        are = "file is" if len(faults) == 1 else "files are"
        raise DataError(f"{len(faults)} {are} not as training needs them; nothing done", faults)


# Reading


class CachedFiles(Sequence[Item]):
    """Items that are read when they are indexed; the first to fit in ``budget`` bytes are cached.

    What is returned depends on the files alone, not on the cache. Threads may share it.
    """

    def __init__(self, budget: int) -> None:
        self._left = budget
        self._items: dict[int, Item] = {}
        self._lock = Lock()

    def __getitem__(self, index: int) -> Item:  # type: ignore[override]
        """The ``index``-th item. Raises DataError when its files are gone or damaged."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        cached = self._items.get(index)
        return cached if cached is not None else self._add(index, *self._read(index))

    def faults(
        self, indices: Sequence[int], threads: int, on_read: Callable[[], None] = lambda: None
    ) -> list[Message]:
        """Read these items once; what is wrong with which. ``on_read`` is called after each."""
        found = []
        pool = ThreadPoolExecutor(threads)
        try:
            for fault in pool.map(self._fault, indices):
                if fault is not None:
                    found.append(fault)
                on_read()
        finally:
            # Ctrl-C must not wait for ten thousand photos.
            pool.shutdown(cancel_futures=True)
        return found

    @property
    def cached(self) -> int:
        """How many items stay in memory."""
        return len(self._items)

    @abstractmethod
    def _read(self, index: int) -> tuple[Item, int]:
        """The ``index``-th item and its size in bytes. Raises DataError."""

    def _fault(self, index: int) -> Message | None:
        try:
            self[index]
        except DataError as error:
            return error.message
        return None

    def _add(self, index: int, item: Item, size: int) -> Item:
        with self._lock:
            if size <= self._left and index not in self._items:
                self._left -= size
                self._items[index] = item
        return item


class Dataset(CachedFiles[Example]):
    """Examples, of photos and their masks."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        *,
        longest: int | None,
        soften: bool,
        budget: int,
        foreground: bool = False,
    ) -> None:
        """``longest``: side in pixels to which larger photos are reduced; None for none.

        ``soften``: binary masks get soft edges (:func:`birefcli.training.soft_edges.soften`).
        ``budget``: bytes of pixels to cache. ``foreground``: estimate the subject's own colour, for
        other backgrounds; without it the photo's pixels stand for it.
        """
        super().__init__(budget)
        self.pairs = list(pairs)
        self.resized: set[Path] = set()
        """Masks of another size than their photo, of those that were read."""
        self.longest, self.soften, self.foreground = longest, soften, foreground

    def __len__(self) -> int:
        return len(self.pairs)

    def _read(self, index: int) -> tuple[Example, int]:
        example = self._example(self.pairs[index])
        own = example.foreground.nbytes * self.foreground  # else it is the photo
        return example, example.image.nbytes + example.alpha.nbytes + own

    def _example(self, pair: Pair) -> Example:
        image, alpha = read_image(pair.image), read_mask(pair.mask)
        if image.shape[:2] != alpha.shape:
            sizes = f"{_size(alpha.shape)} instead of the photo's {_size(image.shape)}"
            if not is_same_view(image.shape[:2], alpha.shape):
                way = "other proportions: make it again from this photo, uncropped"
                raise DataError(f"{pair.mask}: {sizes}", hint=way)
            image, alpha = at_smaller_size(image, alpha)
            self.resized.add(pair.mask)
        cut = soft_edges.is_binary(alpha)
        if self.soften and cut:
            alpha = soft_edges.soften(image, alpha)
        colour = image
        if self.foreground:
            levels = alpha.astype(np.uint16) * np.uint16(257)
            colour = np.asarray(cpu_foreground.estimate_pixels(image, levels), np.uint8)
        plain = is_plain(image, alpha)
        example = Example(pair.image.name, image, alpha, colour, cut, plain)
        return example if self.longest is None else _reduced(example, self.longest)


EVEN = 16.0
"""Standard deviation of a backdrop's brightness, of 255."""


def is_plain(image: Bytes, alpha: Bytes) -> bool:
    """Whether what is behind a subject is even, or not seen at all.

    ``image``: H×W×3, RGB; ``alpha``: H×W, 0..255.
    """
    small = (64, 64)
    grey = cv2.cvtColor(cv2.resize(image, small, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    behind = grey[cv2.resize(alpha, small, interpolation=cv2.INTER_AREA) < 8]
    return behind.size == 0 or float(behind.std()) < EVEN


def read_image(path: Path) -> Bytes:
    """A photo as the network is to see it: H×W×3, RGB, upright, sRGB. Raises DataError."""
    try:
        return to_srgb8(open_photo(path, MAX_PIXELS))
    except PhotoError as error:
        raise DataError(error.message) from error


def read_mask(path: Path) -> Bytes:
    """A mask H×W, 0..255: a grey picture, or the transparency of a cutout. Raises DataError."""
    try:
        mask = masks.read(path, MAX_PIXELS)
    except PhotoError as error:
        raise DataError(error.message) from error
    found = _to_bytes(mask)
    if masks.scale_fault(mask.alpha) is not None or not (found > 127).any():
        raise DataError(f"{path}: no subject ({masks.largest_level(mask.alpha)})")
    return found


def _to_bytes(mask: Mask) -> Bytes:
    """Alpha of 8 bits; 16 are rounded down, so that a training sees what it always saw."""
    if mask.alpha.dtype == np.uint8:
        return np.ascontiguousarray(mask.alpha)
    levels = mask.alpha >> 8 if mask.colours is None else mask.alpha // 257
    return np.ascontiguousarray(levels, np.uint8)


def is_same_view(photo: tuple[int, int], mask: tuple[int, int]) -> bool:
    """Whether a mask is its whole photo, smaller or larger: (height, width) of both.

    Its sides are in proportion, to within a pixel, and no tenth of the photo's or less.
    """
    small, large = sorted((photo, mask))
    scale = min(small[0] / large[0], small[1] / large[1])
    fits = all(abs(n - m * s) <= 1 for n, m, s in _sides(small, large))
    return fits and scale > LEAST_SCALE


def _sides(small: tuple[int, int], large: tuple[int, int]) -> Iterator[tuple[int, int, float]]:
    """Each side of two sizes, and by how much the other side is smaller."""
    yield small[0], large[0], small[1] / large[1]
    yield small[1], large[1], small[0] / large[0]


def at_smaller_size(image: Bytes, alpha: Bytes) -> tuple[Bytes, Bytes]:
    """A photo H×W×3 and its mask H×W of another size, both at the smaller of their sizes."""
    shape = min(image.shape[:2], alpha.shape)
    return (
        masks.resize_to(image, shape, cv2.INTER_AREA),
        masks.resize_to(alpha, shape, cv2.INTER_AREA),
    )


def reduced(picture: Bytes, longest: int) -> Bytes:
    """A picture H×W or H×W×3, averaged down to a longer side of ``longest`` pixels at most."""
    height, width = picture.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _reduced(example: Example, longest: int) -> Example:
    image, alpha, colour = (
        reduced(plane, longest) for plane in (example.image, example.alpha, example.foreground)
    )
    # What was a speck may be gone; the views need somebody to look at.
    small = replace(example, image=image, alpha=alpha, foreground=colour)
    return small if (alpha > 127).any() else example


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}×{shape[0]}"
