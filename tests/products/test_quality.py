"""What in an alpha, and in its photo, asks for a look."""

import json
from importlib import resources

import cv2
import numpy as np
import pytest
from benchmarks.review_faults import FAULTS
from cutouts import disc

from birefcli.products.quality import small_matte
from birefcli.products.quality.check import check
from birefcli.products.quality.defects import Defect


def test_good_matte_has_no_flag_in_either_depth():
    for alpha in (disc(), disc().astype(np.uint16) * 257, disc(1200, 900, soft=0.02)):
        assert check(alpha).flags == ()
    assert check(disc()).coverage == pytest.approx(disc().mean() / 255)


def test_portrait_cut_at_three_edges_is_none_and_at_all_four_is_cut():
    alpha = np.zeros((100, 100), np.uint8)
    alpha[30:, :] = 255
    assert check(alpha).flags == ()
    alpha[:, 20:80] = 255
    assert check(alpha).flags == (Defect.CUT,)


@pytest.mark.parametrize(
    ("share", "flag"),
    [(0.0, Defect.EMPTY), (0.0004, Defect.EMPTY), (0.005, Defect.SMALL), (0.97, Defect.FULL)],
)
def test_too_little_and_too_much_are_flagged(share, flag):
    alpha = np.zeros((100, 100), np.uint16)
    alpha.reshape(-1)[: round(share * 10_000)] = 65535
    assert check(alpha).flags[0] is flag


def test_matte_that_is_unsure_is_soft_and_one_in_pieces_has_parts():
    assert check(np.where(disc() > 0, 120, 0).astype(np.uint8)).flags[0] is Defect.SOFT
    assert check(np.full((9, 9), 20, np.uint8)).flags[0] is Defect.SOFT
    two = np.zeros((100, 100), np.uint8)
    two[10:40, 10:40], two[60:90, 60:90] = 255, 255
    assert check(two).flags[0] is Defect.PARTS
    two[60:90, 60:90] = 0
    two[60:65, 60:65] = 255
    assert Defect.PARTS not in check(two).flags, "a speck is none"
    assert Defect.ISLANDS in check(two).flags


def test_flags_are_those_of_the_whole_picture_and_not_of_its_tile():
    alpha = np.zeros((2000, 2000), np.uint8)
    alpha[500:1500:2] = 255
    alpha[500:1500, 990:1010] = 255
    assert not {Defect.SOFT, Defect.PARTS} & set(check(alpha).flags)


# Signs whose limits are fitted


def scene(seed=0):
    """A matte without fault and its photo: someone in red before a wall, both with some noise."""
    alpha = disc(320, 400, soft=0.02)
    return alpha, photo_of(alpha, seed)


def photo_of(alpha, seed=0):
    share = alpha[..., None] / 255
    clean = share * (150, 60, 50) + (1 - share) * (90, 110, 140)
    noise = np.random.default_rng(seed).normal(0, 4, clean.shape)
    return np.clip(clean + noise, 0, 255).astype(np.uint8)


def test_photo_of_any_size_and_depth_leaves_a_good_matte_without_flag():
    alpha, photo = scene()
    for pixels in (photo, photo[::2, ::2], photo.astype(np.uint16) * 257):
        found = check(alpha, pixels)
        assert found.flags == ()
        assert 0 <= found.doubt < 0.02
    alpha, photo = (cv2.resize(each, (1920, 2400)) for each in (alpha, photo))
    assert check(alpha, photo).flags == ()


@pytest.mark.parametrize(
    ("fault", "alone", "with_photo"),
    [
        ("haze", {Defect.HAZE}, {Defect.HAZE}),
        ("shoulders", {Defect.TRANSLUCENT}, {Defect.TRANSLUCENT}),
        ("floating", {Defect.ISLANDS}, {Defect.ISLANDS, Defect.OUTLINE}),
        ("wall", set(), {Defect.OUTLINE}),
        ("severed", set(), {Defect.OUTLINE}),
        ("steps", {Defect.STEPS}, {Defect.STEPS}),
    ],
)
def test_fault_that_a_person_sees_has_a_word(fault, alone, with_photo):
    alpha, photo = scene()
    for seed in range(3):
        made = FAULTS[fault](alpha.astype(np.float32) / 255, np.random.default_rng(seed))
        matte = np.rint(made * 255).astype(np.uint8)
        assert alone <= set(check(matte).flags)
        assert with_photo <= set(check(matte, photo).flags)


def test_part_in_colours_of_the_other_side_is_named():
    alpha, photo = scene()
    wider, narrower = alpha.copy(), alpha.copy()
    wider[100:220, 255:300] = 255
    narrower[100:220, 200:] = 0
    assert Defect.BACKGROUND in check(wider, photo).flags
    assert Defect.MISSING in check(narrower, photo).flags


def test_gap_that_is_filled_is_named_also_where_the_subject_is_small():
    filled = disc(320, 400, soft=0.02)
    open_ = filled.copy()
    open_[160:240, 80:140] -= disc(60, 80, soft=0.1)  # as of an arm on the hip
    for size in ((320, 400), (160, 200)):
        mattes = []
        for alpha in (open_, filled):
            small = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
            mattes.append(np.pad(small, ((600, 200), (300, 600))))
        photo = photo_of(mattes[0])
        assert check(mattes[0], photo).flags == ()
        assert check(mattes[1], photo).flags == (Defect.GAPS,)


@pytest.mark.parametrize("size", [(320, 400), (1500, 1100), (3000, 4000)])
def test_steps_are_seen_in_pictures_of_any_size_whatever_their_own(size):
    alpha = disc(*size)
    for across in (32, 100):
        small = cv2.resize(alpha, (across, across), interpolation=cv2.INTER_AREA)
        assert Defect.STEPS in check(cv2.resize(small, size, interpolation=cv2.INTER_NEAREST)).flags
        assert Defect.STEPS not in check(cv2.resize(small, size)).flags, "it is blurred"
    assert Defect.STEPS not in check(np.where(alpha > 127, 255, 0).astype(np.uint8)).flags


def test_straight_things_and_borders_of_the_picture_are_no_steps():
    alpha = np.zeros((400, 300), np.uint8)
    alpha[100:300, 50:250] = 255  # a box
    alpha[50:350, 120:180] = 255  # a cross
    alpha[380:, 100:] = 255  # a table at the border
    for row in range(5):
        alpha[20 * row : 20 * row + 10, 260:280] = 255  # a fence
    assert Defect.STEPS not in check(alpha).flags
    tilted = cv2.warpAffine(alpha, cv2.getRotationMatrix2D((150, 200), 7, 1), (300, 400))
    for levels in (tilted, np.where(tilted > 127, 255, 0).astype(np.uint8)):
        assert Defect.STEPS not in check(levels).flags


def test_doubt_grows_with_the_width_of_the_outline():
    doubts = [check(disc(320, 400, soft)).doubt for soft in (0.01, 0.05, 0.1, 0.2)]
    assert doubts == sorted(doubts)
    assert doubts[-1] > 2 * doubts[0]


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 2), (40, 7)])
def test_odd_sizes_are_measured(shape):
    for level in (0, 100, 255):
        alpha, photo = np.full(shape, level, np.uint8), np.zeros((*shape, 3), np.uint8)
        assert 0 <= check(alpha, photo).doubt <= 1
        assert 0 <= check(alpha).doubt <= 1


def test_fitted_limits_are_written_as_they_are_read():
    from birefcli.products.quality.fitted import fitted, from_json, to_json

    assert from_json(to_json(fitted())) == fitted()


def test_contract_of_the_service_names_every_flag():
    contract = json.loads(resources.files("birefcli").joinpath("serve/openapi.json").read_text())
    named = contract["components"]["schemas"]["Flags"]["items"]["enum"]
    assert named == [flag.value for flag in Defect]


def test_colours_are_those_of_opencv_and_white_is_exact():
    photo = np.random.RandomState(0).rand(40, 60, 3).astype(np.float32)
    photo[0], photo[1] = 0, 1
    found = small_matte.lab_of(photo)
    theirs = cv2.cvtColor(photo, cv2.COLOR_RGB2LAB)  # of tables, which are coarse
    assert (found.dtype, found.shape) == (np.float32, photo.shape)
    assert np.abs(found - theirs).max() < 1
    assert np.abs(found[0]).max() < 1e-3
    assert np.abs(found[1] - (100, 0, 0)).max() < 1e-2
