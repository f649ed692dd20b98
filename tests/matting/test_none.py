"""``edges`` none: the network's alpha as it is, as before edges were refined.

``data/mattes.npz`` holds mattes of birefcli at commit bb822dc, the last one without edges: of a
Swin-T with known weights, by the photo's size, every seventh row and column of 0..65535. Written
by ``PYTHONPATH=CHECKOUT python tests/matting/test_none.py FILE``, CHECKOUT being of that commit.
"""

import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))  # where this file is run and not collected

from support import DATA, known_image, known_swin_t

from birefcli.images.photo import Photo
from birefcli.matting.device import Placement
from birefcli.matting.predictor import Predictor, enlarge, enlarged_levels
from birefcli.options import Precision, Size

CASES = {
    "256x256 to 300x400": ((256, 256), (300, 400)),
    "256x256 to 768x768": ((256, 256), (768, 768)),
    "256x256 to 200x150": ((256, 256), (200, 150)),
    "288x416 to 600x866": ((288, 416), (600, 866)),
    "288x416 to 288x416": ((288, 416), (288, 416)),
}
"""Height and width of the network's input, and of the photo."""
STEP = 7
CLOSE = 13
"""Levels of 65535: 1e-4 of alpha, which processors may be apart, twice for the enlargement."""
CPU = Placement(torch.device("cpu"), Precision.FP32)


@pytest.fixture(scope="module")
def network():
    return known_swin_t()


def photo(shape):
    """A picture of waves and noise."""
    waves = known_image(*shape, 7)[0].permute(1, 2, 0).numpy()
    return Photo(np.rint((waves * 0.2 + 0.5).clip(0, 1) * 255).astype(np.uint8))


@cache
def alpha_of(network, case):
    """The network's alpha of a case, which is the same for any edges."""
    (height, width), shape = CASES[case]
    predictor = Predictor(network, Size(width, height), CPU)
    return predictor.alphas([predictor.prepare(photo(shape))])[0]


def matted(network, case, **more):
    """The photo's matte of a case, and the network's alpha."""
    (height, width), shape = CASES[case]
    predictor = Predictor(network, Size(width, height), CPU, **more)
    alpha = alpha_of(network, case)
    return predictor.matte(photo(shape), alpha, None).alpha, alpha


@pytest.mark.parametrize(
    "case",
    [
        *("256x256 to 768x768", "256x256 to 200x150", "288x416 to 600x866"),
        pytest.param("256x256 to 300x400", marks=pytest.mark.slow),
        pytest.param("288x416 to 288x416", marks=pytest.mark.slow),
    ],
)
def test_mattes_are_what_they_were_before_edges(network, case):
    from birefcli.options import Edges

    with np.load(DATA / "mattes.npz") as recorded:
        before = recorded[case].astype(int)
    assert before.std() > 0.05 * 65535, "a flat matte would be no test"
    now, alpha = matted(network, case, edges=Edges.NONE)
    assert np.abs(now[::STEP, ::STEP] - before).max() <= CLOSE
    # What processors round differently aside, it is the plain enlargement to the bit.
    assert np.array_equal(now, enlarged_levels(alpha, CASES[case][1]))


def test_edges_are_another_matte(network):
    from birefcli.options import Edges

    case = "256x256 to 768x768"
    none, _ = matted(network, case, edges=Edges.NONE)
    assert (matted(network, case, edges=Edges.AUTO)[0] != none).any()


if __name__ == "__main__":
    known = known_swin_t()
    mattes = {case: matted(known, case)[0][::STEP, ::STEP] for case in CASES}
    np.savez_compressed(sys.argv[1], **mattes)


@pytest.mark.parametrize("shape", [(3, 5000), (5000, 3), (40, 50)])
def test_alpha_of_a_thin_photo_is_enlarged_as_at_once(shape):
    alpha = torch.rand(1, 64, 96, generator=torch.Generator().manual_seed(0))
    wanted = F.interpolate(alpha[None], shape, mode="bicubic", antialias=True)[0, 0].clamp(0, 1)
    assert (enlarge(alpha, shape) - wanted).abs().max() < 1e-5
