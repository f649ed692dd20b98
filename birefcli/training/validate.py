"""How near mattes are to the truth, each photo measured at its own size.

``python -m birefcli.training.validate WEIGHTS DATA`` prints it for what training holds out.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from birefcli.errors import BirefcliError
from birefcli.images.photo import Photo
from birefcli.matting.predictor import Predictor, enlarge
from birefcli.models.load import load_model
from birefcli.options import Precision
from birefcli.training.dataset import Bytes, Dataset, Example, find_pairs, split_held_out


@dataclass(frozen=True)
class Score:
    """Of one photo, or the means over several."""

    iou: float
    """Mean of subject's and background's intersection over union, both cut at one half."""
    mad: float
    """Mean absolute difference of alpha, 0..1."""
    mse: float
    """Mean squared difference of alpha, 0..1."""
    sad: float
    """Sum of absolute differences of alpha, in thousands of pixels."""


def score(predictor: Predictor, examples: Sequence[Example]) -> Score:
    """Alpha of every photo against its truth, in the mean."""
    return mean(measure(alpha, e.alpha) for e, alpha in mattes(predictor, examples))


def mattes(
    predictor: Predictor, examples: Sequence[Example]
) -> Iterator[tuple[Example, NDArray[np.float32]]]:
    """Each example with its alpha H×W, 0..1."""
    for i in range(len(examples)):
        example = examples[i]
        yield example, matte(predictor, example.image)


def measure(alpha: NDArray[np.float32], mask: Bytes) -> Score:
    """Score alpha H×W, 0..1, against a mask H×W, 0..255."""
    truth = mask.astype(np.float32) / np.float32(255)
    apart = np.abs(alpha - truth)
    return Score(
        mean_iou(alpha, truth),
        float(apart.mean()),
        float((apart**2).mean()),
        float(apart.sum(dtype=np.float64)) / 1000,
    )


def mean(scores: Iterable[Score]) -> Score:
    """Of at least one photo."""
    listed = list(scores)
    return Score(
        *(fmean(getattr(score, name) for score in listed) for name in ("iou", "mad", "mse", "sad"))
    )


def mean_iou(alpha: NDArray[np.float32], truth: NDArray[np.float32]) -> float:
    """Mean of the two classes' intersection over union; a class that neither has counts as 1."""
    found, real = alpha > 0.5, truth > 0.5
    shares = [_share(found, real), _share(~found, ~real)]
    return float(np.mean(shares))


def matte(predictor: Predictor, image: Bytes) -> NDArray[np.float32]:
    """Alpha H×W, 0..1, of a photo H×W×3, as the command makes it."""
    photo = Photo(image)
    alpha = predictor.alphas([predictor.prepare(photo)])[0]
    return enlarge(alpha, photo.size).cpu().numpy()


def _share(found: NDArray[np.bool_], real: NDArray[np.bool_]) -> float:
    either = (found | real).sum()
    return float((found & real).sum() / either) if either else 1.0


def main(arguments: list[str] | None = None) -> int:
    """Print the score of weights on the photos that training held back; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m birefcli.training.validate", description=__doc__
    )
    parser.add_argument("weights", type=Path)
    parser.add_argument("data", type=Path, help="folder with im/ and gt/")
    parser.add_argument(
        "--every", type=int, default=10, help="every n-th photo, as held out; 1 for all [10]"
    )
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)
    try:
        predictor = load_model(
            str(options.weights), offline=True, device=options.device, precision=Precision.FP32
        ).predictor
        _, pairs = split_held_out(find_pairs([options.data]), options.every)
        result = score(predictor, Dataset(pairs, longest=None, soften=False, budget=0))
    except BirefcliError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{len(pairs)} photos: mean IoU {result.iou:.4f}, MAD {result.mad:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
