"""Photos, truths and mattes that the review's limits are fitted on and judged by.

    python tests/benchmarks/review_photos.py DATA OUT

writes ``OUT/held`` (what ``held_out.py make`` writes: nothing of it was trained on) and
``OUT/fit`` (the same kinds, made of the other photos; half of those that stay as they are get
darker, smaller, noisier or a worse JPEG), and mattes both with mini: ``im/``, ``gt/`` and
``matte/`` in a folder for each kind.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import held_out
import numpy as np
from held_out import Cutout, cut_out, degraded, hard, head_and_shoulders, read, read_mask, write

SEED = 21
STREET, HEAD, CLOSEUPS, HARD = 160, 160, 120, 320
"""How many of a kind are fitted on."""


def others(folder: Path) -> list[tuple[Path, Path]]:
    """Photos of a folder that are not held out, with their masks."""
    known = {photo for photo, _ in held_out.held_out(folder)}
    photos = [path for path in sorted((folder / "im").iterdir()) if path not in known]
    return [(photo, next((folder / "gt").glob(f"{photo.stem}.*"))) for photo in photos]


def make(data: Path, out: Path) -> None:
    """Write the kinds to fit on."""
    rng = np.random.default_rng(SEED)
    streets = drawn(others(data / "ccp"), STREET + HEAD, rng)
    people = [p for name in held_out.CLOSEUPS for p in others(data / "closeups" / name)]
    for name, pairs in (("street", streets[:STREET]), ("closeups", drawn(people, CLOSEUPS, rng))):
        for photo, mask in pairs:
            write(sometimes_degraded((read(photo), read_mask(mask)), rng), out / name, photo.stem)
    for photo, mask in streets[STREET:]:
        seen = head_and_shoulders(read(photo), read_mask(mask))
        write(sometimes_degraded(seen, rng), out / "head", photo.stem)
    cutouts = [cut_out(read(photo), read_mask(mask)) for photo, mask in drawn(people, 150, rng)]
    known = set(held_out.held_out_backgrounds(data / "backgrounds"))
    files = sorted((data / "backgrounds").iterdir())
    backgrounds = [read(path) for path in files if path not in known and path.suffix != ".tsv"]
    for i in range(HARD):
        write(hard(cutouts, backgrounds, np.random.default_rng((SEED, i))), out / "hard", f"{i:03}")


def drawn(
    pairs: Sequence[tuple[Path, Path]], number: int, rng: np.random.Generator
) -> list[tuple[Path, Path]]:
    """So many of them, in any order."""
    return [pairs[int(i)] for i in rng.permutation(len(pairs))[:number]]


def sometimes_degraded(picture: Cutout, rng: np.random.Generator) -> Cutout:
    """One in two as it is."""
    photo, alpha = picture
    return (degraded(photo, rng) if rng.random() < 0.5 else photo), alpha


def matte(folders: Iterator[Path]) -> None:
    """Matte each folder's ``im`` into ``matte``, on one thread."""
    for folder in folders:
        command = [sys.executable, "-m", "birefcli", "matte", str(folder / "im"), "-o"]
        options = ["--write", "mask", "--model", "mini", "--threads", "1", "--no-progress"]
        environment = {**os.environ, "PYTHONPATH": str(held_out.HERE)}
        subprocess.run([*command, str(folder / "matte"), *options], env=environment, check=True)


def main() -> None:
    data, out = map(Path, sys.argv[1:])
    held_out.make(data, out / "held")
    make(data, out / "fit")
    matte(path.parent for path in sorted(out.glob("*/*/im")))


if __name__ == "__main__":
    main()
