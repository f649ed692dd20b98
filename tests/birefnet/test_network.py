"""The network: against recorded outputs, against plainer formulations, and in every mode.

``data/logits.npz`` and ``data/stages_lite_256x256.json`` are outputs of the BiRefNet author's code
(commit 25cb930; PyTorch on a CPU, float32), every third row and column of the logits. Keys are
``{large|lite}_{height}x{width}_seed{seed}_{new|legacy}``: weights and image come from
:mod:`support`, and new and legacy are the two orders of image patches.
"""

import contextlib
import copy
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support import DATA, known_image, known_network, known_swin_t, known_weights, published
from torch import nn
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from birefcli.birefnet import MINI, SWIN_L, SWIN_T, BiRefNet, Config, Supervision
from birefcli.birefnet.decoder import image_patches, resize, resize_through
from birefcli.birefnet.deform import DeformableConv, deform_conv2d_plain, modulated_deform_conv2d
from birefcli.birefnet.inference import InferenceNetwork
from birefcli.birefnet.swin import WindowAttention, windows
from birefcli.models.weights import columns_to_channels

SWIN = {"channels": 8, "depths": (1, 2, 1, 1), "heads": (1, 1, 2, 2), "window": 2}
NARROW = {"width": 8, "aspp_width": 8, "kernels": (1, 3), "gradient_width": 4}
SMALL = Config("swin", **SWIN, **NARROW)
NETWORKS = {"large": SWIN_L, "lite": SWIN_T}
TOLERANCE = 1e-4  # after the sigmoid


def dynamo(test):
    """A test of torch's compiler, which says much of itself and knows not every Python."""

    @pytest.mark.filterwarnings("ignore")
    @functools.wraps(test)
    def tried(*given, **named):
        from torch._dynamo import is_dynamo_supported

        if not is_dynamo_supported():
            pytest.skip("this torch compiles nothing for this Python")
        test(*given, **named)

    return tried


@pytest.fixture(autouse=True)
def same_random_numbers():
    torch.manual_seed(0)


@pytest.fixture
def small():
    """A whole BiRefNet with a Swin of a few thousand numbers, known weights, in eval mode."""
    return known_network(SMALL)


@pytest.fixture(scope="module")
def lite():
    return known_swin_t()


@pytest.fixture(scope="module")
def large():
    return known_network(SWIN_L)


@contextlib.contextmanager
def trained_with(network, order):
    """The network as it is when its file's patch order was ``order``: new or legacy."""
    convolutions = [network.decoder.get_submodule(f"ipt_blk{i}").conv1 for i in (2, 3, 4, 5)]
    before = [conv.weight.data for conv in convolutions]
    if order == "legacy":
        for conv in convolutions:
            conv.weight.data = columns_to_channels(conv.weight.data)
    yield
    for conv, weight in zip(convolutions, before, strict=True):
        conv.weight.data = weight


def alpha(network, image):
    with torch.inference_mode():
        return torch.sigmoid(network(image))[0, 0].numpy()


def recorded_alpha(name, size, order):
    """Every third row and column of what the authors' code computes."""
    with np.load(DATA / "logits.npz") as recorded:
        logits = recorded[f"{name}_{size[0]}x{size[1]}_seed7_{order}"]
    return torch.sigmoid(torch.from_numpy(logits)).numpy()


def assert_as_recorded(network, size, order, name):
    image = known_image(*size, 7)
    with trained_with(network, order):
        ways = [alpha(network, image), alpha(InferenceNetwork(network), image)]
    expected = recorded_alpha(name, size, order)
    assert expected.std() > 0.05, "a flat map would be no test"
    for ours in ways:
        assert np.abs(ours[::3, ::3] - expected).max() < TOLERANCE


# Against recorded outputs


@pytest.mark.parametrize(
    ("size", "order"),
    [
        ((256, 256), "legacy"),
        ((288, 416), "new"),
        # The other size and the other order, each once more.
        pytest.param((256, 256), "new", marks=pytest.mark.slow),
    ],
)
def test_swin_t_computes_what_the_authors_code_computes(lite, size, order):
    assert_as_recorded(lite, size, order, "lite")


@pytest.mark.parametrize(
    ("size", "order"),
    [
        # It takes seconds to build; Swin-T has the same layers.
        pytest.param((256, 256), "new", marks=pytest.mark.slow),
        pytest.param((256, 256), "legacy", marks=pytest.mark.slow),
        pytest.param((384, 544), "new", marks=pytest.mark.slow),
    ],
)
def test_swin_l_computes_what_the_authors_code_computes(large, size, order):
    assert_as_recorded(large, size, order, "large")


@pytest.mark.slow
def test_swin_l_computes_what_the_authors_code_computes_at_1024(large):
    folder = os.environ.get("BIREFCLI_REFERENCE")
    if not folder:
        pytest.skip("BIREFCLI_REFERENCE names no folder with the recorded logits.npz")
    with np.load(Path(folder) / "logits.npz") as recorded:
        logits = recorded["large_1024x1024_seed7_new"]
    expected = torch.sigmoid(torch.from_numpy(logits)).numpy()
    ours = alpha(large, known_image(1024, 1024, 7))
    assert np.abs(ours[::4, ::4] - expected).max() < TOLERANCE


def test_wrong_patch_order_is_far_outside_the_tolerance(lite):
    right = recorded_alpha("lite", (256, 256), "legacy")
    wrong = alpha(lite, known_image(256, 256, 7))[::3, ::3]
    assert np.abs(right - wrong).max() > 500 * TOLERANCE


def test_every_stage_of_swin_t_computes_what_the_authors_code_computes(lite):
    recorded = json.loads((DATA / "stages_lite_256x256.json").read_text())
    image = known_image(256, 256, 7)
    seen = {name: [] for name in recorded}
    hooks = [
        lite.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: seen[name].extend(out if name == "bb" else [out])
        )
        for name in recorded
    ]
    try:
        with torch.no_grad():
            entered = []
            last = lite.decoder.decoder_block1
            hooks.append(
                last.conv_in.register_forward_pre_hook(lambda _, inputs: entered.extend(inputs))
            )
            lite(image)
            # The forward pass merges these blocks with the convolution after them.
            last(entered[0])
            lite.decoder.ipt_blk1(image)
    finally:
        for hook in hooks:
            hook.remove()
    for name, expected in recorded.items():
        assert len(seen[name]) == len(expected), name
        for ours, stage in zip(seen[name], expected, strict=True):
            assert list(ours.shape) == stage["shape"], name
            close = {"abs": 1e-4, "rel": 1e-4}
            ours = ours.detach()
            assert float(ours.mean()) == pytest.approx(stage["mean"], **close), name
            assert float(ours.std()) == pytest.approx(stage["std"], **close), name
            first = ours.flatten()[:8].tolist()
            assert first == pytest.approx(stage["first8"], **close), name


@pytest.mark.parametrize("name", ["large", "lite"])
def test_tensors_are_named_and_shaped_as_in_the_published_files(name):
    with torch.device("meta"):
        network = BiRefNet(NETWORKS[name])
    ours = {
        key: (tuple(value.shape), str(value.dtype).removeprefix("torch."))
        for key, value in network.state_dict().items()
    }
    assert ours == published(name)


# Modes, sizes, precisions


def test_eval_computes_nothing_that_training_alone_needs(small):
    def called(module, *_):
        pytest.fail("computed in eval mode")

    names = [f"{kind}_{i}" for kind in ("conv_ms_spvn", "gdt_convs_pred") for i in (2, 3, 4)]
    for name in names:
        small.decoder.get_submodule(name).register_forward_hook(called)
    with torch.inference_mode():
        assert small(known_image(64, 64, 0)).shape == (1, 1, 64, 64)


def test_training_gives_all_that_supervision_needs(small):
    out = small.train()(known_image(64, 96, 0).expand(2, -1, -1, -1))
    assert isinstance(out, Supervision)
    assert out.logits.shape == (2, 1, 64, 96)
    maps = [(2, 1, 2, 3), (2, 1, 4, 6), (2, 1, 8, 12)]
    assert [tuple(side.shape) for side in out.sides] == maps
    assert [tuple(gradient.shape) for gradient in out.gradients] == maps


def test_a_loss_over_all_outputs_reaches_every_parameter(small):
    out = small.train()(torch.randn(2, 3, 64, 64))
    loss = sum(part.square().mean() for part in (out.logits, *out.sides, *out.gradients))
    loss.backward()
    unreached = [
        name
        for name, parameter in small.named_parameters()
        if parameter.grad is None or not parameter.grad.isfinite().all()
    ]
    assert unreached == []
    weights = [p for name, p in small.named_parameters() if name.endswith("weight")]
    assert all(parameter.grad.any() for parameter in weights)


def test_photos_of_a_batch_do_not_see_each_other(small):
    first, second = known_image(64, 96, 1), known_image(64, 96, 2)
    with torch.inference_mode():
        both = small(torch.cat([first, second]))
        assert torch.allclose(both[:1], small(first), atol=1e-4)
        assert torch.allclose(both[1:], small(second), atol=1e-4)
        assert not torch.allclose(both[:1], both[1:], atol=0.1)


def test_logits_do_not_depend_on_memory_layout(small):
    image = known_image(64, 96, 1)
    with torch.inference_mode():
        plain = small(image)
        assert torch.allclose(
            small(image.contiguous(memory_format=torch.channels_last)), plain, atol=1e-4
        )


def test_smallest_input_works(small):
    with torch.inference_mode():
        assert small(torch.randn(1, 3, 32, 32)).shape == (1, 1, 32, 32)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float16, 0.01), (torch.bfloat16, 0.08)])
def test_half_precision_gives_nearly_the_same_alpha(small, dtype, close):
    image = known_image(64, 96, 1)
    exact = alpha(small, image)
    with torch.inference_mode():
        logits = small.to(dtype)(image.to(dtype))
    assert logits.dtype == dtype
    assert np.abs(torch.sigmoid(logits.float())[0, 0].numpy() - exact).max() < close


@pytest.mark.parametrize(
    "shape", [(3, 64, 64), (1, 1, 64, 64), (1, 4, 64, 64), (1, 3, 64, 65), (1, 3, 0, 64)]
)
def test_wrong_shape_is_refused(small, shape):
    with pytest.raises(ValueError, match="multiples of 32"):
        small(torch.zeros(shape))


@pytest.mark.parametrize(
    "config",
    [
        MINI,
        Config("lcnet_035", **NARROW),  # gives five maps
        Config("convnext_atto", **NARROW),  # gives four
    ],
    ids=lambda config: config.backbone,
)
def test_other_backbones_give_logits_of_the_right_shape(config):
    network = BiRefNet(config)
    with torch.inference_mode():
        logits = network.eval()(torch.randn(1, 3, 64, 96))
    assert logits.shape == (1, 1, 64, 96)
    assert logits.isfinite().all()
    out = network.train()(torch.randn(2, 3, 64, 64))
    assert [side.shape[2] for side in out.sides] == [2, 4, 8]


def test_config_survives_json():
    for config in (MINI, SWIN_L):
        assert Config(**json.loads(json.dumps(vars(config)))) == config


# Image patches


def test_patches_hold_the_image_and_are_stacked_by_colour_row_column():
    image = torch.arange(2 * 3 * 8 * 12.0).view(2, 3, 8, 12)
    patches = image_patches(image, (4, 4))
    assert patches.shape == (2, 3 * 2 * 3, 4, 4)
    for colour in range(3):
        for row in range(2):
            for column in range(3):
                channel = (colour * 2 + row) * 3 + column
                part = image[:, colour, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
                assert torch.equal(patches[:, channel], part)


def test_weights_for_columns_first_read_patches_stacked_columns_first():
    image, grid, size = torch.randn(1, 3, 8, 8), 4, 2
    cut = image.view(1, 3, grid, size, grid, size)
    columns_first = cut.permute(0, 4, 2, 1, 3, 5).reshape(1, -1, size, size)
    weight = torch.randn(5, 3 * grid * grid, 3, 3)
    old = F.conv2d(columns_first, weight, padding=1)
    new = F.conv2d(image_patches(image, (size, size)), columns_to_channels(weight), padding=1)
    assert torch.allclose(old, new, atol=1e-4)


# Deformable convolution


def deformable(kernel, n=2, channels=3, height=9, width=7, reach=6.0):
    """Random arguments whose samples fall inside, on the border and far outside."""
    taps = kernel * kernel
    return (
        torch.randn(n, channels, height, width),
        reach * torch.randn(n, 2 * taps, height, width),
        2 * torch.rand(n, taps, height, width),
        torch.randn(4, channels, kernel, kernel),
        kernel // 2,
    )


def sampled(image, y, x):
    """Bilinear sample of H×W at one place, zero outside."""
    total = 0.0
    for row in (int(np.floor(y)), int(np.floor(y)) + 1):
        for column in (int(np.floor(x)), int(np.floor(x)) + 1):
            if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                total += (1 - abs(y - row)) * (1 - abs(x - column)) * image[row, column]
    return total


def test_deformable_convolution_is_what_its_definition_says():
    x, offset, modulation, weight, padding = deformable(3, n=1, channels=2, height=4, width=5)
    ours = deform_conv2d_plain(x, offset, modulation, weight, padding)[0].numpy()
    image, moved = x[0].numpy(), offset[0].view(9, 2, 4, 5).numpy()
    expected = np.zeros_like(ours)
    for row, column, tap in np.ndindex(4, 5, 9):
        y = row - 1 + tap // 3 + moved[tap, 0, row, column]
        x_ = column - 1 + tap % 3 + moved[tap, 1, row, column]
        for channel in range(2):
            value = sampled(image[channel], y, x_) * modulation[0, tap, row, column].item()
            expected[:, row, column] += weight[:, channel, tap // 3, tap % 3].numpy() * value
    assert np.abs(ours - expected).max() < 1e-4


@pytest.mark.parametrize("kernel", [1, 3, 7])
@pytest.mark.parametrize("reach", [0.0, 0.5, 6.0, 1000.0])
def test_all_ways_of_deformable_convolution_agree(kernel, reach):
    x, offset, modulation, weight, padding = deformable(kernel, reach=reach)
    reference = deform_conv2d(x, offset, weight, padding=padding, mask=modulation)
    plain = deform_conv2d_plain(x, offset, modulation, weight, padding)
    with torch.no_grad():
        without_gradients = modulated_deform_conv2d(x, offset, modulation, weight, padding)
    with_gradients = modulated_deform_conv2d(
        x.requires_grad_(), offset, modulation, weight, padding
    )
    for ours in (plain, without_gradients, with_gradients):
        assert torch.allclose(ours, reference, atol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 70)])
def test_all_ways_of_deformable_convolution_agree_on_odd_maps(size):
    arguments = deformable(3, n=3, height=size[0], width=size[1])
    with torch.no_grad():
        ours = modulated_deform_conv2d(*arguments)
        assert torch.allclose(ours, deform_conv2d_plain(*arguments), atol=1e-4)


def test_samples_on_whole_pixels_and_on_the_border_agree():
    x, offset, modulation, weight, padding = deformable(3)
    for offset_ in (offset.round(), torch.full_like(offset, -1.0), torch.full_like(offset, 7.0)):
        arguments = (x, offset_, modulation, weight, padding)
        reference = deform_conv2d(x, offset_, weight, padding=padding, mask=modulation)
        with torch.no_grad():
            assert torch.allclose(modulated_deform_conv2d(*arguments), reference, atol=1e-4)
        assert torch.allclose(deform_conv2d_plain(*arguments), reference, atol=1e-4)


@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_gradients_of_both_deformable_convolutions_agree(kernel):
    gradients = []
    arguments = deformable(kernel)
    for way in (modulated_deform_conv2d, deform_conv2d_plain):
        leaves = [t.detach().clone().requires_grad_() for t in arguments[:4]]
        out = way(*leaves, arguments[4])
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        gradients.append([leaf.grad for leaf in leaves])
    for ours, theirs in zip(*gradients, strict=True):
        assert theirs.any()
        assert torch.allclose(ours, theirs, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_samples_at_exact_places(dtype):
    # 200.25 is 200.25 in float16 and 200 in bfloat16: the sum with the pixel's column must not be.
    width, channels = 300, 2
    x = torch.linspace(0, 1, width).expand(1, channels, 1, width).to(dtype).contiguous()
    offset = torch.zeros(1, 2, 1, width, dtype=dtype)
    offset[:, 1] = 0.25
    arguments = (x, offset, torch.ones(1, 1, 1, width, dtype=dtype), torch.ones(1, channels, 1, 1))
    for way in (modulated_deform_conv2d, deform_conv2d_plain):
        with torch.no_grad():
            half = way(*arguments, 0)
            exact = way(*(t.float() for t in arguments), 0)
        assert half.dtype == dtype
        # Some pixels may be rounded to their other neighbour. A quarter of a column that got lost
        # changes a third of them, or all.
        assert (half != exact.to(dtype)).float().mean() < 0.02


@dynamo
def test_deformable_convolution_compiles_in_one_piece():
    convolution = DeformableConv(3, 4, 3).eval()
    for parameter in convolution.parameters():
        nn.init.normal_(parameter, std=0.5)
    x = torch.randn(1, 3, 8, 8)
    compiled = torch.compile(convolution, backend="eager", fullgraph=True)
    with torch.no_grad():
        assert torch.allclose(compiled(x), convolution(x), atol=1e-4)


@dynamo
def test_window_attention_compiles_in_one_piece(attention):
    x = torch.randn(25, 8)
    compiled = torch.compile(attention, backend="eager", fullgraph=True)
    with torch.no_grad():
        assert torch.allclose(compiled(x, 1, 5, 5), attention(x, 1, 5, 5), atol=1e-4)


@pytest.mark.slow
@dynamo
def test_the_whole_network_compiles_in_one_piece(small):
    image = known_image(64, 96, 1)
    compiled = torch.compile(small, backend="eager", fullgraph=True)
    with torch.no_grad():
        assert torch.allclose(compiled(image), small(image), atol=1e-4)


def test_training_starts_from_an_ordinary_convolution():
    convolution = DeformableConv(3, 4, 3)
    x = torch.randn(1, 3, 8, 8)
    plain = F.conv2d(x, convolution.regular_conv.weight, padding=1)
    assert torch.allclose(convolution(x), plain, atol=1e-5)


# Window attention


SIZES = [(1, 4, 4), (1, 5, 9), (2, 7, 3), (3, 12, 8), (2, 1, 1), (1, 3, 2)]


@pytest.mark.parametrize(("n", "height", "width"), SIZES)
@pytest.mark.parametrize("shift", [0, 2])
def test_cutting_into_windows_and_back_changes_nothing(n, height, width, shift):
    plan = windows(n, height, width, 4, shift, torch.device("cpu"))
    tokens = torch.randn(n * height * width, 3)
    padded = torch.cat([tokens, torch.full((1, 3), float("nan"))])
    assert len(plan.gather) == plan.groups[-1][1] * 16
    assert torch.equal(padded[plan.gather][plan.scatter], tokens)


def attention_of_the_paper(attention, x):
    """Shifted-window attention step by step: pad, roll, cut, mask, attend, and all of it back."""
    size, shift, heads = attention.size, attention.shift, attention.heads
    n, height, width, channels = x.shape
    x = F.pad(x, (0, 0, 0, -width % size, 0, -height % size))
    full_height, full_width = x.shape[1:3]
    x = x.roll((-shift, -shift), (1, 2))

    def cut(t):
        shape = (t.shape[0], full_height // size, size, full_width // size, size, -1)
        return t.reshape(shape).permute(0, 1, 3, 2, 4, 5).reshape(-1, size * size, t.shape[-1])

    tokens = cut(x)
    qkv = attention.qkv(tokens).view(-1, size * size, 3, heads, channels // heads)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    at = torch.tensor([(i, j) for i in range(size) for j in range(size)])
    apart = at[:, None] - at[None] + size - 1
    index = apart[..., 0] * (2 * size - 1) + apart[..., 1]
    bias = attention.relative_position_bias_table[index].permute(2, 0, 1)
    logits = q @ k.transpose(-2, -1) / (channels // heads) ** 0.5 + bias
    if shift:
        region = torch.zeros(1, full_height, full_width, 1)
        parts = (slice(0, -size), slice(-size, -shift), slice(-shift, None))
        for i, rows in enumerate(parts):
            for j, columns in enumerate(parts):
                region[:, rows, columns] = 3 * i + j
        region = cut(region)[:, :, 0]
        mask = torch.where(region[:, :, None] == region[:, None], 0.0, -100.0)
        logits = logits + mask.repeat(n, 1, 1)[:, None]
    out = (logits.softmax(-1) @ v).transpose(1, 2).reshape(-1, size * size, channels)
    grid = (n, full_height // size, full_width // size, size, size, channels)
    out = out.reshape(grid).permute(0, 1, 3, 2, 4, 5).reshape(n, full_height, full_width, channels)
    out = out.roll((shift, shift), (1, 2))[:, :height, :width]
    return attention.proj(out)


@pytest.mark.parametrize(("n", "height", "width"), SIZES)
@pytest.mark.parametrize("shift", [0, 2])
def test_window_attention_is_the_papers(n, height, width, shift):
    attention = WindowAttention(8, 2, 4, shift)
    for parameter in attention.parameters():
        nn.init.normal_(parameter, std=0.7)
    x = torch.randn(n, height, width, 8)
    with torch.no_grad():
        ours = attention.eval()(x.view(-1, 8), n, height, width)
        expected = attention_of_the_paper(attention, x)
    assert torch.allclose(ours.view_as(x), expected, atol=1e-4)


@pytest.fixture
def attention():
    attention = WindowAttention(8, 2, 4, 2).eval()
    for parameter in attention.parameters():
        nn.init.normal_(parameter)
    with torch.inference_mode():
        attention(torch.randn(25, 8), 1, 5, 5)  # whatever is kept between calls is now kept
    return attention


def assert_not_stale(attention):
    """What it computes, just as it is, is what a new one with its weights computes."""
    dtype = attention.qkv.weight.dtype
    fresh = WindowAttention(8, 2, 4, 2).to(dtype).eval()
    fresh.load_state_dict(attention.state_dict())
    x = torch.randn(25, 8, dtype=dtype)
    with torch.no_grad():
        assert torch.allclose(attention(x, 1, 5, 5), fresh(x, 1, 5, 5), atol=1e-5)


@pytest.mark.parametrize("assign", [False, True])
def test_position_bias_follows_loaded_weights(attention, assign):
    state = {key: value + 1 if value.is_floating_point() else value
             for key, value in attention.state_dict().items()}  # fmt: skip
    state["relative_position_bias_table"] = torch.randn(49, 2)
    attention.load_state_dict(state, assign=assign)
    assert_not_stale(attention)


@pytest.mark.parametrize("training", [True, False])
def test_position_bias_follows_a_training_step(attention, training):
    attention.train(training)
    step = torch.optim.AdamW(attention.parameters(), lr=0.5)
    attention(torch.randn(25, 8), 1, 5, 5).square().mean().backward()
    step.step()
    if training:
        attention.eval()
    assert_not_stale(attention)


def test_position_bias_follows_an_average_of_weights_that_never_leaves_eval_mode(attention):
    with torch.no_grad():
        attention.relative_position_bias_table.lerp_(torch.randn(49, 2), 0.5)
    assert_not_stale(attention)


def test_position_bias_follows_a_change_of_type(attention):
    attention.half()
    x = torch.randn(25, 8).half()
    with torch.inference_mode():
        assert attention(x, 1, 5, 5).dtype == torch.float16
    assert attention.bias().dtype == torch.float16
    assert_not_stale(attention)


def test_position_bias_of_a_copy_is_its_own(attention):
    other = copy.deepcopy(attention)
    with torch.no_grad():
        other.relative_position_bias_table.add_(torch.randn(49, 2))
    assert_not_stale(other)
    assert_not_stale(attention)


def test_position_index_of_a_file_is_not_trusted(attention):
    x = torch.randn(25, 8)
    with torch.no_grad():
        before = attention(x, 1, 5, 5)
        state = dict(attention.state_dict())
        state["relative_position_index"] = torch.zeros_like(state["relative_position_index"])
        attention.load_state_dict(state)
        assert torch.allclose(attention(x, 1, 5, 5), before, atol=1e-5)


def test_backward_works_after_a_pass_in_inference_mode(small):
    with torch.inference_mode():
        small(torch.randn(1, 3, 64, 64))
    small(torch.randn(1, 3, 64, 64)).sum().backward()
    assert small.bb.layers[0].blocks[0].attn.relative_position_bias_table.grad.any()


def test_same_network_gives_the_same_numbers_with_and_without_gradients(small):
    image = known_image(64, 96, 1)
    with torch.inference_mode():
        fast = small(image)
    assert torch.allclose(small(image), fast, atol=1e-4)


def test_known_weights_fill_every_tensor():
    state = {"a.weight": torch.empty(2, 3), "a.num_batches_tracked": torch.tensor(5)}
    filled = known_weights(state)
    assert filled["a.weight"].shape == (2, 3)
    assert filled["a.weight"].any()
    assert filled["a.num_batches_tracked"] == 0


# Layout


def test_command_line_loads_nothing_heavy_before_it_is_needed():
    heavy = (
        "torch",
        "timm",
        "cv2",
        "numpy",
        "PIL",
        "torchvision",
        "huggingface_hub",
        "rich.progress",
    )
    every = "import sys, typer.main; from birefcli.cli.app import app"
    every += "; assert len(list(typer.main.get_command(app).commands.values())) > 5"
    code = f"{every}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"


def test_a_block_in_place_and_in_chunks_equals_the_whole(lite, monkeypatch):
    block = lite.bb.layers[0].blocks[1]
    x = torch.randn(50, 96, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("birefcli.birefnet.swin.CHUNK", 7)
    with torch.inference_mode():
        chunked = block(x.clone(), 2, 5, 5)
    with torch.enable_grad():
        assert torch.allclose(chunked, block(x, 2, 5, 5).detach(), atol=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (8, 9), (1, 5), (40, 23)])
def test_image_block_times_a_convolution_equals_both_in_a_row_up_to_the_border(lite, size):
    block = lite.decoder.ipt_blk1
    image = torch.randn(2, 3, *size)
    weight = torch.randn(1, block.conv_out.out_channels, 1, 1)
    with torch.inference_mode():
        both = F.conv2d(block(image), weight)
        assert torch.allclose(block.times(weight, image), both, atol=1e-4)


def test_decoder_block_times_a_convolution_equals_both_in_a_row(lite):
    block = lite.decoder.decoder_block1
    x = torch.randn(2, block.conv_in.in_channels, 9, 11)
    weight = torch.randn(1, block.conv_out.out_channels, 1, 1)
    with torch.inference_mode():
        both = F.conv2d(block(x), weight)
        assert torch.allclose(block.times(weight, block.squeezed(x)), both, atol=1e-4)


@pytest.mark.parametrize("sizes", [((8, 8), (16, 16), (2, 2)), ((3, 5), (6, 9), (2, 1))])
def test_two_resizes_at_once_equal_two_in_a_row(sizes):
    small, middle, last = sizes
    x = torch.randn(2, 3, *small)
    assert torch.allclose(
        resize_through(x, middle, last), resize(resize(x, middle), last), atol=1e-5
    )


@pytest.mark.parametrize("half", [(4, 6), (5, 7)])
def test_a_lateral_connection_joins_maps_of_any_size(lite, half):
    decoder = lite.decoder
    channels = decoder.lateral_block2.conv.in_channels
    x, small = torch.randn(1, channels, 4, 6), torch.randn(1, channels // 2, *half)
    full = torch.randn(1, channels // 2, 8, 12)
    with torch.inference_mode():
        stacked = torch.cat([full, resize(small, full.shape[2:])], 1)
        expected = resize(x, full.shape[2:]) + decoder.lateral_block2(stacked)
        assert torch.allclose(decoder._join(2, x, full, small), expected, atol=1e-3)
