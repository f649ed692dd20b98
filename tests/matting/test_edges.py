"""Edges at the photo's size: nearer to a known truth, what is sure stays, parts as the whole."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from birefcli.images.photo import Photo
from birefcli.matting import gpu as gpu_way
from birefcli.matting.device import Placement
from birefcli.matting.edges import cpu, geometry, gpu
from birefcli.matting.edges.geometry import Plan, plan
from birefcli.matting.edges.laplacian import ColourWindows, closed_form
from birefcli.matting.predictor import ForegroundOptions, Predictor, enlarged_levels
from birefcli.options import Edges, Precision
from birefcli.scoring.metrics import matting

MATTING = Plan(side=3, radius=3, steps=3)
GUIDED = Plan(side=3, radius=5, steps=0)


def scene(height, width, seed=0, strands=True):
    """A photo of a dark head with strands before a bright wall (H×W×3 uint8), and its alpha."""
    noise = np.random.RandomState(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    y, x = (y - height / 2) / min(height, width), (x - width / 2) / min(height, width)
    radius = np.hypot(y, x) * 2
    if strands:
        radius += 0.08 * np.sin(17 * np.arctan2(y, x)) + 0.03 * np.sin(71 * np.arctan2(y, x))
    alpha = np.clip((0.6 - radius) * min(height, width) / 4, 0, 1)[:, :, None]
    subject = np.array([0.25, 0.15, 0.1]) + 0.05 * np.sin(9 * x)[:, :, None]
    wall = np.array([0.7, 0.75, 0.8]) + 0.08 * np.cos(5 * y)[:, :, None]
    photo = alpha * subject + (1 - alpha) * wall + 0.01 * noise.standard_normal((height, width, 1))
    return np.rint(photo.clip(0, 1) * 255).astype(np.uint8), alpha[:, :, 0].astype(np.float32)


def as_network(alpha, size):
    """What a network of that input size would give: 1×h×w."""
    low = F.interpolate(torch.from_numpy(alpha)[None, None], size, mode="area")
    return F.avg_pool2d(low, 3, 1, 1, count_include_pad=False)[0]


def levels(alpha):
    return np.rint(np.clip(alpha, 0, 1) * 65535).astype(np.uint16)


def on_cpu(pixels, low, way=MATTING):
    out = enlarged_levels(low, pixels.shape[:2])
    cpu.refine(pixels, out, way)
    return out


def on_device(pixels, low, way=MATTING):
    """The way of a device, with the CPU as one."""
    alpha = torch.from_numpy(enlarged_levels(low, pixels.shape[:2]).astype(np.float32) / 65535)
    gpu.refine(torch.from_numpy(pixels), alpha, way)
    return levels(alpha.numpy())


def error(found, truth):
    return np.abs(found / 65535 - truth).mean()


# Against the truth


@pytest.mark.parametrize("way", [MATTING, GUIDED], ids=["matting", "guided"])
@pytest.mark.parametrize("refine", [on_cpu, on_device])
def test_edges_come_nearer_to_the_truth(way, refine):
    pixels, truth = scene(300, 360)
    low = as_network(truth, (100, 120))
    before = enlarged_levels(low, truth.shape)
    after = refine(pixels, low, way)
    assert error(after, truth) < 0.5 * error(before, truth)
    whole = [matting.gradient_error(each / 65535.0, truth) for each in (before, after)]
    assert whole[1] < 0.4 * whole[0]


def test_the_closed_form_is_nearer_than_the_guided_filter_alone():
    pixels, truth = scene(300, 360)
    low = as_network(truth, (100, 120))
    assert error(on_cpu(pixels, low), truth) < error(on_cpu(pixels, low, GUIDED), truth)


def test_more_steps_come_nearer_to_the_solution():
    """Of (L + W)x = W·alpha, which a dense solver has exactly."""
    pixels, truth = scene(24, 20)
    planes = [
        torch.from_numpy(plane.copy()).double() / 255 - 0.5 for plane in np.rollaxis(pixels, 2)
    ]
    alpha = as_network(truth, (24, 20))[0].double()
    inside = torch.outer(
        *(torch.tensor(geometry.inside(n, 2), dtype=torch.float64) for n in alpha.shape)
    )
    windows = ColourWindows(planes, inside, gpu._box(2))
    ones = torch.eye(alpha.numel(), dtype=torch.float64).view(-1, *alpha.shape)
    dense = torch.stack([windows.laplacian(one).flatten() for one in ones])
    assert torch.allclose(dense, dense.T, atol=1e-9)
    assert torch.linalg.eigvalsh(dense).min() > -1e-9
    assert windows.laplacian(torch.ones_like(alpha)).abs().max() < 1e-9
    weight = ((2 * alpha - 1) ** 16 + 0.1).flatten()
    exact = torch.linalg.solve(dense + weight.diag(), weight * alpha.flatten()).view_as(alpha)
    far = [(closed_form(windows, alpha, n) - exact.clip(0, 1)).abs().mean() for n in (1, 3, 12)]
    assert far[0] > far[1] > far[2]
    assert far[2] < 0.01 * (alpha - exact).abs().mean()


# What is sure stays


@pytest.mark.parametrize("refine", [on_cpu, on_device])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_photo_without_a_soft_pixel_stays_as_it_is(refine, level):
    pixels, _ = scene(90, 120)
    low = torch.full((1, 30, 40), level)
    assert np.array_equal(refine(pixels, low), levels(np.full((90, 120), level)))


@pytest.mark.parametrize("refine", [on_cpu, on_device])
def test_nothing_changes_far_from_soft_alpha(refine):
    """Though the wall has the subject's colour somewhere."""
    pixels, truth = scene(300, 360)
    pixels[5:25, 10:60] = pixels[150, 180]
    low = as_network(truth, (100, 120))
    before, after = enlarged_levels(low, truth.shape), refine(pixels, low)
    soft = (before > 128) & (before < 65535 - 128)
    reach = MATTING.side * (geometry.REACH + 2)
    grown = torch.from_numpy(soft[None].astype(np.float32))
    near = F.max_pool2d(grown, 2 * reach + 1, 1, reach)[0].numpy() > 0
    assert (after != before).any()
    assert not (after != before)[~near].any()
    assert after.min() == 0
    assert after.max() == 65535


def test_no_ring_at_the_border_of_what_may_change():
    """An even photo tells nothing: alpha is as smooth as before, and no step is larger."""
    pixels = np.full((300, 360, 3), 120, np.uint8)
    _, truth = scene(300, 360, strands=False)
    low = as_network(truth, (100, 120))
    before, after = (
        each.astype(int) for each in (enlarged_levels(low, truth.shape), on_cpu(pixels, low))
    )
    for axis in (0, 1):
        steps = [np.abs(np.diff(each, axis=axis)).max() for each in (before, after)]
        assert steps[1] <= 1.3 * steps[0]  # of which 1.25 is the contrast
    middle = after[150, 180:]
    assert (np.diff(middle) <= 1).all(), "from the subject outwards alpha falls and never rises"


def test_faint_noise_makes_no_edges():
    noise = np.random.RandomState(3)
    pixels = (120 + noise.randint(-1, 2, (300, 360, 3))).astype(np.uint8)
    _, truth = scene(300, 360, strands=False)
    low = as_network(truth, (100, 120))
    flat = on_cpu(np.full_like(pixels, 120), low).astype(int)
    assert np.abs(on_cpu(pixels, low) - flat).mean() < 0.01 * 65535


# Parts as the whole, a device as the CPU


@pytest.mark.parametrize("way", [MATTING, GUIDED, Plan(1, 3, 3), Plan(7, 3, 3)], ids=str)
@pytest.mark.parametrize("shape", [(300, 360), (311, 257), (128, 700)])
def test_a_device_finds_what_the_cpu_finds(way, shape):
    pixels, truth = scene(*shape)
    low = as_network(truth, (100, 120))
    wanted, got = (refine(pixels, low, way).astype(int) for refine in (on_cpu, on_device))
    assert np.abs(got - wanted).mean() < 3e-4 * 65535
    assert np.quantile(np.abs(got - wanted), 0.999) < 0.02 * 65535


@pytest.mark.parametrize("way", [MATTING, GUIDED], ids=["matting", "guided"])
def test_tiles_meet_without_a_seam(way, monkeypatch):
    pixels, truth = scene(301, 362)
    low = as_network(truth, (100, 120))
    whole = [refine(pixels, low, way).astype(int) for refine in (on_cpu, on_device)]
    monkeypatch.setattr(geometry, "TILE", 16)
    monkeypatch.setattr(cpu, "CACHED", 21)
    monkeypatch.setattr(gpu, "LARGE", 33)
    for refine, wanted in zip((on_cpu, on_device), whole, strict=True):
        assert np.abs(refine(pixels, low, way) - wanted).max() <= 65535 * 1e-3


def test_a_photo_of_16_bits_is_as_one_of_8():
    pixels, truth = scene(300, 360)
    low = as_network(truth, (100, 120))
    deep = pixels.astype(np.uint16) * 257
    for refine in (on_cpu, on_device):
        shallow, found = refine(pixels, low).astype(int), refine(deep, low).astype(int)
        assert np.abs(found - shallow).mean() < 1e-3 * 65535


# When


@pytest.mark.parametrize(
    ("edges", "photo", "network", "found"),
    [
        (Edges.AUTO, (1000, 1000), (384, 384), Plan(3, 3, 3)),
        (Edges.AUTO, (3000, 4000), (384, 384), Plan(9, 3, 3)),
        (Edges.AUTO, (1000, 1000), (1024, 1024), None),
        (Edges.AUTO, (410, 335), (384, 384), None),
        (Edges.AUTO, (10**4, 10**4), (1024, 1024), Plan(10, 3, 3)),
        (Edges.MATTING, (400, 400), (384, 384), Plan(1, 3, 3)),
        (Edges.MATTING, (300, 300), (384, 384), None),
        (Edges.GUIDED, (1000, 1000), (384, 384), Plan(3, 5, 0)),
        (Edges.NONE, (3000, 4000), (384, 384), None),
        (Edges.AUTO, (10**6, 1), (384, 384), Plan(1, 3, 3)),
        (Edges.AUTO, (1, 1), (384, 384), None),
    ],
    ids=str,
)
def test_edges_are_found_where_the_photo_is_well_above_the_network(edges, photo, network, found):
    assert plan(edges, photo, network) == found


@pytest.mark.parametrize("refine", [on_cpu, on_device])
@pytest.mark.parametrize("shape", [(32, 4000), (4000, 1), (1, 4000), (7, 5), (2, 900)], ids=str)
@pytest.mark.parametrize("edges", [Edges.MATTING, Edges.GUIDED], ids=str)
def test_narrow_photos_are_refined_too(refine, shape, edges):
    pixels, truth = scene(*shape)
    low = as_network(truth, (1, 2))
    way = plan(edges, shape, (1, 2))
    assert way is not None
    found = refine(pixels, low, way)
    assert found.shape == shape
    assert found.dtype == np.uint16


# In the predictor


class Blurred(torch.nn.Module):
    """A network that sees the dark subject, blurred."""

    def forward(self, image):
        return -8 * F.avg_pool2d(image[:, :1], 5, 1, 2, count_include_pad=False)


def predictor(edges, staged=False):
    made = Predictor(
        Blurred(), (96, 64), Placement(torch.device("cpu"), Precision.FP32), edges=edges
    )
    if staged:
        made._staging = gpu_way.PhotoStaging(torch.device("cpu"), 10**9)
    return made


@pytest.mark.parametrize("colour", [None, ForegroundOptions()], ids=["alpha", "colour"])
@pytest.mark.parametrize("own", [False, True], ids=["opaque", "transparent"])
def test_a_photo_comes_back_from_a_device_as_from_the_cpu(colour, own):
    pixels, truth = scene(300, 360)
    photo = Photo(pixels, levels(truth[::-1]).astype(np.uint8) if own else None)
    here, there = (predictor(Edges.AUTO, staged) for staged in (False, True))
    alpha = here.alphas([here.prepare(photo)])[0]
    wanted, got = (each.matte(photo, alpha, colour) for each in (here, there))
    assert np.abs(got.alpha.astype(int) - wanted.alpha).mean() < 3e-4 * 65535
    assert np.abs(got.foreground.astype(int) - wanted.foreground).mean() < 0.2
    plain = predictor(Edges.NONE).matte(photo, alpha, colour)
    assert (plain.alpha != wanted.alpha).any()


@pytest.mark.parametrize("staged", [False, True])
def test_none_is_the_network_as_it_is(staged):
    pixels, _ = scene(300, 360)
    plain = predictor(Edges.NONE, staged)
    alpha = plain.alphas([plain.prepare(Photo(pixels))])[0]
    found = plain.matte(Photo(pixels), alpha, None).alpha.astype(int)
    assert np.abs(found - enlarged_levels(alpha, (300, 360))).max() <= (3 if staged else 0)


@pytest.mark.parametrize("staged", [False, True])
def test_auto_leaves_a_photo_that_is_not_larger_than_the_input(staged):
    pixels, _ = scene(80, 100)
    alpha = predictor(Edges.NONE).alphas([predictor(Edges.NONE).prepare(Photo(pixels))])[0]
    found, wanted = (
        predictor(edges, staged).matte(Photo(pixels), alpha, None).alpha
        for edges in (Edges.AUTO, Edges.NONE)
    )
    assert np.array_equal(found, wanted)


def test_a_photo_of_fewer_pixels_than_its_file_is_left():
    """Its colours are not those of the photo's size."""
    pixels, _ = scene(150, 180)
    photo = Photo(pixels, whole=(300, 360))
    made = predictor(Edges.MATTING)
    alpha = made.alphas([made.prepare(photo)])[0]
    assert np.array_equal(made.matte(photo, alpha, None).alpha, enlarged_levels(alpha, (300, 360)))
