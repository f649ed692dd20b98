"""All metrics of one photo."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from birefcli.errors import PhotoError
from birefcli.images.files import open_photo
from birefcli.scoring import masks
from birefcli.scoring.masks import Mask
from birefcli.scoring.metrics import boundary, colour, matting, saliency
from birefcli.scoring.metrics.hce import hce
from birefcli.scoring.metrics.saliency import Floats, Maps
from birefcli.scoring.metrics.table import CURVES, UNKNOWN
from birefcli.scoring.metrics.weighted import weighted_f
from birefcli.scoring.pairs import Pair
from birefcli.scoring.thumbnails import Thumbnails, draw


@dataclass(frozen=True)
class Settings:
    """How photos are measured."""

    trimap_radius: int | None = None
    """Pixels around what is not sure in a truth, where no trimap is given; None for no unknown
    region."""
    max_pixels: int = 300_000_000
    permille: bool = False
    """Give MSE, MAD and colour errors times 1000."""
    thumbnails: bool = False
    """Draw those of a report."""


@dataclass(frozen=True)
class Score:
    """One photo's figures: values by metric, curves (256 thresholds) by name."""

    name: str
    values: dict[str, float | None]
    curves: dict[str, Floats]
    notes: tuple[str, ...] = ()
    """What was done to make the files fit each other."""
    thumbnails: Thumbnails | None = None


@dataclass
class _Photo:
    """A prediction at its truth's size, and what was done for that."""

    pair: Pair
    settings: Settings
    truth: masks.Grey
    prediction: Mask
    notes: list[str] = field(default_factory=list)


def measure(pair: Pair, settings: Settings, prediction: Mask | None = None) -> Score:
    """Measure one photo; ``prediction`` is read from its file where it is not given.

    Raises PhotoError, which names the file, where something cannot be read or compared.
    """
    truth = masks.read(pair.truth, settings.max_pixels).alpha
    if truth.size < 2:
        raise PhotoError(f"{pair.truth}: one pixel is too little to score")
    _refuse_other_scale(pair.truth, truth)
    if prediction is None:
        if pair.prediction is None:
            raise PhotoError(f"{pair.truth}: no prediction")
        prediction = masks.read(pair.prediction, settings.max_pixels)
    photo = _Photo(pair, settings, truth, prediction)
    if (fault := masks.scale_fault(prediction.alpha)) is not None:
        photo.notes.append(f"faint prediction: {fault}")
    photo.prediction = _at_size_of_truth(photo)
    values, curves = _saliency(photo)
    values |= _matting(photo) | _colour(photo)
    thumbnails = None
    if settings.thumbnails:
        thumbnails = draw(pair, truth, photo.prediction, settings.max_pixels)
    return Score(pair.name, values, curves, tuple(photo.notes), thumbnails)


def _refuse_other_scale(path: Path, grey: masks.Grey) -> None:
    if (fault := masks.scale_fault(grey)) is not None:
        raise PhotoError(f"{path}: {fault}")


def _at_size_of_truth(photo: _Photo) -> Mask:
    found, shape = photo.prediction, photo.truth.shape
    if found.alpha.shape == shape:
        return found
    photo.notes.append(
        f"prediction {_size(found.alpha)} resized to the truth's {_size(photo.truth)}"
    )
    colours = found.colours
    return Mask(
        masks.resize_to(found.alpha, shape, cv2.INTER_LINEAR),
        None if colours is None else masks.resize_to(colours, shape, cv2.INTER_LINEAR),
    )


def _size(pixels: NDArray[Any]) -> str:
    return f"{pixels.shape[1]}×{pixels.shape[0]}"


def _saliency(photo: _Photo) -> tuple[dict[str, float | None], dict[str, Floats]]:
    found, real = masks.to_uint8(photo.prediction.alpha), masks.to_uint8(photo.truth)
    maps = Maps(found, real > saliency.CUT)
    if not maps.truth.any():
        photo.notes.append("no subject in the truth: every F-measure is 0 whatever the prediction")
    curves = {
        "Fm": saliency.f_curve(maps),
        "Em": saliency.e_curve(maps),
        "BIoU": boundary.boundary_iou_curve(maps),
    }
    values: dict[str, float | None] = {
        "Smeasure": saliency.s_measure(maps),
        "MAE": saliency.mae(maps),
        "wFmeasure": weighted_f(maps),
        "adpEm": saliency.e_adaptive(maps),
        "adpFm": saliency.f_adaptive(maps),
        "HCE": float(hce(found, real)),
        "meanMSE": saliency.mse(maps),
        "mBA": boundary.boundary_accuracy(found, real),
    }
    return values | curve_values(curves), curves


def curve_values(curves: dict[str, Floats]) -> dict[str, float | None]:
    """The largest value and the mean of each curve, by metric."""
    return {
        metric: float(value)
        for name, metrics in CURVES.items()
        for metric, value in zip(metrics, (curves[name].max(), curves[name].mean()), strict=True)
    }


def _matting(photo: _Photo) -> dict[str, float | None]:
    prediction, truth = masks.to_unit(photo.prediction.alpha), masks.to_unit(photo.truth)
    values = _named(matting.errors(prediction, truth), "", photo.settings)
    values["IoU"] = matting.mean_iou(prediction, truth)
    trimap = _trimap(photo, truth)
    if trimap is not None:
        values |= _named(matting.errors(prediction, truth, trimap), UNKNOWN, photo.settings)
    return values


def _named(errors: matting.Errors, prefix: str, settings: Settings) -> dict[str, float | None]:
    return {
        f"{prefix}SAD": errors.sad,
        f"{prefix}MSE": _scaled(errors.mse, settings),
        f"{prefix}MAD": _scaled(errors.mad, settings),
        f"{prefix}Grad": errors.grad,
        f"{prefix}Conn": errors.conn,
    }


def _scaled(value: float | None, settings: Settings) -> float | None:
    return value * 1000 if value is not None and settings.permille else value


def _trimap(photo: _Photo, truth: NDArray[np.float64]) -> matting.Trimap | None:
    if photo.pair.trimap is None:
        radius = photo.settings.trimap_radius
        return None if radius is None else matting.derived_trimap(truth, radius)
    grey = masks.read(photo.pair.trimap, photo.settings.max_pixels).alpha
    if grey.max() < np.iinfo(grey.dtype).max // 4:  # 0, 1 and 2 would all be background
        _refuse_other_scale(photo.pair.trimap, grey)
    found = masks.to_uint8(grey)
    if found.shape != truth.shape:
        photo.notes.append(f"trimap {_size(found)} resized to the truth's {_size(truth)}")
    return matting.read_trimap(masks.resize_to(found, truth.shape, cv2.INTER_NEAREST))


def _colour(photo: _Photo) -> dict[str, float | None]:
    if photo.pair.foreground is None:
        return {}
    if photo.prediction.colours is None:
        raise PhotoError(f"{photo.pair.prediction}: a mask has no colours to compare; give cutouts")
    foreground = open_photo(photo.pair.foreground, photo.settings.max_pixels).pixels
    shape = photo.truth.shape
    if foreground.shape[:2] != shape:
        photo.notes.append(
            f"foreground {_size(foreground)} resized to the truth's {_size(photo.truth)}"
        )
        foreground = masks.resize_to(foreground, shape, cv2.INTER_LINEAR)
    errors = colour.colour_errors(photo.prediction.colours, foreground, masks.to_unit(photo.truth))
    return {
        "FgMSE": _scaled(errors.mse, photo.settings),
        "FgMAD": _scaled(errors.mad, photo.settings),
    }
