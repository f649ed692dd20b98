"""Photos at once on a CPU: as many as go beside each other, where memory allows."""

import pytest
import torch

from birefcli.birefnet import MINI, SWIN_T, BiRefNet
from birefcli.birefnet.inference.threads import team
from birefcli.matting.batch_size import EXTRA, FEATURES, MANY, choose_batch_size, default_batch
from birefcli.matting.device import Placement
from birefcli.matting.predictor import Predictor
from birefcli.options import Precision, Size
from birefcli.system import machine

CPU = Placement(torch.device("cpu"), Precision.FP32)


def predictor(config, side=64):
    with torch.device("meta"):
        network = BiRefNet(config)
    return Predictor(network.to_empty(device="cpu"), Size(side, side), CPU)


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    if team() is None:
        pytest.skip("torch's threads are not OpenMP's")
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("photos", "taken"), [(0, 1), (1, 2), (2.5, 3), (100, 4)])
def test_a_small_network_takes_a_photo_for_each_thread_that_memory_has_room_for(
    four_threads, monkeypatch, photos, taken
):
    """``photos``: for whose features there is room beside the first one's."""
    each = FEATURES * 64 * 64
    monkeypatch.setattr(machine, "memory", lambda: int(photos * each / EXTRA))
    made = predictor(MINI)
    assert default_batch(made) == taken
    assert choose_batch_size(made, 10 * MANY) == taken


def test_where_memory_is_not_known_it_takes_one(four_threads, monkeypatch):
    monkeypatch.setattr(machine, "memory", lambda: None)
    assert default_batch(predictor(MINI)) == 1


def test_a_large_network_takes_one(four_threads):
    assert default_batch(predictor(SWIN_T)) == 1
