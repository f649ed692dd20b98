"""Photographs with masks: finding them, checking them, holding some back for scoring."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.errors import BirefcliError, ExitCode

Bytes = NDArray[np.uint8]

IMAGES, MASKS = "im", "gt"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
LISTED = 20  # how many faults a message lists before it only counts


class DataError(BirefcliError):
    """The training folder cannot be used; the text lists what is wrong, a file a line."""

    exit_code = ExitCode.NO_INPUT


@dataclass(frozen=True)
class Example:
    """One photo and its truth."""

    name: str
    image: Bytes
    """H×W×3, RGB."""
    alpha: Bytes
    """H×W, 0 background to 255 subject."""


def read_folder(folder: Path) -> list[Example]:
    """Every photo of ``folder/im`` with the mask of the same stem in ``folder/gt``, by name.

    Raises DataError that lists every photo without mask, mask without photo, unreadable file,
    pair of different sizes and mask without subject: training on half of a folder by mistake
    would go unnoticed.
    """
    pairs, faults = _pairs(folder)
    examples = []
    for image, mask in pairs:
        example = _read(image, mask)
        if isinstance(example, Example):
            examples.append(example)
        else:
            faults.append(example)
    if not pairs and not faults:
        faults.append(f"no photos in {folder / IMAGES}")
    if faults:
        more = [f"and {len(faults) - LISTED} more"] if len(faults) > LISTED else []
        raise DataError("\n".join([f"{folder}: cannot train on it", *faults[:LISTED], *more]))
    return examples


def split(examples: Sequence[Example], every: int) -> tuple[list[Example], list[Example]]:
    """Training part, and each ``every``-th example (from the first) held back; 0 holds none."""
    if every == 0:
        return list(examples), []
    train = [e for i, e in enumerate(examples) if i % every]
    return train, list(examples[::every])


def _pairs(folder: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    images = {path.stem: path for path in _pictures(folder / IMAGES)}
    masks = {path.stem: path for path in _pictures(folder / MASKS)}
    faults = [f"{images[s]}: no mask in {MASKS}/" for s in images if s not in masks]
    faults += [f"{masks[s]}: no photo in {IMAGES}/" for s in masks if s not in images]
    return [(images[s], masks[s]) for s in images if s in masks], faults


def _pictures(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)


def _read(image: Path, mask: Path) -> Example | str:
    """The pair, or what is wrong with it."""
    pixels = cv2.imread(str(image), cv2.IMREAD_COLOR)
    alpha = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
    # cv2's types leave out that an unreadable file is None.
    for path, read in ((image, pixels), (mask, alpha)):
        if read is None:
            return f"{path}: not readable as an image"
    assert pixels is not None
    assert alpha is not None
    if pixels.shape[:2] != alpha.shape:
        return f"{mask}: {_size(alpha.shape)} instead of the photo's {_size(pixels.shape)}"
    if not (alpha > 127).any():
        return f"{mask}: no subject (the subject is white)"
    rgb = np.ascontiguousarray(pixels[..., ::-1], np.uint8)
    return Example(image.name, rgb, np.asarray(alpha, np.uint8))


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}×{shape[0]}"
