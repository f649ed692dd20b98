"""What nobody trained on, by kind: ``held_out.py make DATA OUT`` and ``held_out.py score OUT``.

``make`` writes folders of photos and masks (``im/``, ``gt/``) from the sets of the model card
of mini, of which every tenth photo is held out, and every sixth of the backgrounds:

- ``street``: whole persons on streets, as they are;
- ``head``: head and shoulders of the same, cut to 240×320;
- ``closeups``: people close to the camera, as they are;
- ``hard``: 200 compositions of those before clutter, with company, moved and degraded;
- ``soft``: composites with exact soft alpha.

``score`` mattes each with a model and prints means over the photos, and the worst tenth's IoU.
``--against CHECKOUT`` asks another checkout of birefcli the same.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import cv2
import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parents[2]
CLOSEUPS = ("faker_ai", "congress_gpo", "congress_gov")
EVERY, EVERY_BACKGROUND = 10, 6
SCENES = ("hdri_workshop", "hdri_dawn")  # views of one scene are held out together
HARD, SEED = 200, 17
KINDS = ("street", "head", "closeups", "hard", "soft")

Floats = NDArray[np.float32]
Rng = np.random.Generator
Cutout = tuple[Floats, Floats]
"""Colour H×W×3 and alpha H×W, 0..1."""


def held_out(folder: Path) -> list[tuple[Path, Path]]:
    """Every tenth photo of a folder, with its mask."""
    photos = sorted((folder / "im").iterdir())[::EVERY]
    return [(photo, next((folder / "gt").glob(f"{photo.stem}.*"))) for photo in photos]


def held_out_backgrounds(folder: Path) -> list[Path]:
    """Scenes, and every sixth of the other pictures of each kind."""
    pictures = sorted(path for path in folder.iterdir() if path.suffix != ".tsv")
    found = [path for path in pictures if path.name.startswith(SCENES)]
    for kind in ("photo_", "coco_"):
        found += [path for path in pictures if path.name.startswith(kind)][::EVERY_BACKGROUND]
    return found


def make(data: Path, out: Path) -> None:
    """Write all kinds."""
    people = [pair for name in CLOSEUPS for pair in held_out(data / "closeups" / name)]
    copy(held_out(data / "ccp"), out / "street")
    copy(people, out / "closeups")
    shutil.copytree(data / "soft", out / "soft", dirs_exist_ok=True)
    for photo, mask in held_out(data / "ccp"):
        write(head_and_shoulders(read(photo), read_mask(mask)), out / "head", photo.stem)
    cutouts = [cut_out(read(photo), read_mask(mask)) for photo, mask in people]
    backgrounds = [read(path) for path in held_out_backgrounds(data / "backgrounds")]
    for i in range(HARD):
        rng = np.random.default_rng((SEED, i))
        write(hard(cutouts, backgrounds, rng), out / "hard", f"{i:03}")


def copy(pairs: Sequence[tuple[Path, Path]], folder: Path) -> None:
    """Copy photos and masks as they are."""
    for photo, mask in pairs:
        for name, path in (("im", photo), ("gt", mask)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / name / path.name)


def read(path: Path) -> Floats:
    """A photo H×W×3, 0..1."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert pixels is not None, path
    return np.asarray(pixels, np.float32) / 255


def read_mask(path: Path) -> Floats:
    """A mask H×W, 0..1."""
    levels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert levels is not None, path
    return np.asarray(levels, np.float32) / 255


def write(picture: Cutout, folder: Path, name: str) -> None:
    """Write a photo and its mask."""
    for part, values in zip(("im", "gt"), picture, strict=True):
        (folder / part).mkdir(parents=True, exist_ok=True)
        levels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
        cv2.imwrite(str(folder / part / f"{name}.png"), levels)


def head_and_shoulders(photo: Floats, alpha: Floats) -> Cutout:
    """The topmost 30% of a standing person, 240×320."""
    rows, columns = np.nonzero(alpha > 0.5)
    top, tall = int(rows.min()), int(np.ptp(rows)) + 1
    height = 0.3 * tall
    width = 0.75 * height
    x = columns[rows < top + tall // 10].mean() - width / 2
    y = top - 0.12 * height
    matrix = np.array([[240 / width, 0, -x * 240 / width], [0, 320 / height, -y * 320 / height]])
    seen = [
        cv2.warpAffine(
            p, matrix, (240, 320), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        for p in (photo, alpha)
    ]
    return np.asarray(seen[0], np.float32), np.asarray(seen[1], np.float32)


def cut_out(photo: Floats, alpha: Floats) -> Cutout:
    """The subject's own colour, and its alpha."""
    from birefcli.matting.foreground.cpu import estimate_pixels

    pixels, levels = (
        np.rint(photo * 255).astype(np.uint8),
        np.rint(alpha * 65535).astype(np.uint16),
    )
    return np.asarray(estimate_pixels(pixels, levels), np.float32) / 255, alpha


def hard(cutouts: Sequence[Cutout], backgrounds: Sequence[Floats], rng: Rng) -> Cutout:
    """One to three people before clutter, small, noisy or dark."""
    size = (360, 480) if rng.random() < 0.6 else (480, 360)
    image = clutter(backgrounds, rng, size)
    alpha = np.zeros(image.shape[:2], np.float32)
    people = 1 + int(rng.random() < 0.35) + int(rng.random() < 0.12)
    for number in rng.choice(len(cutouts), people, replace=False):
        colour, own = placed(cutouts[int(number)], rng, size)
        tone = image.mean((0, 1)) / max(0.05, float(colour[own > 0.5].mean()))
        colour = colour * tone ** rng.uniform(0, 0.5) * np.float32(np.exp(rng.normal(0, 0.15)))
        image = own[..., None] * np.clip(colour, 0, 1) + (1 - own[..., None]) * image
        alpha = 1 - (1 - alpha) * (1 - own)
    return degraded(np.asarray(image, np.float32), rng), alpha


def clutter(backgrounds: Sequence[Floats], rng: Rng, size: tuple[int, int]) -> Floats:
    """The part of a background, of a few tries, that has most edges."""
    parts = []
    for _ in range(3):
        whole = backgrounds[int(rng.integers(len(backgrounds)))]
        scale = rng.uniform(0.45, 1) * min(whole.shape[0] / size[1], whole.shape[1] / size[0])
        width, height = int(size[0] * scale), int(size[1] * scale)
        y = int(rng.integers(whole.shape[0] - height + 1))
        x = int(rng.integers(whole.shape[1] - width + 1))
        part = cv2.resize(whole[y : y + height, x : x + width], size, interpolation=cv2.INTER_AREA)
        parts.append(np.asarray(part[:, ::-1] if rng.random() < 0.5 else part, np.float32))
    return max(parts, key=lambda part: float(np.abs(np.diff(part, axis=0)).mean()))


def placed(cutout: Cutout, rng: Rng, size: tuple[int, int]) -> Cutout:
    """A person somewhere in the frame, cut by its lower border."""
    colour, alpha = cutout
    rows = np.flatnonzero((alpha > 0.5).any(1))
    tall = int(rows[-1] - rows[0]) + 1
    scale = size[1] * rng.uniform(0.6, 1.15) / tall
    mirror = -1 if rng.random() < 0.5 else 1
    turn = np.deg2rad(rng.normal(0, 4))
    linear = scale * np.array(
        [[mirror * np.cos(turn), np.sin(turn)], [-mirror * np.sin(turn), np.cos(turn)]]
    )
    goal = np.array([size[0] * (0.5 + rng.normal(0, 0.16)), size[1] + 2])
    foot = np.array([alpha.shape[1] / 2, rows[-1]])
    matrix = np.hstack([linear, (goal - linear @ foot)[:, None]])
    seen = [cv2.warpAffine(p, matrix, size, flags=cv2.INTER_AREA) for p in (colour, alpha)]
    return np.asarray(seen[0], np.float32), np.asarray(seen[1], np.float32)


def degraded(image: Floats, rng: Rng) -> Floats:
    """Little light, few pixels, noise, JPEG."""
    size = (image.shape[1], image.shape[0])
    if rng.random() < 0.2:
        image = image * np.float32(rng.uniform(0.25, 0.6))
    if rng.random() < 0.5:
        small = (int(size[0] * 0.5), int(size[1] * 0.5))
        image = np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_AREA), np.float32)
    if rng.random() < 0.5:
        image = image + np.float32(rng.uniform(0.01, 0.05)) * rng.standard_normal(
            image.shape, np.float32
        )
    levels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.6:
        _, file = cv2.imencode(
            ".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 85))]
        )
        stored = cv2.imdecode(file, cv2.IMREAD_COLOR)
        assert stored is not None
        levels = np.asarray(stored, np.uint8)
    return np.asarray(cv2.resize(levels, size, interpolation=cv2.INTER_LINEAR), np.float32) / 255


def score(checkout: Path, folder: Path, more: Sequence[str]) -> list[dict[str, float]]:
    """Figures of each photo, by ``birefcli score`` of a checkout."""
    command = [
        sys.executable,
        "-m",
        "birefcli",
        "score",
        str(folder),
        str(folder),
        "--each",
        "--json",
    ]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(
        [*command, *more], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{checkout}: {done.stderr}")
    report = json.loads(done.stdout)
    return list(report["each"].values())


def table(checkout: Path, out: Path, kinds: Sequence[str], more: Sequence[str]) -> None:
    """Print a row a kind."""
    print(
        f"{'kind':9} {'photos':>6} {'IoU':>7} {'worst':>7} {'MAD':>8} {'Grad':>7} {'Conn':>7}",
        flush=True,
    )
    for kind in kinds:
        photos = score(checkout, out / kind, more)
        overlaps = sorted(photo["IoU"] for photo in photos)
        worst = fmean(overlaps[: max(1, len(overlaps) // 10)])
        means = [fmean(photo[name] for photo in photos) for name in ("MAD", "Grad", "Conn")]
        print(
            f"{kind:9} {len(photos):6} {fmean(overlaps):7.4f} {worst:7.4f} {means[0]:8.5f}"
            f" {means[1]:7.2f} {means[2]:7.2f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("verb", choices=("make", "score"))
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--edges")
    parser.add_argument("--against", type=Path)
    given = parser.parse_args()
    if given.verb == "make":
        make(*given.folders)
        return
    more = ["--model", given.model]
    if given.against:
        table(given.against, given.folders[0], given.kinds, more)
    table(
        HERE,
        given.folders[0],
        given.kinds,
        more + (["--edges", given.edges] if given.edges else []),
    )


if __name__ == "__main__":
    main()
