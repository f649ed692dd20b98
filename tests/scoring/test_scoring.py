"""Scores equal what BiRefNet's evaluation code and PySODMetrics say; odd inputs are defined."""

import json
import math
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle.cases import CUT, cases
from PIL import Image
from support import DATA, EXACT, recorded

from birefcli.errors import PhotoError
from birefcli.scoring import masks
from birefcli.scoring.measure import Settings, measure
from birefcli.scoring.metrics import boundary, colour, matting, saliency
from birefcli.scoring.metrics.hce import hce
from birefcli.scoring.metrics.saliency import Maps
from birefcli.scoring.metrics.skeleton import skeletonize
from birefcli.scoring.metrics.weighted import weighted_f
from birefcli.scoring.pairs import Pair
from birefcli.scoring.summary import ScoreSummary

RECORDED = DATA / "scores"
PYSOD = json.loads((RECORDED / "pysodmetrics.json").read_text())["cases"]
AUTHOR = json.loads((RECORDED / "expected.json").read_text())
CASES = {name: (prediction, truth) for name, prediction, truth in cases()}
MASK = CASES["identical"][1]


def ours(column: str) -> str:
    """Our name of a recorded column: MSE is the alpha's here."""
    return "meanMSE" if column == "MSE" else column


def save(path: Path, pixels, mode=None) -> Path:
    Image.fromarray(pixels, mode).save(path)
    return path


def scored(folder: Path, prediction, truth, **settings):
    """Score two arrays through files."""
    pair = Pair("a", save(folder / "t.png", truth), save(folder / "p.png", prediction))
    return measure(pair, Settings(**settings))


def pair_of(name: str) -> Pair:
    return Pair(name, RECORDED / "gt" / name, RECORDED / "pred" / name)


@pytest.mark.parametrize("name", sorted(AUTHOR["each"]))
def test_every_column_of_a_photo_is_what_the_authors_code_says(name):
    values = measure(pair_of(name), Settings()).values
    for column, expected in AUTHOR["each"][name].items():
        assert values[ours(column)] == recorded(expected, name, column), column


def test_every_mean_is_what_the_authors_code_says():
    summary = ScoreSummary()
    for name in AUTHOR["each"]:
        summary.add(measure(pair_of(name), Settings()))
    means = summary.means()
    for column, expected in AUTHOR["all"].items():
        assert means[ours(column)] == recorded(expected, "", column), column


@pytest.mark.parametrize("name", CASES)
def test_generated_cases_score_what_pysodmetrics_says(name, tmp_path):
    prediction, truth = CASES[name]
    assert zlib.crc32(prediction.tobytes() + truth.tobytes()) == PYSOD[name]["inputs"]
    values = scored(tmp_path, prediction, truth).values
    for column, expected in PYSOD[name]["figures"].items():
        if column in values and not math.isnan(expected):
            assert values[column] == recorded(expected, name, column), column


@pytest.mark.parametrize("name", CASES)
def test_skeletons_are_scikit_images_pixel_by_pixel(name):
    thin = skeletonize(CASES[name][1] > CUT)
    known = [int(thin.sum()), zlib.crc32(np.packbits(thin).tobytes())]
    assert known == PYSOD[name]["skeleton"]


def test_author_and_pysodmetrics_differ_in_hce_alone_as_documented():
    figures = PYSOD["noisy 0"]["figures"]
    assert figures["HCE"] != figures["HCE stretched"]
    assert hce(*CASES["noisy 0"]) == recorded(figures["HCE"], "noisy 0", "HCE")


def test_trimap_case_of_the_literature_is_met():
    truth, trimap = np.ones((32, 32)), np.zeros((32, 32), np.uint8)
    trimap[:16, :16], trimap[16:, 16:] = 128, 255
    found = matting.errors((trimap == 255).astype(float), truth, trimap)
    assert found.sad == pytest.approx(0.768, abs=EXACT)
    assert found.mse == pytest.approx(3.0, abs=EXACT)
    assert found.grad == pytest.approx(0.0028887, abs=1e-7)
    assert found.conn == pytest.approx(0.256, abs=EXACT)


def test_identical_mattes_have_no_error_and_the_best_scores(tmp_path):
    values = scored(tmp_path, MASK, MASK, trimap_radius=4).values
    # To what filters round: two gradients of one picture may be computed by other instructions,
    # as its two copies lie in memory.
    for name in ("SAD", "MSE", "MAD", "Grad", "Conn", "unknownSAD", "unknownConn", "HCE"):
        assert values[name] == pytest.approx(0, abs=EXACT), name
    assert values["maxFm"] == pytest.approx(1, abs=EXACT)
    assert values["mBA"] == pytest.approx(1, abs=EXACT)


def test_inverted_mattes_are_wrong_by_what_their_softness_leaves(tmp_path):
    values = scored(tmp_path, 255 - MASK, MASK).values
    alpha = MASK / 255
    assert values["MAD"] == pytest.approx(np.abs(1 - 2 * alpha).mean())
    assert values["SAD"] == pytest.approx(np.abs(1 - 2 * alpha).sum() / 1000)
    assert values["Smeasure"] < 0.5


def test_every_figure_of_degenerate_mattes_is_a_number(tmp_path):
    flat = [np.full((20, 30), level, np.uint8) for level in (0, 77, 255)]
    edge = np.zeros((20, 30), np.uint8)
    edge[:, -1] = 255  # its centroid leaves two quadrants empty
    for prediction in [*flat, MASK[:20, :30], edge]:
        for truth in [*flat, edge]:
            values = scored(tmp_path, prediction, truth, trimap_radius=2).values
            known = [value for value in values.values() if value is not None]
            assert all(math.isfinite(value) for value in known)


def test_means_over_no_unknown_pixel_are_left_out(tmp_path):
    full = np.full((20, 30), 255, np.uint8)
    values = scored(tmp_path, full, full, trimap_radius=3).values
    assert values["unknownMSE"] is None
    assert values["unknownSAD"] == 0
    summary = ScoreSummary()
    summary.add(
        measure(Pair("f", tmp_path / "t.png", tmp_path / "p.png"), Settings(trimap_radius=3))
    )
    summary.add(scored(tmp_path, 255 - MASK, MASK, trimap_radius=3))
    assert summary.means()["unknownMSE"] == summary.photos["a"]["unknownMSE"]


def test_one_pixel_is_refused_and_two_are_scored(tmp_path):
    one, two = np.zeros((1, 1), np.uint8), np.array([[0, 255]], np.uint8)
    with pytest.raises(PhotoError, match=r"t\.png: one pixel is too little"):
        scored(tmp_path, one, one)
    assert scored(tmp_path, two, two).values["MAD"] == pytest.approx(0, abs=EXACT)
    assert scored(tmp_path, one, two).values["MAD"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("levels", "largest"),
    [
        (np.uint8([[0, 1]]), "0 to 255, and its largest value here is 1"),
        (np.uint8([[0, 128]]), "0 to 255, and its largest value here is 128"),
        (np.uint16([[0, 255]]), "0 to 65535, and its largest value here is 255"),
    ],
)
def test_a_mask_of_another_scale_is_refused_as_truth_and_noted_as_prediction(
    tmp_path, levels, largest
):
    faint = np.tile(levels, (20, 10))
    full = np.where(faint > 0, 255, 0).astype(np.uint8)
    with pytest.raises(PhotoError, match=f"t.png: a mask is {largest}"):
        scored(tmp_path, full, faint)
    score = scored(tmp_path, faint, full)
    assert score.notes == (f"faint prediction: a mask is {largest}",)


def test_a_faint_truth_is_a_truth(tmp_path):
    faint = np.linspace(0, 60, 400).reshape(20, 20).astype(np.uint8)
    assert scored(tmp_path, faint, faint).notes[0].startswith("no subject in the truth")


def test_black_is_a_mask_of_nothing_on_any_scale(tmp_path):
    black = np.zeros((20, 20), np.uint8)
    assert scored(tmp_path, black, black).values["MAE"] == 0


def test_a_trimap_of_0_1_and_2_is_refused(tmp_path):
    full = np.tile(np.uint8([[0, 255]]), (20, 10))
    trimap = save(tmp_path / "trimap.png", full // 127)
    pair = replace(
        Pair("a", save(tmp_path / "truth.png", full), save(tmp_path / "a.png", full)),
        trimap=trimap,
    )
    with pytest.raises(PhotoError, match="largest value here is 2"):
        measure(pair, Settings())


def test_a_prediction_of_another_size_is_resized_and_said_so(tmp_path):
    found = scored(tmp_path, cv2.resize(MASK, (45, 40)), MASK)
    assert found.notes == ("prediction 45×40 resized to the truth's 90×80",)
    expected = np.abs(cv2.resize(cv2.resize(MASK, (45, 40)), (90, 80)) / 255.0 - MASK / 255).mean()
    assert found.values["MAD"] == pytest.approx(expected, rel=1e-3)


def test_the_same_matte_in_any_kind_of_file_scores_the_same(tmp_path):
    clear = np.dstack([np.full((*MASK.shape, 3), 90, np.uint8), MASK])
    grey = Image.fromarray(MASK)
    palette = grey.convert("P")
    grey.save(tmp_path / "truth.png")
    kinds = {
        "grey.png": grey,
        "rgb.png": grey.convert("RGB"),
        "opaque.png": grey.convert("RGBA"),
        "cutout.png": Image.fromarray(clear),
        "cutout.webp": Image.fromarray(clear),
        "deep.png": Image.fromarray(MASK.astype(np.uint16) * 257),
        "palette.png": palette,
        "lossless.tif": grey,
    }
    for name, image in kinds.items():
        image.save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
        values = measure(Pair("a", tmp_path / "truth.png", tmp_path / name), Settings()).values
        assert values["MAD"] == pytest.approx(0, abs=EXACT), name
        assert values["MAE"] == values["MAE"]
        assert values["HCE"] == 0, name


def test_sixteen_bits_are_not_rounded_to_eight(tmp_path):
    deep = MASK.astype(np.uint16) * 257
    soft = np.where(deep > 0, deep - 60, deep).astype(np.uint16)
    values = scored(tmp_path, soft, MASK).values
    assert values["MAD"] == pytest.approx((60 / 65535) * (MASK > 0).mean())


def test_a_colour_picture_is_no_matte(tmp_path):
    photo = np.random.RandomState(0).randint(0, 255, (80, 90, 3)).astype(np.uint8)
    with pytest.raises(PhotoError, match=r"p\.png: in colour and without transparency"):
        scored(tmp_path, photo, MASK)


def test_a_cutout_whose_subject_fills_the_picture_is_a_full_matte(tmp_path):
    photo = np.random.RandomState(0).randint(0, 255, (80, 90, 4)).astype(np.uint8)
    photo[:, :, 3] = 255
    full = np.full((80, 90), 255, np.uint8)
    assert scored(tmp_path, photo, full).values["MAD"] == pytest.approx(0, abs=EXACT)


def test_a_damaged_file_is_named(tmp_path):
    save(tmp_path / "t.png", MASK)
    (tmp_path / "p.png").write_bytes((tmp_path / "t.png").read_bytes()[:200])
    with pytest.raises(PhotoError, match=r"p\.png: "):
        measure(Pair("a", tmp_path / "t.png", tmp_path / "p.png"), Settings())


def test_a_given_trimap_and_the_derived_one_say_the_same(tmp_path):
    truth, prediction = MASK / 255, CASES["binary"][0] / 255
    trimap = matting.derived_trimap(truth, 4)
    soft = (truth > 0) & (truth < 1)
    assert (trimap[soft] == matting.UNSURE).all()
    # Within four pixels of what is not sure, and not farther.
    far = cv2.distanceTransform((truth < 1).astype(np.uint8), cv2.DIST_L2, 5) == 0
    assert (trimap[far & (trimap == 0)].size) == 0
    blurred = np.clip(trimap.astype(int) + 9 * (-1) ** np.arange(90), 0, 255).astype(np.uint8)
    assert (matting.read_trimap(blurred) == trimap).all()
    given = matting.errors(prediction, truth, trimap)
    masked = np.abs(prediction - truth)[trimap == 128]
    assert given.sad == pytest.approx(masked.sum() / 1000)
    assert given.mad == pytest.approx(masked.mean())


def test_a_derived_trimap_reaches_exactly_its_radius():
    truth = np.zeros((41, 41))
    truth[20, 20] = 0.5
    y, x = np.mgrid[-20:21, -20:21]
    trimap = matting.derived_trimap(truth, 7)
    # Just there a distance may be rounded to either side.
    far = np.hypot(y, x)
    assert ((trimap == 128) == (far <= 7))[np.abs(far - 7) > 1e-3].all()
    assert set(np.unique(trimap)) == {0, 128}


def test_connectivity_counts_what_is_not_connected_to_the_subject():
    truth = np.zeros((30, 30))
    truth[5:20, 5:20] = 1
    island = truth.copy()
    island[25:28, 25:28] = 0.8
    whole = matting.errors(island, truth)
    assert whole.conn == pytest.approx(9 * 0.8 / 1000)
    faint = truth.copy()
    faint[25:28, 25:28] = 0.1  # less than the slack
    assert matting.errors(faint, truth).conn == pytest.approx(0, abs=EXACT)


def test_gradient_error_is_that_of_the_full_kernel():
    prediction, truth = CASES["noisy 1"][0] / 255, CASES["noisy 1"][1] / 255
    kernel = np.outer(matting.SMOOTH, matting.SLOPE)
    assert (kernel**2).sum() == pytest.approx(1)

    def gradient(alpha):
        across = cv2.filter2D(alpha, cv2.CV_64F, kernel, borderType=cv2.BORDER_REPLICATE)
        down = cv2.filter2D(alpha, cv2.CV_64F, kernel.T.copy(), borderType=cv2.BORDER_REPLICATE)
        return np.hypot(across, down)

    expected = ((gradient(prediction) - gradient(truth)) ** 2).sum() / 1000
    assert matting.gradient_error(prediction, truth) == pytest.approx(expected, rel=1e-9)


def test_mean_iou_counts_both_classes():
    truth = np.zeros((4, 4))
    truth[:, :2] = 1
    assert matting.mean_iou(truth, truth) == 1
    half = truth.copy()
    half[:, 1] = 0.4  # below one half: background; subject 4 of 8, background 8 of 12
    assert matting.mean_iou(half, truth) == pytest.approx((0.5 + 8 / 12) / 2)
    assert matting.mean_iou(np.zeros_like(truth), np.zeros_like(truth)) == 1


def test_iou_is_that_of_the_alpha_as_it_is_in_the_files(tmp_path):
    truth = np.zeros((10, 200), np.uint8)
    truth[:, :100] = 255
    prediction = np.zeros((10, 200), np.uint8)
    prediction[:, :50], prediction[:, 50:100] = 140, 127  # stretched, 127 would be subject
    values = scored(tmp_path, prediction, truth).values
    assert values["IoU"] == pytest.approx((0.5 + 100 / 150) / 2)


def test_colours_are_compared_where_there_is_subject(tmp_path):
    truth = np.zeros((4, 4))
    truth[0, 0] = 1
    cutout, real = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint16)
    cutout[1:] = 200
    real[0, 0] = [65535, 0, 0]
    found = colour.colour_errors(cutout, real, truth)
    assert found.mad == pytest.approx(1 / 3)
    assert found.mse == pytest.approx(1 / 3)
    assert colour.colour_errors(cutout, real, np.zeros((4, 4))).mse is None


def test_permille_multiplies_means_and_not_sums(tmp_path):
    plain = scored(tmp_path, CASES["binary"][0], MASK, trimap_radius=3).values
    scaled = scored(tmp_path, CASES["binary"][0], MASK, trimap_radius=3, permille=True).values
    for name in ("MSE", "MAD", "unknownMSE", "unknownMAD"):
        assert scaled[name] == pytest.approx(plain[name] * 1000)
    for name in ("SAD", "Grad", "Conn", "MAE", "meanMSE"):
        assert scaled[name] == pytest.approx(plain[name])


def test_a_truth_without_an_edge_has_a_boundary_accuracy():
    empty, some = np.zeros((40, 40), np.uint8), np.eye(40, dtype=np.uint8) * 255
    assert boundary.boundary_accuracy(empty, empty) == pytest.approx(1)
    assert boundary.boundary_accuracy(some, empty) == pytest.approx(0, abs=EXACT)


@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(2, 30))
def test_no_figure_leaves_its_range_whatever_the_maps(seed, height, width):
    rs = np.random.RandomState(seed)
    prediction = rs.randint(0, rs.randint(1, 257), (height, width)).astype(np.uint8)
    truth = rs.rand(height, width) < rs.rand()
    maps = Maps(prediction, truth)
    for value in (saliency.s_measure(maps), saliency.mae(maps), saliency.f_adaptive(maps),
                  saliency.f_curve(maps).max(), weighted_f(maps),
                  boundary.boundary_iou_curve(maps).max()):  # fmt: skip
        assert -EXACT <= value <= 1 + EXACT
    assert 0 <= saliency.e_curve(maps).max() <= truth.size / (truth.size - 1) + EXACT
    alpha = masks.to_unit(prediction)
    assert matting.connectivity_error(alpha, alpha) == pytest.approx(0, abs=EXACT)
