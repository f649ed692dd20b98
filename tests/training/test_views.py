"""What training sees: windows, backgrounds, company, light, cameras."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from training_photos import person

from birefcli.training import augment, camera
from birefcli.training.backdrops import backdrop, behind, beside
from birefcli.training.views import Window, draw_window, warp


@pytest.fixture(scope="module")
def people():
    return [person(i) for i in range(6)]


def test_photo_and_truth_of_a_view_stay_on_each_other(people):
    alpha = people[0].alpha
    rng = np.random.default_rng(0)
    for _ in range(20):
        window = draw_window(alpha, rng)
        image = warp(np.repeat(alpha[..., None], 3, 2), window, 64)
        assert np.abs(image[..., 1] - warp(alpha, window, 64)).max() < 0.01


def test_the_window_over_a_whole_photo_shows_it_unmoved(people):
    window = Window(60, 80, 120, 160, 0, mirrored=False)
    seen = warp(people[0].alpha, window, 160)
    expected = cv2.resize(people[0].alpha, (160, 160), interpolation=cv2.INTER_LINEAR) / 255
    assert np.abs(seen - expected).mean() < 0.01
    mirrored = Window(60, 80, 120, 160, 0, mirrored=True)
    assert np.abs(warp(people[0].alpha, mirrored, 160) - expected[:, ::-1]).mean() < 0.01


def test_views_show_enough_of_the_subject_and_soft_edges_when_they_shrink(people):
    rng = np.random.default_rng(1)
    drawn = [augment.sample(people, 0, rng, 64) for _ in range(40)]
    shares = [float(alpha.mean()) for _, alpha in drawn]
    assert min(shares) > 0.03
    assert 0.15 < float(np.mean(shares)) < 0.8
    small = warp(people[0].alpha, Window(60, 80, 120, 160, 0, False), 32)
    assert ((small > 0.1) & (small < 0.9)).any()


def test_a_backdrop_shows_nobody(people):
    for example in people:
        street = behind(example, 64)
        red = street[..., 0] - street[..., 2]
        assert red.max() < 0.1  # the subject's red is 0.7 above its blue
    rng = np.random.default_rng(0)
    assert (beside(people[0], rng, 64)[..., 0] < 0.5).all()


def test_a_composed_sample_has_the_subject_on_the_other_background(people):
    window = Window(60, 80, 120, 160, 0, mirrored=False)
    image = warp(people[0].image, window, 64)
    alpha = warp(people[0].alpha, window, 64)
    green = np.tile(np.array([0, 1, 0], np.float32), (64, 64, 1))
    out = augment.compose(image, alpha, green, np.random.default_rng(0), cut=True)
    assert np.abs(out[alpha == 0] - green[alpha == 0]).max() < 1e-6
    core = cv2.erode(alpha, np.ones((9, 9))) == 1
    assert core.any()
    assert np.abs(out[core] - image[core]).max() < 1e-6


def test_a_portrait_is_never_cut_to_less_than_most_of_it():
    alpha = np.zeros((200, 200), np.uint8)
    cv2.ellipse(alpha, (100, 90), (50, 60), 0, 0, 360, 255, -1)
    cv2.ellipse(alpha, (100, 200), (95, 70), 0, 0, 360, 255, -1)
    rng = np.random.default_rng(0)
    heights = [draw_window(alpha, rng).height for _ in range(100)]
    assert min(heights) > 0.55 * 170
    standing = np.zeros((200, 200), np.uint8)
    standing[10:190, 80:130] = 255
    heights = [draw_window(standing, rng).height for _ in range(100)]
    assert min(heights) < 0.3 * 180  # head and shoulders


def test_a_soft_subject_is_mixed_by_its_own_alpha_and_colour(people):
    rng = np.random.default_rng(0)
    alpha = np.full((8, 8), 0.25, np.float32)
    red, green = (np.tile(np.array(c, np.float32), (8, 8, 1)) for c in ([1, 0, 0], [0, 1, 0]))
    mixed = augment.compose(red, alpha, green, rng, cut=False)
    assert np.abs(mixed - [0.25, 0.75, 0]).max() < 1e-6


def test_a_loose_window_leaves_the_photo_only_where_no_border_cuts_the_subject(people):
    rng = np.random.default_rng(0)
    free = person(0).alpha
    seated = free.copy()
    seated[:, 30:90] = 255  # cut by the upper and the lower border
    for alpha, columns_only in ((free, False), (seated, True)):
        windows = [draw_window(alpha, rng, loose=True) for _ in range(200)]
        above = [w.y - w.height / 2 < -1 for w in windows if w.height <= 160]
        beside_it = [w.x - w.width / 2 < -1 for w in windows if w.width <= 120]
        assert any(beside_it)
        assert any(above) is not columns_only
    strict = [draw_window(free, rng) for _ in range(200)]
    assert all(w.x - w.width / 2 > -1e-6 for w in strict if w.width <= 120)


def test_company_and_what_stands_before_a_subject_are_in_the_truth(people, monkeypatch):
    monkeypatch.setattr(augment, "COMPANY", 1.0)
    monkeypatch.setattr(augment, "OCCLUDED", 0.0)
    # The same seed begins with the same background; what follows is drawn in another order.
    crowded = [augment.composition(people, 0, np.random.default_rng(i), 64)[1] for i in range(30)]
    monkeypatch.setattr(augment, "COMPANY", 0.0)
    alone = [augment.composition(people, 0, np.random.default_rng(i), 64)[1] for i in range(30)]
    assert np.mean(crowded) > 1.3 * np.mean(alone)
    monkeypatch.setattr(augment, "OCCLUDED", 1.0)
    behind_it = [augment.composition(people, 0, np.random.default_rng(i), 64)[1] for i in range(30)]
    assert np.mean(behind_it) < 0.97 * np.mean(alone)


def test_some_samples_show_nobody_where_there_are_backgrounds(people, monkeypatch):
    monkeypatch.setattr(augment, "EMPTY", 1.0)
    pictures = [np.full((90, 120, 3), 200, np.uint8)]
    _, alpha = augment.sample(people, 0, np.random.default_rng(0), 64, pictures)
    assert not alpha.any()
    _, alpha = augment.sample(people, 0, np.random.default_rng(0), 64)
    assert alpha.any()


@pytest.mark.parametrize("shape", [(2, 2), (400, 30), (30, 400), (700, 900)])
def test_a_background_of_any_shape_fills_a_view(people, shape):
    pictures = [np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)]
    for seed in range(20):
        seen = backdrop(people, pictures, np.random.default_rng(seed), 64)
        assert seen.shape == (64, 64, 3)
        assert 0 <= seen.min() <= seen.max() <= 1


def test_light_is_matched_and_stays_in_range(people):
    dark, bright = (np.full((16, 16, 3), value, np.float32) for value in (0.1, 0.9))
    alpha = np.zeros((16, 16), np.float32)
    alpha[4:12, 4:12] = 1
    for seed in range(30):
        rng = np.random.default_rng(seed)
        subject, ground = augment.harmonise(dark, alpha, bright, rng)
        assert subject.mean() - dark.mean() > -1e-6  # towards the bright background ...
        assert bright.mean() - ground.mean() > -1e-6  # ... or the other way round
        assert max(subject.max(), ground.max()) <= 1


def test_every_sample_is_a_picture_and_a_truth_whatever_befalls_it(people, monkeypatch):
    for chance in ("GREY", "DARK", "SLOPED", "SMALL", "JPEG", "MOTION_BLUR", "SHARPENED"):
        monkeypatch.setattr(camera, chance, 0.5)
    pictures = [np.random.default_rng(1).integers(0, 256, (90, 120, 3)).astype(np.uint8)]
    mixed = [replace(each, cut=i % 2 == 0, plain=i % 3 == 0) for i, each in enumerate(people)]
    for seed in range(150):
        rng = np.random.default_rng(seed)
        image, alpha = augment.sample(mixed, seed % 6, rng, 64, pictures)
        assert image.shape == (64, 64, 3)
        assert alpha.shape == (64, 64)
        for values in (image, alpha):
            assert values.dtype == np.float32
            assert 0 <= values.min() <= values.max() <= 1  # no NaN either
