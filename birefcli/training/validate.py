"""How near mattes are to the truth while a network is trained, each photo at its own size."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from birefcli.images.photo import Photo, to_unit
from birefcli.matting.predictor import Predictor
from birefcli.scoring import masks
from birefcli.scoring.metrics import matting
from birefcli.training.dataset import Bytes, Example


@dataclass(frozen=True)
class ValidationScore:
    """Of one photo, or the means over several: the metrics of ``birefcli score``."""

    iou: float
    """Mean IoU of subject and background, 0..1."""
    mad: float
    """Mean absolute difference of alpha, 0..1."""
    mse: float
    """Mean squared difference of alpha, 0..1."""
    sad: float
    """Sum of absolute differences of alpha, in thousands of pixels."""


def mattes(
    predictor: Predictor, examples: Sequence[Example]
) -> Iterator[tuple[Example, NDArray[np.float32]]]:
    """Each example with its alpha H×W, 0..1."""
    for i in range(len(examples)):
        example = examples[i]
        yield example, matte(predictor, example.image)


def measure(alpha: NDArray[np.float32], mask: Bytes) -> ValidationScore:
    """Score alpha H×W, 0..1, against a mask H×W, 0..255."""
    prediction, truth = alpha.astype(np.float64), masks.to_unit(mask)
    found = matting.differences(prediction, truth)
    return ValidationScore(
        matting.mean_iou(prediction, truth), found.mad or 0.0, found.mse or 0.0, found.sad
    )


def mean(scores: Iterable[ValidationScore]) -> ValidationScore:
    """Of at least one photo."""
    listed = list(scores)
    return ValidationScore(
        *(fmean(getattr(score, field.name) for score in listed) for field in fields(listed[0]))
    )


def matte(predictor: Predictor, image: Bytes) -> NDArray[np.float32]:
    """Alpha H×W, 0..1, of a photo H×W×3, as the command makes it."""
    photo = Photo(image)
    alpha = predictor.alphas([predictor.prepare(photo)])[0]
    return to_unit(predictor.matte(photo, alpha, None).alpha)
