"""The subject's colour: against true foregrounds, and the same in tiles as in one piece.

``data/foreground.npz`` holds two pictures (``image_i``, uint8) composed from a known foreground
(``true_foreground_i``, 0..1) under a known alpha (``alpha_i``, uint8). ``RECORDED`` is how far two
implementations by the author of BiRefNet (commit 25cb930: one on torch, one on OpenCV) came from
that foreground.
"""

import cv2
import numpy as np
import pytest
import torch
from support import DATA

from birefcli.matting.foreground import cpu as foreground_cpu
from birefcli.matting.foreground import gpu as foreground_gpu
from birefcli.matting.foreground import reference

RECORDED = {0: (0.011020, 0.011118), 1: (0.010581, 0.010697)}  # mean absolute error under alpha


@pytest.fixture(scope="module", params=sorted(RECORDED))
def case(request):
    """(number, image uint8 H×W×3, alpha float32 H×W, true foreground float32 H×W×3)."""
    i = request.param
    with np.load(DATA / "foreground.npz") as data:
        alpha = torch.from_numpy(data[f"alpha_{i}"].astype(np.float32) / 255)
        return i, data[f"image_{i}"], alpha, data[f"true_foreground_{i}"].astype(np.float32)


def on_cpu(pixels, alpha, *, everywhere=False):
    """The way of the CPU, for an alpha as a device has it."""
    levels = (alpha * 65535).round().to(torch.int32).numpy().astype(np.uint16)
    return foreground_cpu.estimate_pixels(pixels, levels, everywhere=everywhere)


def on_device(pixels, alpha, *, everywhere=False):
    """The way of a device, with the CPU as one."""
    here = torch.from_numpy(pixels.copy())
    return foreground_gpu.estimate(
        here, alpha, everywhere=everywhere, tile=foreground_gpu.TILE
    ).numpy()


@pytest.fixture(params=[on_device, on_cpu], ids=["device", "cpu"])
def estimate_pixels(request):
    return request.param


def error(estimate, truth, alpha):
    """Mean absolute error of colours in 0..1, weighted by alpha."""
    return np.average(np.abs(estimate - truth).mean(2), weights=np.asarray(alpha))


def scene(height, width, dtype=np.uint8, seed=0, soft=0.15):
    """A blue-green disc with soft edges over red: (photo, alpha, true foreground, all H×W×…)."""
    noise = np.random.RandomState(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    radius = np.hypot((y / height - 0.5) * 2, (x / width - 0.5) * 2)
    alpha = np.clip((0.7 - radius) / soft, 0, 1)
    wave = 0.15 * np.sin(x / width * 9) * np.sin(y / height * 7)
    true = np.stack([0.1 + 0 * wave, 0.6 + wave, 0.7 - wave], -1)
    true += 0.02 * noise.standard_normal(true.shape[:2])[:, :, None]
    back = np.stack([0.9 + 0 * wave, 0.15 - wave, 0.1 + 0 * wave], -1)
    photo = true * alpha[:, :, None] + back * (1 - alpha[:, :, None])
    peak = np.iinfo(dtype).max
    stored = np.rint(photo.clip(0, 1) * peak).astype(dtype)
    return stored, torch.from_numpy(alpha.astype(np.float32)), true


# Against the truth


def test_estimate_is_at_least_as_close_as_the_recorded_ones(case):
    i, image, alpha, truth = case
    channels_first = torch.from_numpy(image).permute(2, 0, 1) / 255
    ours = reference.estimate(channels_first, alpha[None]).permute(1, 2, 0).numpy()
    assert error(ours, truth, alpha) <= min(RECORDED[i])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_estimate_of_a_stored_photo_is_at_least_as_close_as_the_recorded_ones(
    estimate_pixels, case, dtype
):
    i, image, alpha, truth = case
    peak = np.iinfo(dtype).max
    stored = (image.astype(np.uint32) * (peak // 255)).astype(dtype)
    ours = estimate_pixels(stored, alpha, everywhere=True)
    assert ours.dtype == dtype
    assert error(ours / peak, truth, alpha) <= min(RECORDED[i])


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_large_photo_gets_closer_to_its_true_colours(estimate_pixels, everywhere):
    photo, alpha, truth = scene(750, 1000, soft=0.04)
    ours = estimate_pixels(photo, alpha, everywhere=everywhere)
    soft = (alpha > 0) & (alpha < 1)
    before, after = error(photo / 255, truth, alpha * soft), error(ours / 255, truth, alpha * soft)
    assert after < 0.4 * before


def test_16_bit_colours_are_estimated_finer_than_8_bit_ones(estimate_pixels):
    photo, alpha, _ = scene(120, 160, np.uint16)
    fine = estimate_pixels(photo, alpha)
    coarse = estimate_pixels((photo >> 8).astype(np.uint8), alpha)
    soft = ((alpha > 0) & (alpha < 1)).numpy()
    assert np.abs(fine[soft] / 257 - coarse[soft]).max() < 4
    assert len(np.unique(fine[soft] % 257)) > 100


def test_small_photos_are_done_as_the_paper_has_it(estimate_pixels):
    photo, alpha, _ = scene(90, 130)
    whole = reference.estimate(torch.from_numpy(photo).permute(2, 0, 1) / 255, alpha[None])
    ours = estimate_pixels(photo, alpha, everywhere=True)
    # Half a level is rounding; the rest, that the second pass leaves the background as it is.
    assert np.abs(whole.permute(1, 2, 0).numpy() * 255 - ours).max() < 0.7


def hairs(height, width, seed=0):
    """Thin strands of one tone over waves of another: as :func:`scene`, and in float32."""
    noise = np.random.RandomState(seed)
    alpha = np.zeros((height, width), np.uint8)
    ends = (noise.uniform(0.1, 0.9, (400, 2, 2)) * (width, height) * 16).astype(np.int32)
    for i, line in enumerate(ends):
        cv2.polylines(alpha, [line], False, 255, 2 + i % 5, cv2.LINE_AA, 4)
    alpha = cv2.GaussianBlur(alpha, (0, 0), 1.2).astype(np.float32) / 255
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / 1000
    wave = 0.1 * np.sin(x * 9) * np.sin(y * 7)
    true = np.stack([0.35 + wave, 0.25 + wave, 0.2 + wave], -1)
    back = np.stack([0.6 - wave, 0.7 + 0 * wave, 0.9 + wave], -1)
    photo = true * alpha[:, :, None] + back * (1 - alpha[:, :, None])
    return np.rint(photo * 255).astype(np.uint8), torch.from_numpy(alpha), true


@pytest.mark.parametrize("pixels", [1_000_000, 40_000], ids=["as it is", "shrunk"])
def test_hair_is_as_close_to_its_true_colour_as_by_both_passes_of_the_paper(
    estimate_pixels, monkeypatch, pixels
):
    monkeypatch.setattr(reference, "REFERENCE", pixels)
    photo, alpha, truth = hairs(620, 640)
    assert reference.shrinking(620, 640).times == (1 if pixels == 1_000_000 else 2)
    channels_first = torch.from_numpy(photo).permute(2, 0, 1) / 255
    whole = reference.estimate(channels_first, alpha[None]).permute(1, 2, 0).numpy()
    soft = alpha * ((alpha > 0) & (alpha < 1))
    ours = error(estimate_pixels(photo, alpha) / 255, truth, soft)
    assert ours < 1.05 * error(whole, truth, soft) + 0.1 / 255
    assert ours < 0.5 * error(photo / 255, truth, soft)


# What stays


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("everywhere", [False, True])
def test_opaque_pixels_are_untouched(estimate_pixels, dtype, everywhere):
    photo, alpha, _ = scene(200, 150, dtype)
    ours = estimate_pixels(photo, alpha, everywhere=everywhere)
    opaque = (alpha == 1).numpy()
    assert opaque.any()
    assert np.array_equal(ours[opaque], photo[opaque])
    assert not np.array_equal(ours, photo)


def test_background_far_from_the_subject_is_untouched_unless_it_is_asked_for(estimate_pixels):
    photo, alpha, _ = scene(200, 150)
    empty = (alpha == 0).numpy()
    far = ~cv2.dilate((~empty).astype(np.uint8), np.ones((21, 21), np.uint8)).astype(bool)
    assert far.any()
    assert np.array_equal(estimate_pixels(photo, alpha)[far], photo[far])
    everywhere = estimate_pixels(photo, alpha, everywhere=True)
    assert not np.array_equal(everywhere[far], photo[far])


def test_colour_just_outside_the_subject_is_the_subjects_so_that_scaling_mixes_it_in(
    estimate_pixels,
):
    photo, alpha, _ = scene(200, 150)
    empty = (alpha == 0).numpy()
    near = empty & cv2.dilate((~empty).astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    red, _, blue = estimate_pixels(photo, alpha)[near].mean(0)
    assert photo[near].mean(0)[0] > 200, "the background is red"
    assert red < blue


def test_the_photo_itself_is_not_written_to(estimate_pixels):
    photo, alpha, _ = scene(60, 60)
    before = photo.copy()
    photo.setflags(write=False)
    estimate_pixels(photo, alpha)
    assert np.array_equal(photo, before)


@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_photo_that_is_all_background_or_all_subject_keeps_its_pixels(
    estimate_pixels, level, everywhere
):
    photo, alpha, _ = scene(70, 50)
    ours = estimate_pixels(photo, torch.full_like(alpha, level), everywhere=everywhere)
    # Where there is no subject at all, the best guess is the photo.
    assert np.abs(ours.astype(int) - photo).max() <= 1
    if level == 1 or not everywhere:
        assert np.array_equal(ours, photo)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 3)])
@pytest.mark.parametrize("level", [0.0, 1e-6, 0.5, 1 - 2**-20, 1.0])
def test_extreme_sizes_and_alphas_give_colours_near_the_photos(estimate_pixels, size, level):
    photo = np.full((*size, 3), (200, 100, 50), np.uint8)
    photo[0, 0] = (190, 110, 60)
    ours = estimate_pixels(photo, torch.full(size, level), everywhere=True)
    assert ours.shape == photo.shape
    assert np.abs(ours.astype(int) - photo).max() <= 10


def test_long_photo_with_a_faint_subject_has_no_wild_colours(estimate_pixels):
    # Running sums grow with the length, and with them their rounding: it must not show.
    height, width = 60, 30_000
    alpha = torch.full((height, width), 1e-3)
    alpha[:, : width // 2] = 0.999
    photo = np.full((height, width, 3), 128, np.uint8)
    photo += np.random.RandomState(0).randint(0, 4, photo.shape).astype(np.uint8)
    ours = estimate_pixels(photo, alpha, everywhere=True)
    assert np.abs(ours.astype(int) - 129).max() <= 8


# In tiles


@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("shape", [(101, 173), (1, 300), (1300, 900)])
def test_tiles_leave_no_trace(estimate_pixels, monkeypatch, shape, everywhere):
    photo, alpha, _ = scene(*shape, np.uint16)
    whole = estimate_pixels(photo, alpha, everywhere=everywhere)
    for module in (foreground_gpu, foreground_cpu):
        monkeypatch.setattr(module, "TILE", 37 if max(shape) < 1000 else 211)
    tiled = estimate_pixels(photo, alpha, everywhere=everywhere)
    assert np.abs(whole.astype(int) - tiled).max() <= 3, "of 65535"


@pytest.mark.parametrize(
    ("shape", "times", "square"),
    [
        *(((90, 130), 1, 1), ((600, 500), 1, 4), ((2999, 3000), 1, 4), ((3001, 3001), 2, 4)),
        *(((3000, 4000), 2, 4), ((7000, 5200), 4, 4), ((40_001, 62), 1, 1)),
    ],
)
def test_what_a_photo_is_shrunk_by(shape, times, square):
    how = reference.shrinking(*shape)
    assert (how.times, how.square, how.coarse) == (times, square, times * square)
    scale = max(1, (shape[0] * shape[1] / 1e6) ** 0.5)
    assert how.wide * how.coarse == pytest.approx(45 * scale, abs=how.coarse / 2 + 0.1)
    assert how.narrow * times == pytest.approx(3 * scale, abs=times / 2 + 0.1)


@pytest.mark.parametrize("times", [1, 2, 4])
def test_shrinking_takes_means_of_squares(times):
    plane = np.random.RandomState(0).rand(41, 30).astype(np.float32)
    rows, columns = 41 // times, 30 // times
    cut = plane[: rows * times, : columns * times].reshape(rows, times, columns, times)
    assert np.allclose(reference.shrunk(plane, times), cut.mean((1, 3)), atol=1e-6)


# On a CPU


SMALL = [(101, 173), (1, 300), (300, 1), (600, 500)]
LARGE = [((1701, 1502), False), ((62, 20_001), True)]  # summed up in squares, and thin


@pytest.mark.parametrize(
    ("shape", "everywhere", "dtype"),
    [
        *((shape, e, d) for shape in SMALL for e in (False, True) for d in (np.uint8, np.uint16)),
        *((*large, np.uint8) for large in LARGE),
        *(pytest.param(*large, np.uint16, marks=pytest.mark.slow) for large in LARGE),
    ],
)
def test_the_way_of_the_cpu_is_that_of_a_device(shape, everywhere, dtype):
    photo, alpha, _ = scene(*shape, dtype, soft=0.6 if min(shape) > 2 else 0.15)
    if min(shape) <= 2:
        ramp = torch.linspace(0, 1, max(shape)).reshape(-1, 1)
        alpha = (ramp if shape[1] == 1 else ramp.T).expand(shape)
        photo = np.random.RandomState(0).randint(0, np.iinfo(dtype).max, (*shape, 3)).astype(dtype)
    alpha = (alpha * 65535).round() / 65535
    general = on_device(photo, alpha, everywhere=everywhere)
    ours = on_cpu(photo, alpha, everywhere=everywhere)
    assert not np.array_equal(general, photo)
    apart = np.abs(general.astype(int) - ours).max(2)
    # Where there is next to no subject, a colour is a quotient of two small sums.
    seen = (alpha > reference.FAINT).numpy()
    assert apart[seen].max() <= (1 if dtype == np.uint8 else 12), "of 65535"
    assert apart.max() <= (1 if dtype == np.uint8 else 64), "of 65535"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("shape", [(603, 551), (1210, 90)])
def test_the_way_of_the_cpu_is_that_of_a_device_for_photos_that_are_shrunk(
    monkeypatch, shape, everywhere, dtype
):
    monkeypatch.setattr(reference, "REFERENCE", 10_000)
    assert reference.shrinking(*shape).times > 1
    photo, alpha, _ = scene(*shape, dtype, soft=0.6)
    alpha = (alpha * 65535).round() / 65535
    general = on_device(photo, alpha, everywhere=everywhere)
    ours = on_cpu(photo, alpha, everywhere=everywhere)
    seen = (alpha > reference.FAINT).numpy()
    # A shrunk photo is held in its own depth here, and incomplete squares are left out.
    apart = np.abs(general.astype(int) - ours).max(2)[seen]
    assert apart.max() <= (2 if dtype == np.uint8 else 400), "of 65535"
    assert apart.mean() <= (0.5 if dtype == np.uint8 else 60), "of 65535"


def test_what_eight_bits_show_as_opaque_or_as_nothing_is_not_estimated(estimate_pixels):
    photo, _, _ = scene(60, 60)
    for level in (0.4 / 255, 1 - 0.4 / 255):
        assert np.array_equal(estimate_pixels(photo, torch.full((60, 60), level)), photo)
    assert not np.array_equal(estimate_pixels(photo, torch.full((60, 60), 0.6 / 255)), photo)


# The box mean


def naive_mean(x, radius):
    out = torch.empty_like(x)
    for row in range(x.shape[1]):
        for column in range(x.shape[2]):
            rows = slice(max(0, row - radius), row + radius + 1)
            columns = slice(max(0, column - radius), column + radius + 1)
            out[:, row, column] = x[:, rows, columns].mean((1, 2))
    return out


@pytest.mark.parametrize("radius", [1, 2, 3, 8, 45])
@pytest.mark.parametrize("size", [(17, 23), (1, 40), (40, 1), (1, 1)])
def test_box_mean_is_the_mean_of_what_lies_in_the_box(radius, size):
    x = torch.rand(2, *size, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(reference.box_mean(x, radius), naive_mean(x, radius), atol=1e-5)


def test_box_mean_of_a_long_row_is_still_exact():
    x = torch.full((1, 1, 50_000), 0.7)
    assert torch.allclose(reference.box_mean(x, 45), x, atol=2e-4)
