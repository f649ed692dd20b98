"""``python -m birefcli.training.score WEIGHTS DATA``: how good weights are on photos with masks."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from birefcli import devices, weights
from birefcli.errors import BirefcliError
from birefcli.images import Photo
from birefcli.matting import Matter, enlarge
from birefcli.options import Precision
from birefcli.training import data
from birefcli.training.data import Bytes, Example


@dataclass(frozen=True)
class Score:
    """Means over photos, each measured at its own size."""

    photos: int
    iou: float
    """Mean of subject's and background's intersection over union, both cut at one half."""
    mae: float
    """Mean absolute difference of alpha, 0..1."""


def score(matter: Matter, examples: Sequence[Example]) -> Score:
    """Alpha of every photo against its truth."""
    ious, errors = [], []
    for example in examples:
        truth = example.alpha.astype(np.float32) / np.float32(255)
        alpha = matte(matter, example.image)
        ious.append(mean_iou(alpha, truth))
        errors.append(float(np.abs(alpha - truth).mean()))
    return Score(len(examples), float(np.mean(ious)), float(np.mean(errors)))


def mean_iou(alpha: NDArray[np.float32], truth: NDArray[np.float32]) -> float:
    """Mean of the two classes' intersection over union; a class that neither has counts as 1."""
    found, real = alpha > 0.5, truth > 0.5
    shares = [_share(found, real), _share(~found, ~real)]
    return float(np.mean(shares))


def matte(matter: Matter, image: Bytes) -> NDArray[np.float32]:
    """Alpha H×W, 0..1, of a photo H×W×3, as the command makes it."""
    photo = Photo(image)
    alpha = matter.alphas([matter.prepare(photo)])[0]
    return enlarge(alpha, photo.size).numpy()


def _share(found: NDArray[np.bool_], real: NDArray[np.bool_]) -> float:
    either = (found | real).sum()
    return float((found & real).sum() / either) if either else 1.0


def main(arguments: list[str] | None = None) -> int:
    """Print the score of weights on the photos that training held back; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m birefcli.training.score", description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("data", type=Path, help="folder with im/ and gt/")
    parser.add_argument(
        "--every", type=int, default=10, help="every n-th photo, as held out; 1 for all [10]"
    )
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)
    try:
        checkpoint = weights.resolve(str(options.weights), offline=True)
        compute = devices.choose(options.device, Precision.FP32)
        matter = Matter(weights.load(checkpoint), checkpoint.size, compute)
        _, examples = data.split(data.read_folder(options.data), options.every)
    except BirefcliError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    result = score(matter, examples)
    print(f"{result.photos} photos: mean IoU {result.iou:.4f}, MAE {result.mae:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
