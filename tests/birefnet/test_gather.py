"""Samples of the deformable pyramid, read tile by tile in two ways."""

import pytest
import torch
from conftest import TIMEOUT

from birefcli.birefnet import gather
from birefcli.birefnet.deform import deform_conv2d_plain
from birefcli.birefnet.gather import Sampler, framed

WAYS = [
    gather._read_plain,
    pytest.param(
        gather._read_compiled,
        marks=pytest.mark.skipif(not gather.compiled(), reason="numba is not installed"),
    ),
]


def arguments(kernel, channels=5, height=9, width=7, reach=6.0):
    """Map, offsets and modulation whose samples fall inside, on the border and far outside."""
    generator = torch.Generator().manual_seed(kernel)
    taps = kernel * kernel
    x = torch.randn(1, channels, height, width, generator=generator)
    offset = reach * torch.randn(1, 2 * taps, height, width, generator=generator)
    return x, offset, 2 * torch.rand(1, taps, height, width, generator=generator)


def places(offset, modulation, kernel):
    """Taps of one kernel as a sampler takes them: pixels×3k²."""
    taps = kernel * kernel
    tap = torch.arange(taps).view(-1, 1, 1)
    lines = offset[0, ::2] + tap // kernel - kernel // 2
    columns = offset[0, 1::2] + tap % kernel - kernel // 2
    return [part.flatten(1).T for part in (lines, columns, modulation[0])]


def in_tiles(read, x, offset, modulation, weight, tile):
    """Deformable convolution of one map by samples and a matrix product."""
    height, width = x.shape[2:]
    sampler = Sampler(framed(x)[0], height, width, (weight.shape[-1] ** 2,))
    taps = torch.cat(places(offset, modulation, weight.shape[-1]), 1)
    matrix = weight.permute(2, 3, 1, 0).reshape(-1, len(weight))
    out = x.new_empty(height * width, len(weight))
    for first in range(0, len(out), tile):
        (samples,) = read(sampler, first, taps[first : first + tile].contiguous())
        out[first : first + tile] = samples @ matrix
    return out.T.reshape(1, -1, height, width)


@pytest.mark.parametrize("read", WAYS)
def test_several_kernels_are_read_in_one_go(read):
    kernels, parts = (1, 3, 1, 5), []
    x = arguments(3)[0]
    for kernel in kernels:
        _, offset, modulation = arguments(kernel)
        parts.append(places(offset, modulation, kernel))
    rows, counts = framed(x)[0], tuple(kernel**2 for kernel in kernels)
    taps = torch.cat([part[i] for i in range(3) for part in parts], 1)
    together = read(Sampler(rows, *x.shape[2:], counts), 5, taps[5:30].contiguous())
    for part, count, ours in zip(parts, counts, together, strict=True):
        (alone,) = read(Sampler(rows, *x.shape[2:], (count,)), 5, torch.cat(part, 1)[5:30])
        assert ours.shape == (25, count * x.shape[1])
        assert torch.allclose(ours, alone, atol=1e-6)


@pytest.mark.parametrize("read", WAYS)
@pytest.mark.parametrize("kernel", [1, 3, 7])
@pytest.mark.parametrize("reach", [0.0, 0.5, 6.0, 1e6])
def test_samples_times_weights_are_the_deformable_convolution(read, kernel, reach):
    x, offset, modulation = arguments(kernel, reach=reach)
    weight = torch.randn(4, 5, kernel, kernel)
    expected = deform_conv2d_plain(x, offset, modulation, weight, kernel // 2)
    for tile in (4, 63, 1000):
        ours = in_tiles(read, x, offset, modulation, weight, tile)
        assert torch.allclose(ours, expected, atol=1e-4)


@pytest.mark.parametrize("read", WAYS)
@pytest.mark.parametrize("size", [(1, 1), (1, 8), (8, 1), (2, 3)])
def test_small_and_narrow_maps_are_read_right(read, size):
    x, offset, modulation = arguments(3, height=size[0], width=size[1])
    weight = torch.randn(4, 5, 3, 3)
    expected = deform_conv2d_plain(x, offset, modulation, weight, 1)
    assert torch.allclose(in_tiles(read, x, offset, modulation, weight, 5), expected, atol=1e-4)


@pytest.mark.parametrize("read", WAYS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_an_offset_that_is_no_number_spoils_its_pixel_and_no_other(read, value):
    x, offset, modulation = arguments(3, reach=0.5)
    offset[0, 4, 2, 3] = value
    weight = torch.randn(4, 5, 3, 3)
    ours = in_tiles(read, x, offset, modulation, weight, 1000)
    spoilt = ~ours.isfinite().all(1)[0]
    # What lies infinitely far outside is zero; what is no number must not pass for one.
    assert spoilt[2, 3] == (value != value)
    assert spoilt.sum() <= 1


@pytest.mark.skipif(not gather.compiled(), reason="numba is not installed")
def test_threads_share_the_pixels_of_a_tile(monkeypatch):
    x, offset, modulation = arguments(3)
    weight = torch.randn(4, 5, 3, 3)
    gather._pool.cache_clear()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    shared = in_tiles(gather._read_compiled, x, offset, modulation, weight, 20)
    plain = in_tiles(gather._read_plain, x, offset, modulation, weight, 20)
    assert torch.allclose(shared, plain, atol=1e-4)
    gather._pool.cache_clear()


@pytest.mark.slow
def test_small_maps_and_a_switch_keep_numba_out(start):
    code = """
import os, sys, torch
from birefcli.birefnet.aspp import DeformableASPP
from birefcli.birefnet.inference.pyramid import Pyramid
pyramid = Pyramid(DeformableASPP(64, 8, (3,)).eval())
for size, switch in ((96, "1"), (160, "0")):
    os.environ["BIREFCLI_NUMBA"] = switch
    with torch.inference_mode():
        pyramid(torch.zeros(1, 64, size, size))
    print("numba" in sys.modules)
sys.exit(0)
"""
    said, _ = start("--version", first=code).communicate(timeout=TIMEOUT)
    assert said.split() == [b"False", b"False"]
