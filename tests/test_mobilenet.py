"""The backbone of ``mini``, held against timm's, and what it spares a run."""

import subprocess
import sys

import pytest
import torch

from birefcli import weights
from birefcli.birefnet.mobilenet import CHANNELS, NAME, MobileNet


@pytest.fixture(scope="module")
def timms():
    timm = pytest.importorskip("timm")
    return timm.create_model(NAME, features_only=True, pretrained=False, out_indices=(1, 2, 3, 4))


def test_features_equal_timms_with_the_same_weights(timms):
    ours = weights.load(weights.resolve("mini")).bb
    timms.load_state_dict(ours.state_dict())
    timms.eval()
    image = torch.randn(2, 3, 96, 160)
    with torch.inference_mode():
        for map_, theirs in zip(ours(image), timms(image), strict=True):
            torch.testing.assert_close(map_, theirs, rtol=0, atol=0)


def test_weights_have_timms_names_in_timms_order(timms):
    assert list(MobileNet().state_dict()) == list(timms.state_dict())


def test_channels_are_those_of_the_maps(timms):
    assert timms.feature_info.channels() == CHANNELS
    maps = MobileNet().eval()(torch.zeros(1, 3, 64, 64))
    assert [map_.shape[1] for map_ in maps] == CHANNELS
    assert [64 // map_.shape[2] for map_ in maps] == [4, 8, 16, 32]


def test_training_starts_with_filters_as_large_as_timms(timms):
    torch.manual_seed(0)
    fresh, theirs = MobileNet().state_dict(), timms.state_dict()
    for key, value in fresh.items():
        if value.ndim == 4 and value.numel() > 5000:
            fan_out = value.shape[0] * value[0, 0].numel()
            groups = value.shape[0] if value.shape[1] == 1 else 1
            assert value.std().item() == pytest.approx((2 * groups / fan_out) ** 0.5, rel=0.1)
            assert value.shape == theirs[key].shape


def test_loading_mini_imports_neither_timm_nor_a_compiler():
    code = (
        "import sys, torch; from birefcli import weights;"
        "network = weights.load(weights.resolve('mini'));"
        "torch.set_grad_enabled(False); network(torch.zeros(1, 3, 64, 64));"
        "print([m for m in ('timm', 'torchvision', 'torch._dynamo') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert shown.stdout.decode().strip() == "[]"
