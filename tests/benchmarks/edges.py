"""What ``--edges`` gains and costs: ``python tests/benchmarks/edges.py PHOTOS TRUTHS``.

The photos are matted by a model at each of ``--sizes``, as they are and shrunk to each of
``--shares`` of their sides, with their truths. Told for each way of ``--edges`` are the means of
``birefcli score``'s MAD (times 1000), MSE (times 1000), Grad, Conn and IoU, and the CPU
milliseconds a photo takes on one thread, after the network and with the enlargement.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from birefcli.images.files import open_photo
from birefcli.images.photo import Photo, to_unit
from birefcli.matting.predictor import Predictor
from birefcli.models.load import load_model
from birefcli.options import Edges, ModelOptions, Size
from birefcli.scoring import masks, pairs
from birefcli.scoring.metrics import matting

MOST = 300_000_000  # pixels of a photo
WAYS = (Edges.NONE, Edges.GUIDED, Edges.MATTING)


@dataclass(frozen=True)
class Case:
    """A photo with its truth, at one size."""

    photo: Photo
    truth: np.ndarray


def main() -> None:
    options = arguments()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    cases = [read(pair) for pair in found(options.photos, options.truths)][: options.count]
    print("input  photo MP  ratio  edges      MAD    MSE   Grad   Conn     IoU  CPU ms")
    for side in options.sizes:
        model = ModelOptions(options.model, Size(side, side), device="cpu")
        predictor = load_model(model).predictor
        for share in options.shares:
            row(predictor, [shrunk(case, share) for case in cases])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("truths", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--sizes", type=numbers(int), default=[384], metavar="N,N")
    parser.add_argument("--shares", type=numbers(float), default=[1.0], metavar="X,X")
    parser.add_argument("--count", type=int, help="only the first so many photos")
    return parser.parse_args()


def numbers(kind):
    return lambda text: [kind(part) for part in text.split(",")]


def found(photos: Path, truths: Path) -> list[pairs.Pair]:
    sources = pairs.resolve(pairs.Sources(predictions=None, truths=truths, photos=photos))
    return pairs.match(sources).pairs


def read(pair: pairs.Pair) -> Case:
    assert pair.photo is not None
    photo = open_photo(pair.photo, MOST)
    return Case(photo, masks.to_unit(masks.read(pair.truth, MOST).alpha))


def shrunk(case: Case, share: float) -> Case:
    if share == 1:
        return case
    height, width = (max(1, round(length * share)) for length in case.photo.shape)
    pixels, truth = (
        cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA)
        for plane in (case.photo.pixels, case.truth)
    )
    return Case(Photo(pixels), truth)


def row(predictor: Predictor, cases: list[Case]) -> None:
    """Print a line for each way, all from the same output of the network."""
    alphas = [predictor.alphas([predictor.prepare(case.photo)])[0] for case in cases]
    pixels = np.mean([np.prod(case.photo.shape) for case in cases])
    ratio = pixels / (predictor.size.width * predictor.size.height)
    for way in WAYS:
        predictor.edges = way
        seconds, errors = 0.0, []
        for case, alpha in zip(cases, alphas, strict=True):
            started = time.process_time()
            found = predictor.matte(case.photo, alpha, None).alpha
            seconds += time.process_time() - started
            errors.append(figures(to_unit(found).astype(np.float64), case.truth))
        mad, mse, grad, conn, iou = np.mean(errors, 0)
        print(
            f"{predictor.size.width:5}  {pixels / 1e6:8.2f}  {ratio:5.2f}  {way.value:8}"
            f" {mad * 1000:5.2f}  {mse * 1000:5.2f}  {grad:5.2f}  {conn:5.2f}  {iou:.4f}"
            f"  {seconds / len(cases) * 1000:6.1f}"
        )
        sys.stdout.flush()


def figures(alpha: np.ndarray, truth: np.ndarray) -> list[float]:
    found = matting.errors(alpha, truth)
    assert found.mad is not None
    assert found.mse is not None
    return [found.mad, found.mse, found.grad, found.conn, matting.mean_iou(alpha, truth)]


if __name__ == "__main__":
    main()
