"""The network prepared for a CPU: the numbers of the network it is made of, in fewer passes."""

import copy
import platform

import pytest
import torch
from support import known_image, known_network
from torch import nn
from torch.nn import functional as F

from birefcli.birefnet import MINI, BiRefNet, Config
from birefcli.birefnet.aspp import DeformableASPP
from birefcli.birefnet.decoder import ImageBlock, image_patches
from birefcli.birefnet.inference import InferenceNetwork, convolution
from birefcli.birefnet.inference.convolution import Convolution, onednn
from birefcli.birefnet.inference.decoder import Head, _order, cut
from birefcli.birefnet.inference.detail import Detail
from birefcli.birefnet.inference.pyramid import Pyramid
from birefcli.models import weights

SWIN = Config(
    "swin", channels=8, depths=(1, 2, 1, 1), heads=(1, 1, 2, 2), window=2,
    width=8, aspp_width=8, kernels=(1, 3, 7), gradient_width=4,
)  # fmt: skip
LAST = torch.channels_last


@pytest.fixture(scope="module")
def mini():
    return weights.load_network(weights.resolve("mini"))


@pytest.fixture(autouse=True)
def same_random_numbers():
    torch.manual_seed(0)


@pytest.fixture(params=["oneDNN", "plain torch"])
def way(request, monkeypatch):
    """With oneDNN's operators and, as on other processors, without."""
    convolution.onednn.cache_clear()
    if request.param == "plain torch":
        monkeypatch.setattr(platform, "machine", lambda: "riscv64")
        assert onednn() is None
    elif onednn() is None:
        pytest.skip("this torch lacks oneDNN's operators")
    yield request.param
    convolution.onednn.cache_clear()


def alpha(network, image):
    with torch.inference_mode():
        return torch.sigmoid(network(image).float())


def shaken(module):
    """A module in eval mode whose weights and norms are none of those it begins with."""
    for name, tensor in module.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        elif tensor.is_floating_point():
            tensor.normal_(std=0.3)
    return module.eval()


# The whole


@pytest.mark.parametrize("size", [(1, 32, 32), (2, 96, 160), (1, 224, 64)])
def test_mini_gives_the_same_alpha(mini, way, size):
    image = torch.randn(size[0], 3, *size[1:])
    expected = alpha(mini, image)
    network = InferenceNetwork(mini)
    for _ in range(2):  # weights are packed in the first pass
        assert torch.allclose(alpha(network, image), expected, atol=1e-4)


def test_a_network_with_known_weights_gives_the_same_alpha(way):
    for config in (MINI, SWIN):
        plain = known_network(config)
        image = known_image(96, 128, 3)
        expected = alpha(plain, image)
        assert expected.std() > 0.01, "a flat map would be no test"
        assert torch.allclose(alpha(InferenceNetwork(plain), image), expected, atol=1e-4)


def test_sizes_and_layouts_may_change_from_one_photo_to_the_next(mini):
    network = InferenceNetwork(mini)
    for size in ((64, 96), (96, 64), (64, 96), (192, 192)):
        image = torch.randn(1, 3, *size)
        expected = alpha(mini, image)
        assert torch.allclose(alpha(network, image), expected, atol=1e-4)
        channels_last = image.contiguous(memory_format=LAST)
        assert torch.allclose(alpha(network, channels_last), expected, atol=1e-4)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float16, 0.01), (torch.bfloat16, 0.08)])
def test_half_precision_gives_nearly_the_same_alpha(dtype, close):
    plain, image = known_network(SWIN), known_image(64, 96, 1)
    exact = alpha(plain, image)
    half = InferenceNetwork(copy.deepcopy(plain).to(dtype))
    with torch.inference_mode():
        assert half(image.to(dtype)).dtype == dtype
    assert (alpha(half, image.to(dtype)) - exact).abs().max() < close
    # What overflows is done again by such a copy.
    assert (alpha(copy.deepcopy(half).float(), image) - exact).abs().max() < close


def test_the_network_it_is_made_of_is_left_as_it_is(mini):
    before = {key: value.clone() for key, value in mini.state_dict().items()}
    alpha(InferenceNetwork(mini), torch.randn(1, 3, 64, 64))
    after = mini.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_wrong_shape_is_refused(mini):
    with pytest.raises(ValueError, match="multiples of 32"):
        InferenceNetwork(mini)(torch.zeros(1, 3, 64, 65))


@pytest.mark.parametrize(
    "name",
    ["bb.blocks.2.0.conv_pw.weight", "bb.conv_stem.weight", "decoder.decoder_block3.bn_in.bias",
     "squeeze_module.0.dec_att.aspp1.atrous_conv.offset_conv.bias"],
)  # fmt: skip
def test_weights_that_are_no_numbers_do_not_vanish_in_a_relu(name):
    network = BiRefNet(MINI).eval()
    with torch.no_grad():
        network.get_parameter(name).view(-1)[0] = float("nan")
    with torch.inference_mode():
        assert not InferenceNetwork(network)(torch.randn(1, 3, 64, 64)).isfinite().any()


def test_a_watcher_hears_of_modules_all_through_a_pass(mini):
    heard = []
    network = InferenceNetwork(mini)
    for module in network.modules():
        module.register_forward_hook(lambda *_: heard.append(1))
    alpha(network, torch.randn(1, 3, 64, 64))
    assert len(heard) > 100


# Its parts


@pytest.mark.parametrize("then", ["none", "relu", "hardtanh"])
@pytest.mark.parametrize(
    ("kernel", "stride", "groups"), [(1, 1, 1), (3, 2, 1), (5, 2, 8), (3, 1, 8)]
)
def test_a_convolution_its_norm_and_its_activation_are_one(way, then, kernel, stride, groups):
    norm = shaken(nn.BatchNorm2d(16))
    conv = nn.Conv2d(8, 16, kernel, stride, kernel // 2, groups=groups, bias=kernel == 3)
    after = {"none": lambda x: x, "relu": F.relu, "hardtanh": F.relu6}[then]
    one = Convolution.of(conv, norm, then)
    for size in ((9, 11), (4, 6), (9, 11)):
        x = 3 * torch.randn(1, 8, *size).contiguous(memory_format=LAST)
        with torch.inference_mode():
            assert torch.allclose(one(x), after(norm(conv(x))), atol=1e-4)


@pytest.mark.parametrize("then", ["none", "relu"])
def test_a_convolution_adds_another_map_before_its_activation(way, then):
    conv = nn.Conv2d(8, 16, 3, padding=1)
    x, other = (torch.randn(1, c, 5, 7).contiguous(memory_format=LAST) for c in (8, 16))
    with torch.inference_mode():
        expected = conv(x) + other
        ours = Convolution.of(conv, then=then)(x, other)
    assert torch.allclose(ours, expected.relu() if then == "relu" else expected, atol=1e-5)


@pytest.mark.parametrize("kernels", [(3,), (1, 3, 7), (5, 3)])
def test_a_pyramid_in_sweeps_equals_its_branches(kernels, monkeypatch):
    pyramid = shaken(DeformableASPP(16, 8, kernels))
    x = torch.randn(1, 16, 21, 30).contiguous(memory_format=LAST)
    monkeypatch.setattr("birefcli.birefnet.inference.pyramid.TAPS", 2000)  # several tiles
    with torch.inference_mode():
        ours, expected = Pyramid(pyramid)(x), pyramid(x)
    assert ours.is_contiguous(memory_format=LAST)
    assert torch.allclose(ours, expected, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (8, 4)])
def test_the_images_share_of_the_logits_is_right_up_to_the_border(size):
    block = ImageBlock(3, 10, 32)
    weight, image = torch.randn(1, 10, 1, 1), torch.randn(1, 3, *size)
    with torch.inference_mode():
        expected = F.conv2d(block(image), weight)
        ours = Detail(block, weight)(image.contiguous(memory_format=LAST))
    assert torch.allclose(ours, expected, atol=1e-5)


def test_the_head_is_the_last_two_convolutions():
    decoder = known_network(SWIN).decoder
    inner, _, bias = decoder.head()
    x = torch.randn(1, SWIN.width, 9, 13).contiguous(memory_format=LAST)
    block = decoder.decoder_block1
    with torch.inference_mode():
        expected = F.conv2d(block.bn_out(block.conv_out(x)), inner, bias)
        assert torch.allclose(Head(block, inner, bias)(x), expected, atol=1e-4)


def test_patches_cut_from_patches_are_the_images_in_another_order():
    image = torch.randn(1, 3, 64, 96).contiguous(memory_format=LAST)
    for grid, patches in zip((4, 8, 16, 32), cut(image), strict=True):
        plain = image_patches(image, torch.Size((64 // grid, 96 // grid)))
        assert torch.equal(patches, plain[:, _order(grid)])
        assert patches.is_contiguous(memory_format=LAST)
