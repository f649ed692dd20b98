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

from birefcli import foreground

RECORDED = {0: (0.011020, 0.011118), 1: (0.010581, 0.010697)}  # mean absolute error under alpha


@pytest.fixture(scope="module", params=sorted(RECORDED))
def case(request):
    """(number, image uint8 H×W×3, alpha float32 H×W, true foreground float32 H×W×3)."""
    i = request.param
    with np.load(DATA / "foreground.npz") as data:
        alpha = torch.from_numpy(data[f"alpha_{i}"].astype(np.float32) / 255)
        return i, data[f"image_{i}"], alpha, data[f"true_foreground_{i}"].astype(np.float32)


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
    ours = foreground.estimate(channels_first, alpha[None]).permute(1, 2, 0).numpy()
    assert error(ours, truth, alpha) <= min(RECORDED[i])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_estimate_of_a_stored_photo_is_at_least_as_close_as_the_recorded_ones(case, dtype):
    i, image, alpha, truth = case
    peak = np.iinfo(dtype).max
    stored = (image.astype(np.uint32) * (peak // 255)).astype(dtype)
    ours = foreground.estimate_pixels(stored, alpha, everywhere=True)
    assert ours.dtype == dtype
    assert error(ours / peak, truth, alpha) <= min(RECORDED[i])


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_large_photo_gets_closer_to_its_true_colours(everywhere):
    photo, alpha, truth = scene(2000, 3000, soft=0.03)
    ours = foreground.estimate_pixels(photo, alpha, everywhere=everywhere)
    soft = (alpha > 0) & (alpha < 1)
    before, after = error(photo / 255, truth, alpha * soft), error(ours / 255, truth, alpha * soft)
    assert after < 0.4 * before


def test_16_bit_colours_are_estimated_finer_than_8_bit_ones():
    photo, alpha, _ = scene(120, 160, np.uint16)
    fine = foreground.estimate_pixels(photo, alpha)
    coarse = foreground.estimate_pixels((photo >> 8).astype(np.uint8), alpha)
    soft = ((alpha > 0) & (alpha < 1)).numpy()
    assert np.abs(fine[soft] / 257 - coarse[soft]).max() < 4
    assert len(np.unique(fine[soft] % 257)) > 100


def test_small_photos_are_done_as_the_paper_has_it():
    photo, alpha, _ = scene(90, 130)
    whole = foreground.estimate(torch.from_numpy(photo).permute(2, 0, 1) / 255, alpha[None])
    ours = foreground.estimate_pixels(photo, alpha, everywhere=True)
    assert np.abs(whole.permute(1, 2, 0).numpy() * 255 - ours).max() < 0.51


# What stays


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("everywhere", [False, True])
def test_opaque_pixels_are_untouched(dtype, everywhere):
    photo, alpha, _ = scene(200, 150, dtype)
    ours = foreground.estimate_pixels(photo, alpha, everywhere=everywhere)
    opaque = (alpha == 1).numpy()
    assert opaque.any()
    assert np.array_equal(ours[opaque], photo[opaque])
    assert not np.array_equal(ours, photo)


def test_background_far_from_the_subject_is_untouched_unless_it_is_asked_for():
    photo, alpha, _ = scene(200, 150)
    empty = (alpha == 0).numpy()
    far = ~cv2.dilate((~empty).astype(np.uint8), np.ones((21, 21), np.uint8)).astype(bool)
    assert far.any()
    assert np.array_equal(foreground.estimate_pixels(photo, alpha)[far], photo[far])
    everywhere = foreground.estimate_pixels(photo, alpha, everywhere=True)
    assert not np.array_equal(everywhere[far], photo[far])


def test_colour_just_outside_the_subject_is_the_subjects_so_that_scaling_mixes_it_in():
    photo, alpha, _ = scene(200, 150)
    empty = (alpha == 0).numpy()
    near = empty & cv2.dilate((~empty).astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    red, _, blue = foreground.estimate_pixels(photo, alpha)[near].mean(0)
    assert photo[near].mean(0)[0] > 200, "the background is red"
    assert red < blue


def test_the_photo_itself_is_not_written_to():
    photo, alpha, _ = scene(60, 60)
    before = photo.copy()
    photo.setflags(write=False)
    foreground.estimate_pixels(photo, alpha)
    assert np.array_equal(photo, before)


@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_photo_that_is_all_background_or_all_subject_keeps_its_pixels(level, everywhere):
    photo, alpha, _ = scene(70, 50)
    ours = foreground.estimate_pixels(photo, torch.full_like(alpha, level), everywhere=everywhere)
    # Where there is no subject at all, the best guess is the photo.
    assert np.abs(ours.astype(int) - photo).max() <= 1
    if level == 1 or not everywhere:
        assert np.array_equal(ours, photo)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 3)])
@pytest.mark.parametrize("level", [0.0, 1e-6, 0.5, 1 - 2**-20, 1.0])
def test_extreme_sizes_and_alphas_give_colours_near_the_photos(size, level):
    photo = np.full((*size, 3), (200, 100, 50), np.uint8)
    photo[0, 0] = (190, 110, 60)
    ours = foreground.estimate_pixels(photo, torch.full(size, level), everywhere=True)
    assert ours.shape == photo.shape
    assert np.abs(ours.astype(int) - photo).max() <= 10


def test_long_photo_with_a_faint_subject_has_no_wild_colours():
    # Running sums grow with the length, and with them their rounding: it must not show.
    height, width = 60, 30_000
    alpha = torch.full((height, width), 1e-3)
    alpha[:, : width // 2] = 0.999
    photo = np.full((height, width, 3), 128, np.uint8)
    photo += np.random.RandomState(0).randint(0, 4, photo.shape).astype(np.uint8)
    ours = foreground.estimate_pixels(photo, alpha, everywhere=True)
    assert np.abs(ours.astype(int) - 129).max() <= 8


# In tiles


@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("shape", [(101, 173), (1, 300), (1300, 900)])
def test_tiles_leave_no_trace(monkeypatch, shape, everywhere):
    photo, alpha, _ = scene(*shape, np.uint16)
    whole = foreground.estimate_pixels(photo, alpha, everywhere=everywhere)
    monkeypatch.setattr(foreground, "TILE", 37 if max(shape) < 1000 else 211)
    tiled = foreground.estimate_pixels(photo, alpha, everywhere=everywhere)
    assert np.abs(whole.astype(int) - tiled).max() <= 3, "of 65535"


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
    assert torch.allclose(foreground.box_mean(x, radius), naive_mean(x, radius), atol=1e-5)


def test_box_mean_of_a_long_row_is_still_exact():
    x = torch.full((1, 1, 50_000), 0.7)
    assert torch.allclose(foreground.box_mean(x, 45), x, atol=2e-4)
