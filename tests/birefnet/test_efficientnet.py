"""The backbone of ``mini``: held against timm's, what it spares a run, weights made elsewhere."""

import re
import subprocess
import sys

import pytest
import torch

from birefcli.birefnet import MINI, BiRefNet
from birefcli.birefnet.efficientnet import CHANNELS, EPS, NAME, STAGES, EfficientNet
from birefcli.errors import ModelError
from birefcli.matting.predictor import MEAN, STD
from birefcli.models import weights
from birefcli.training import pretrained


@pytest.fixture(scope="module")
def timms():
    timm = pytest.importorskip("timm")
    return timm.create_model(
        NAME, features_only=True, pretrained=False, out_indices=(1, 2, 3, 4), bn_eps=EPS
    )


@pytest.fixture(scope="module")
def trained():
    """A backbone whose norms have seen something."""
    torch.manual_seed(5)
    backbone = EfficientNet().train()
    with torch.no_grad():
        for _ in range(3):
            backbone(torch.randn(4, 3, 64, 64) + 0.3)
    return backbone.eval()


def test_features_equal_timms_with_the_same_weights(timms):
    ours = weights.load_network(weights.resolve("mini")).bb
    timms.load_state_dict(ours.state_dict())
    timms.eval()
    image = torch.randn(2, 3, 96, 160)
    with torch.inference_mode():
        for map_, theirs in zip(ours(image), timms(image), strict=True):
            # Sums of another order; another layer, or a norm's other epsilon, is far outside.
            torch.testing.assert_close(map_, theirs, rtol=1e-4, atol=1e-4 * theirs.std().item())


def test_weights_have_timms_names_in_timms_order(timms):
    assert list(EfficientNet().state_dict()) == list(timms.state_dict())


def test_channels_are_those_of_the_maps(timms):
    assert timms.feature_info.channels() == CHANNELS
    maps = EfficientNet().eval()(torch.zeros(1, 3, 64, 64))
    assert [map_.shape[1] for map_ in maps] == CHANNELS
    assert [64 // map_.shape[2] for map_ in maps] == [4, 8, 16, 32]


def test_training_starts_with_filters_as_large_as_timms(timms):
    torch.manual_seed(0)
    fresh, theirs = EfficientNet().state_dict(), timms.state_dict()
    for key, value in fresh.items():
        if value.ndim == 4 and value.numel() > 5000:
            fan_out = value.shape[0] * value[0, 0].numel()
            groups = value.shape[0] if value.shape[1] == 1 else 1
            assert value.std().item() == pytest.approx((2 * groups / fan_out) ** 0.5, rel=0.1)
            assert value.shape == theirs[key].shape


@pytest.mark.slow  # as one photo by the command imports no more
def test_loading_mini_imports_neither_timm_nor_a_compiler():
    code = (
        "import sys, torch; from birefcli.models import weights;"
        "from birefcli.birefnet.inference import InferenceNetwork;"
        "network = InferenceNetwork(weights.load_network(weights.resolve('mini')));"
        "torch.set_grad_enabled(False); network(torch.zeros(1, 3, 64, 64));"
        "print([m for m in ('timm', 'torchvision', 'torch._dynamo') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert shown.stdout.decode().strip() == "[]"


# Weights made elsewhere


def lite_names(state):
    """The same weights in the names of EfficientNet-Lite-PyTorch, with a classifier behind them."""
    depths = [1, *(stage[0] for stage in STAGES)]
    first = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    other = {
        "conv_pw": "_expand_conv",
        "bn1": "_bn0",
        "conv_dw": "_depthwise_conv",
        "bn2": "_bn1",
        "conv_pwl": "_project_conv",
        "bn3": "_bn2",
    }
    out = {"_fc.weight": torch.zeros(10, 1280), "_bn1.weight": torch.zeros(1280)}
    for key, value in state.items():
        if match := re.fullmatch(r"blocks\.(\d)\.(\d)\.(\w+)\.(\w+)", key):
            stage, block, layer, what = match.groups()
            number = sum(depths[: int(stage)]) + int(block)
            named = (other if int(stage) else first)[layer]
            out[f"_blocks.{number}.{named}.{what}"] = value
        else:
            out[key.replace("conv_stem", "_conv_stem").replace("bn1", "_bn0")] = value
    return out


def test_weights_in_timms_names_are_taken_as_they_are(trained, tmp_path):
    torch.save({**trained.state_dict(), "classifier.bias": torch.zeros(9)}, tmp_path / "timm.pth")
    network = BiRefNet(MINI).eval()
    pretrained.load(tmp_path / "timm.pth", network)
    for key, value in trained.state_dict().items():
        assert torch.equal(network.bb.state_dict()[key], value), key


def test_lite_weights_see_photos_as_they_were_trained_to(trained, tmp_path):
    torch.save(lite_names(trained.state_dict()), tmp_path / "lite.pth")
    network = BiRefNet(MINI).eval()
    pretrained.load(tmp_path / "lite.pth", network)
    photo = torch.rand(2, 3, 64, 96)
    mean, std = (torch.tensor(t).view(3, 1, 1) for t in (MEAN, STD))
    with torch.no_grad():
        wanted = trained((photo * 255 - 127) / 128)
        seen = network.bb((photo - mean) / std)
    for ours, theirs in zip(seen, wanted, strict=True):
        # Beyond the border each sees zeros of its own normalisation.
        apart = (ours - theirs).abs()
        assert apart.mean() < 0.1 * theirs.abs().mean()
        if ours.shape[2] > 8:
            assert apart[..., 6:-6, 6:-6].max() < 1e-4 * theirs.abs().max()


def test_a_file_without_such_weights_is_refused_in_one_line(trained, tmp_path):
    network = BiRefNet(MINI)
    with pytest.raises(ModelError, match=r"none\.pth: no such weights file"):
        pretrained.load(tmp_path / "none.pth", network)
    state = trained.state_dict()
    del state["blocks.3.1.bn2.bias"]
    state["bn1.weight"] = torch.zeros(3)
    torch.save(state, tmp_path / "half.pth")
    with pytest.raises(ModelError, match=r"no weights of efficientnet_lite0; 2 of 2\d\d tensors"):
        pretrained.load(tmp_path / "half.pth", network)
