"""Training: data, views, losses, steps, and how a result is scored."""

import contextlib
import json
import math
import os
from dataclasses import astuple, replace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from support import levels_apart
from torch.nn import functional as F
from training_photos import person

from birefcli.birefnet import BiRefNet, Config, Supervision
from birefcli.birefnet.deform import DeformableConv
from birefcli.errors import ModelError, OutputError
from birefcli.matting.device import Placement
from birefcli.models import weights
from birefcli.options import Precision, Size
from birefcli.scoring import masks
from birefcli.scoring.layouts import split_held_out
from birefcli.training import losses, plan, preview, soft_edges, validate
from birefcli.training.dataset import (
    DataError,
    Dataset,
    Example,
    find_pairs,
    is_same_view,
    read_mask,
)
from birefcli.training.fast_deformable import use_fast_sampling
from birefcli.training.log import Log
from birefcli.training.sampler import Part, ViewSampler, normalise
from birefcli.training.save_weights import LARGEST, save_weights
from birefcli.training.schedule import (
    EDGES,
    MATTING,
    SEGMENTATION,
    Hyperparameters,
    LossWeights,
    Stage,
)
from birefcli.training.trainer import DivergedError, Trainer

TINY = Config("mobilenetv4_conv_small_035", width=8, aspp_width=8, kernels=(3,), gradient_width=4)


@pytest.fixture(scope="module")
def people():
    return [person(i) for i in range(6)]


def write(folder, examples, photos="im", masks="gt"):
    for name in (photos, masks):
        (folder / name).mkdir(parents=True)
    for example in examples:
        cv2.imwrite(str(folder / photos / example.name), example.image[..., ::-1])
        cv2.imwrite(str(folder / masks / example.name), example.alpha)
    return folder


def dataset(folder, **options):
    given = {"longest": None, "soften": False, "budget": 10**9, **options}
    return Dataset(find_pairs([folder])[0], **given)


def faults_of(folder):
    pairs = dataset(folder)
    return [str(fault) for fault in pairs.faults(range(len(pairs)), 2)]


# Data


def test_photos_are_read_with_their_masks_in_the_order_of_their_names(tmp_path, people):
    found = dataset(write(tmp_path / "d", people))
    assert [e.name for e in found] == [f"{i}.png" for i in range(6)]
    assert all((a.image == b.image).all() for a, b in zip(found, people, strict=True))
    assert all((a.alpha == b.alpha).all() for a, b in zip(found, people, strict=True))


@pytest.mark.parametrize(
    ("below", "photos", "masks"),
    [
        ("", "im", "gt"),
        ("", "blurred_image", "mask"),
        ("train", "blurred_image", "mask"),
        ("P3M-500-NP", "original_image", "mask"),
    ],
)
def test_the_layouts_of_known_sets_are_found(tmp_path, people, below, photos, masks):
    write(tmp_path / below, people[:2], photos, masks)
    given = tmp_path if below == "train" else tmp_path / below
    assert [pair.image.name for pair in find_pairs([given])[0]] == ["0.png", "1.png"]


def test_a_folder_named_twice_counts_once(tmp_path, people):
    folders = [write(tmp_path / name, people[:2]) for name in "ab"]
    assert [len(part) for part in find_pairs([*folders, folders[0]])] == [2, 2]


def test_every_photo_and_mask_without_a_partner_is_listed_at_once(tmp_path, people):
    folder = write(tmp_path / "d", people)
    (folder / "gt" / "0.png").unlink()
    (folder / "im" / "1.png").unlink()
    (folder / "im" / "2.jpg").touch()
    (folder / "im" / "._3.png").touch()  # macOS leaves such files
    (folder / "im" / "notes.txt").touch()
    with pytest.raises(DataError, match="4 files are not as training needs them") as error:
        find_pairs([folder])
    *names, content = error.value.faults
    assert str(content).startswith(f"{folder}/im/2.jpg: ")
    assert list(map(str, names)) == [
        f"{folder}/im/2.png: has the name of 2.jpg",
        f"{folder}/im/0.png: no mask in gt/",
        f"{folder}/gt/1.png: no photo in im/",
    ]


def test_everything_that_cannot_be_trained_on_is_found_by_reading_it(tmp_path, people):
    folder = write(tmp_path / "d", people)
    (folder / "im" / "0.png").write_bytes(b"no image")
    whole = (folder / "im" / "1.png").read_bytes()
    (folder / "im" / "1.png").write_bytes(whole[: len(whole) // 2])
    cv2.imwrite(str(folder / "gt" / "2.png"), people[2].alpha[:80])
    cv2.imwrite(str(folder / "gt" / "3.png"), people[3].alpha // 255)
    (folder / "gt" / "4.png").write_bytes(b"")
    found = faults_of(folder)
    assert len(found) == 5
    assert found[0].startswith(f"{folder}/im/0.png: not an image")
    assert found[1].startswith(f"{folder}/im/1.png: damaged image")
    assert found[2] == (
        f"{folder}/gt/2.png: 120×80 instead of the photo's 120×160; other proportions: make it"
        " again from this photo, uncropped"
    )
    assert found[3].startswith(f"{folder}/gt/3.png: no subject (")
    assert "largest value here is 1)" in found[3]
    assert found[4] == f"{folder}/gt/4.png: the file is empty"


def test_a_mask_of_another_size_is_taken_at_the_smaller_of_both(tmp_path, people):
    folder = write(tmp_path / "d", people[:3])
    half, twice = (cv2.resize(people[0].alpha, None, fx=f, fy=f) for f in (0.5, 2))
    cv2.imwrite(str(folder / "gt" / "0.png"), half)
    cv2.imwrite(str(folder / "gt" / "1.png"), twice)
    cv2.imwrite(str(folder / "gt" / "2.png"), cv2.resize(people[2].alpha, (61, 81)))
    found = dataset(folder)
    shapes = [(80, 60), (160, 120), (81, 61)]
    assert [(e.image.shape[:2], e.alpha.shape) for e in found] == [(s, s) for s in shapes]
    assert np.array_equal(found[0].alpha, half)
    assert {path.name for path in found.resized} == {"0.png", "1.png", "2.png"}
    assert not is_same_view((160, 120), (12, 9)), "says too little"
    assert not is_same_view((160, 120), (120, 160))


@pytest.mark.parametrize(
    ("photo", "mask"),
    [
        ("im/{}.jpg", "gt/{}_mask.png"),
        ("im/{}.jpg", "gt/{}-alpha.png"),
        ("im/{}_gt.png", "gt/{}.png"),
        ("{}.jpg", "{}_mask.png"),
        ("{}.jpg", "{}_MATTE.png"),
        ("train/{}.jpg", "train/{}.alpha.png"),
    ],
)
def test_a_mask_may_be_named_by_an_ending(tmp_path, people, photo, mask):
    names = ["a", "b", "gas_mask"] if photo.startswith("im/{}.") else ["a", "b", "über"]
    for name, example in zip(names, people, strict=False):
        for place, pixels in ((photo, example.image), (mask, example.alpha)):
            path = tmp_path / place.format(name)
            path.parent.mkdir(exist_ok=True, parents=True)
            Image.fromarray(pixels).save(path)
    (pairs,) = find_pairs([tmp_path])
    assert [(p.image, p.mask) for p in pairs] == [
        (tmp_path / photo.format(name), tmp_path / mask.format(name)) for name in names
    ]


def test_a_folder_of_photos_with_masks_beside_them_is_held_to_be_whole(tmp_path, people):
    for name in "abcdef":
        example = people[0]
        Image.fromarray(example.image).save(tmp_path / f"{name}.png")
        Image.fromarray(example.alpha).save(tmp_path / f"{name}_mask.png")
    (tmp_path / "c_mask.png").unlink()
    (tmp_path / "a.png").rename(tmp_path / "x.png")
    with pytest.raises(DataError) as error:
        find_pairs([tmp_path])
    assert [str(fault).split(": ", 1)[1] for fault in error.value.faults] == [
        f"no mask in {tmp_path.name}/",
        f"no mask in {tmp_path.name}/",
        f"no photo in {tmp_path.name}/",
    ]


@pytest.mark.parametrize(
    ("mask", "largest"),
    [
        (np.uint8([[0, 1]]), "255, and its largest value here is 1"),
        (np.uint8([[0, 128]]), "255, and its largest value here is 128"),
        (np.uint16([[0, 255]]), "65535, and its largest value here is 255"),
    ],
)
def test_masks_of_another_scale_are_refused(tmp_path, mask, largest):
    for kind in ("im", "gt"):
        (tmp_path / kind).mkdir()
    pixels = np.tile(mask, (32, 16))
    Image.new("RGB", pixels.shape[::-1]).save(tmp_path / "im/a.png")
    cv2.imwrite(str(tmp_path / "gt/a.png"), pixels)
    assert largest in faults_of(tmp_path)[0]


@pytest.mark.skipif(os.name != "posix", reason="named pipes of POSIX")
def test_a_pipe_and_a_sparse_file_in_the_place_of_a_photo_are_faults(tmp_path, people):
    folder = write(tmp_path / "d", people)
    (folder / "im/0.png").unlink()
    os.mkfifo(folder / "im/0.png")
    for name in ("im/1.png", "gt/2.png"):
        with (folder / name).open("wb") as file:
            file.truncate(1 << 40)
    found = faults_of(folder)
    assert [text.split(": ", 1)[1][:20] for text in found] == [
        "is a named pipe, not",
        *["1099.5 GB are no pho"] * 2,
    ]


def test_a_folder_that_is_no_data_is_refused(tmp_path):
    with pytest.raises(DataError, match="must hold im/ and gt/"):
        find_pairs([tmp_path])
    with pytest.raises(DataError, match="no such folder"):
        find_pairs([tmp_path / "not"])
    write(tmp_path / "d", [])
    with pytest.raises(DataError, match="1 file is not"):
        find_pairs([tmp_path / "d"])


def test_a_mask_may_be_the_transparency_of_a_cutout(tmp_path, people):
    example = people[0]
    cutout = np.dstack([example.image[..., ::-1], example.alpha])
    cv2.imwrite(str(tmp_path / "cut.png"), cutout)
    assert (read_mask(tmp_path / "cut.png") == example.alpha).all()
    opaque = np.dstack([np.repeat(example.alpha[..., None], 3, 2), np.full((160, 120), 255)])
    cv2.imwrite(str(tmp_path / "grey.png"), opaque)
    assert (read_mask(tmp_path / "grey.png") == example.alpha).all()
    cv2.imwrite(str(tmp_path / "deep.png"), example.alpha.astype(np.uint16) * 257)
    assert (read_mask(tmp_path / "deep.png") == example.alpha).all()


def test_masks_of_any_kind_of_file_are_read_as_the_score_command_reads_them(tmp_path, people):
    alpha = cv2.GaussianBlur(people[0].alpha, (0, 0), 2)
    grey, clear = Image.fromarray(alpha), np.dstack([people[0].image, alpha])
    deep = Image.fromarray(alpha.astype(np.uint16) * 257)
    kinds = {
        **{"grey.png": grey, "grey.tif": grey, "rgb.png": grey.convert("RGB"), "deep.png": deep},
        **{"palette.png": grey.convert("P"), "grey-and-alpha.png": grey.convert("LA")},
        **{"opaque.png": grey.convert("RGBA"), "cutout.png": Image.fromarray(clear)},
        "faint.png": Image.merge("LA", [Image.new("L", grey.size, 9), grey]),
    }
    for name, image in kinds.items():
        image.save(tmp_path / name)
        assert (read_mask(tmp_path / name) == alpha).all(), name
        scored = masks.to_uint8(masks.read(tmp_path / name, 10**6).alpha)
        assert (scored == alpha).all(), name
    grey.save(tmp_path / "grey.jpg", quality=85)
    known = cv2.imread(str(tmp_path / "grey.jpg"), cv2.IMREAD_GRAYSCALE)
    assert (read_mask(tmp_path / "grey.jpg") == known).all()


def test_sixteen_bits_of_a_mask_are_rounded_down(tmp_path):
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    cv2.imwrite(str(tmp_path / "mask.png"), levels)
    assert (read_mask(tmp_path / "mask.png") == levels >> 8).all()
    cutout = np.dstack([levels // 2, levels // 3, levels // 5, levels])
    cv2.imwrite(str(tmp_path / "cutout.png"), cutout)
    assert (read_mask(tmp_path / "cutout.png") == levels // 257).all()


def test_a_mask_in_colour_without_transparency_is_refused(tmp_path, people):
    folder = write(tmp_path / "d", people[:2])
    cv2.imwrite(str(folder / "gt" / "1.png"), people[1].image)
    found = faults_of(folder)
    assert len(found) == 1
    assert found[0].startswith(f"{folder}/gt/1.png: in colour and without transparency")


def test_what_does_not_fit_in_memory_is_read_again_and_is_the_same(tmp_path, people):
    folder = write(tmp_path / "d", people)
    few, every = dataset(folder, budget=2 * 160 * 120 * 4), dataset(folder)
    for _ in range(2):
        pairs = zip(few, every, strict=True)
        assert all((a.image == b.image).all() and (a.alpha == b.alpha).all() for a, b in pairs)
    assert (few.cached, every.cached) == (2, 6)


def test_large_photos_are_kept_no_larger_than_views_need(tmp_path, people):
    found = dataset(write(tmp_path / "d", people), longest=80)
    assert found[0].image.shape == (80, 60, 3)
    assert abs(float(found[0].alpha.mean()) - float(people[0].alpha.mean())) < 1


def test_a_file_that_goes_away_later_is_named(tmp_path, people):
    found = dataset(write(tmp_path / "d", people), budget=0)
    found.pairs[3].mask.unlink()
    with pytest.raises(DataError, match=r"gt/3\.png: No such file"):
        found[3]


def test_each_nth_photo_is_held_out_and_never_trained_on(people):
    train, held_out = split_held_out(people, 3)
    assert [e.name for e in held_out] == ["0.png", "3.png"]
    assert [e.name for e in train] == ["1.png", "2.png", "4.png", "5.png"]
    assert split_held_out(people, 0) == (people, [])


# Soft edges for binary masks


def hair():
    """Dark strands on a bright wall, four pixels apart, and a mask that is cut around them all."""
    strands = np.full((64, 64, 3), 220, np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    strands[:, 10:32] = 30
    strands[::4, 32:40] = 30
    mask[:, 10:36] = 255
    return strands, mask


def test_a_softened_mask_follows_the_photo_at_its_edge_and_stays_elsewhere():
    strands, mask = hair()
    soft = soft_edges.soften(strands, mask)
    rows = np.arange(64) % 4 == 0
    at_edge = slice(33, 36)
    assert soft[rows][:, at_edge].mean() > soft[~rows][:, at_edge].mean() + 20
    far = soft_edges.RADIUS * 2 + 1
    assert (soft[:, 10 + far : 36 - far] == 255).all()
    assert (soft[:, 36 + far :] == 0).all()
    assert ((soft > 20) & (soft < 235)).any()


def test_masks_that_were_cut_count_as_binary_and_mattes_do_not(people):
    mask = people[0].alpha
    assert soft_edges.is_binary(mask)
    _, stored = cv2.imencode(".jpg", mask, [cv2.IMWRITE_JPEG_QUALITY, 85])
    assert soft_edges.is_binary(cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE))
    assert not soft_edges.is_binary(cv2.GaussianBlur(mask, (0, 0), 1))
    assert not soft_edges.is_binary(cv2.resize(mask, (90, 120), interpolation=cv2.INTER_AREA))


def test_only_binary_masks_are_softened_and_only_when_asked(tmp_path, people):
    blurred = replace(people[1], alpha=cv2.GaussianBlur(people[1].alpha, (0, 0), 2))
    folder = write(tmp_path / "d", [people[0], blurred])
    plain, soft = dataset(folder), dataset(folder, soften=True)
    assert (soft[0].alpha != plain[0].alpha).any()
    assert levels_apart(soft[0].alpha, soft_edges.soften(plain[0].image, plain[0].alpha)) <= 1
    assert (soft[1].alpha == plain[1].alpha).all()


# Views


ROUNDED = 1e-3
"""Of 0..1: what filters make of one picture twice, as its copies lie in memory."""
FOUR = Hyperparameters((Stage(64, 3, 4), Stage(96, 2, 2)), seed=5)


def test_a_view_depends_on_seed_step_and_slot_alone(people):
    whole = list(ViewSampler(people, FOUR).from_step(0, 3))
    assert [b.images.shape for b in whole] == [(4, 64, 64, 3)] * 3 + [(2, 96, 96, 3)] * 2
    assert [b.alphas.shape for b in whole] == [(4, 64, 64)] * 3 + [(2, 96, 96)] * 2
    resumed = list(ViewSampler(people, FOUR).from_step(2, 1))
    assert len(resumed) == 3
    for a, b in zip(whole[2:], resumed, strict=True):
        assert np.abs(a.images - b.images).max() < ROUNDED
        assert np.abs(a.alphas - b.alphas).max() < ROUNDED
    other = next(ViewSampler(people, replace(FOUR, seed=6)).from_step(0, 1))
    assert np.abs(other.images - whole[0].images).max() > 0.1


def test_processes_share_each_batch_among_them(people):
    whole = list(ViewSampler(people, FOUR).from_step(0, 1))
    halves = [list(ViewSampler(people, FOUR, rank, 2).from_step(0, 1)) for rank in (0, 1)]
    for step, batch in enumerate(whole):
        both = np.concatenate([half[step].images for half in halves])
        assert np.abs(both - batch.images).max() < ROUNDED


def test_every_photo_is_seen_once_in_a_pass_and_each_pass_has_its_own_order(people):
    views = ViewSampler(people, Hyperparameters((Stage(64, 2, 3), Stage(64, 3, 4))))
    seen = [views.index(step, slot) for step in (0, 1) for slot in range(3)]
    seen += [views.index(step, slot) for step in (2, 3, 4) for slot in range(4)]
    passes = [seen[i : i + 6] for i in (0, 6, 12)]
    assert all(sorted(each) == list(range(6)) for each in passes)
    assert passes[0] != passes[1]


def test_folders_are_seen_by_their_shares_and_each_photo_before_one_comes_again(people):
    parts = [Part(4, 1.0), Part(2, 2.0)]
    views = ViewSampler(people, Hyperparameters((Stage(64, 12, 6),)), parts=parts)
    seen = [views.index(step, slot) for step in range(12) for slot in range(6)]
    counts = np.bincount(seen, minlength=6)
    assert counts.tolist() == [6, 6, 6, 6, 24, 24]
    first = [index for index in seen if index < 4]
    assert all(sorted(first[i : i + 4]) == [0, 1, 2, 3] for i in range(0, 4, 4))


def test_a_photo_lost_while_training_ends_the_views_with_its_name(tmp_path, people):
    found = dataset(write(tmp_path / "d", people), budget=0)
    for pair in found.pairs:
        pair.image.unlink()
    with pytest.raises(DataError, match="No such file"):
        next(ViewSampler(found, FOUR).from_step(0, 2))


def test_the_network_sees_imagenet_normalisation():
    grey = normalise(torch.full((1, 2, 2, 3), 0.5))
    expected = torch.tensor([(0.5 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (0.5 - 0.406) / 0.225])
    assert torch.allclose(grey[0, :, 0, 0], expected)


# Losses


def test_an_undecided_matte_of_a_half_covered_photo_costs_what_the_formula_says():
    alpha = torch.zeros(2, 1, 32, 32)
    alpha[..., :16] = 1
    logits = torch.zeros(2, 1, 32, 32)
    ssim = float(losses.ssim_loss(torch.sigmoid(logits), alpha))
    # BCE ln 2, MAE 1/2, intersection over union (1/4) / (3/4)
    expected = 30 * np.log(2) + 100 * 0.5 + 10 * ssim
    assert float(losses.matte(logits, alpha)) == pytest.approx(expected, rel=1e-5)
    segmentation = float(losses.matte(logits, alpha, SEGMENTATION))
    assert segmentation == pytest.approx(expected + 0.5 * (1 - 1 / 3), rel=1e-5)
    last = float(losses.matte(logits, alpha, EDGES))
    assert last == pytest.approx(10 * 0.5 + 10 * ssim + 0.5 * (1 - 1 / 3), rel=1e-5)


def test_the_whole_loss_is_all_mattes_and_all_gradient_maps():
    logits, alpha = torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    # A flat photo has a gradient target of one half everywhere: BCE of an undecided map is ln 2.
    image = torch.full((1, 3, 32, 32), 0.3)
    out = Supervision(
        logits, [torch.zeros(1, 1, s, s) for s in (1, 2, 4)], [torch.zeros(1, 1, 4, 4)] * 3
    )
    terms = LossWeights(bce=1, mae=2, ssim=0, iou=0)
    total, last = losses.total(out, image, alpha, terms)
    assert float(last) == pytest.approx(math.log(2) + 1, rel=1e-6)
    assert float(total) == pytest.approx(4 * (math.log(2) + 1) + 3 * math.log(2), rel=1e-6)


def test_a_perfect_matte_costs_nothing():
    alpha = (torch.rand(1, 1, 32, 32, generator=torch.manual_seed(0)) > 0.5).float()
    assert float(losses.matte((alpha - 0.5) * 1000, alpha)) == pytest.approx(0, abs=1e-4)


def test_ssim_is_that_of_eleven_by_eleven_gaussian_windows():
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 16, 20))
    bell = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(bell, bell) / bell.sum() ** 2
    px, py = np.pad(x, 5), np.pad(y, 5)
    total = 0.0
    for i in range(16):
        for j in range(20):
            a, b = px[i : i + 11, j : j + 11], py[i : i + 11, j : j + 11]
            ma, mb = (window * a).sum(), (window * b).sum()
            va, vb = (window * a * a).sum() - ma**2, (window * b * b).sum() - mb**2
            cov = (window * a * b).sum() - ma * mb
            top = (2 * ma * mb + 0.01**2) * (2 * cov + 0.03**2)
            total += top / ((ma**2 + mb**2 + 0.01**2) * (va + vb + 0.03**2))
    tensors = (torch.from_numpy(v)[None, None] for v in (x, y))
    assert float(losses.ssim_loss(*tensors)) == pytest.approx(1 - total / 320, abs=1e-9)


def test_the_gradient_target_is_the_laplacian_gated_by_the_side_output():
    grey = torch.zeros(1, 1, 9, 9)
    grey[..., 4, 4] = 1
    side = torch.full((1, 1, 3, 3), 2.0, requires_grad=True)
    target = losses.gradient_target(losses.laplacian(grey), side)
    expected = torch.full((9, 9), 0.5)  # flat: sigmoid of zero
    expected[2:7, 2:7] = torch.sigmoid(torch.tensor(2 * 1 / 48))
    expected[4, 4] = torch.sigmoid(torch.tensor(2 * -24 / 48))
    assert torch.allclose(target[0, 0], expected)
    assert not target.requires_grad


def test_last_output_side_outputs_and_gradient_maps_all_learn():
    torch.manual_seed(0)
    maps = [torch.randn(2, 1, s, s, requires_grad=True) for s in (32, 1, 2, 4, 1, 2, 4)]
    out = Supervision(maps[0], maps[1:4], maps[4:])
    alpha = (torch.rand(2, 1, 32, 32) > 0.5).float()
    losses.total(out, torch.randn(2, 3, 32, 32), alpha)[0].backward()
    for each in maps:
        assert each.grad is not None
        assert float(each.grad.abs().sum()) > 0


# The fast deformable convolution


@pytest.mark.parametrize("kernel", [1, 3])
def test_fast_sampling_changes_neither_result_nor_gradients(kernel):
    torch.manual_seed(0)
    slow = DeformableConv(4, 5, kernel)
    for conv in (slow.offset_conv, slow.modulator_conv):
        torch.nn.init.normal_(conv.weight)  # offsets of several pixels, many outside the map
    holder = torch.nn.Sequential(DeformableConv(4, 5, kernel))
    holder.load_state_dict({f"0.{k}": v for k, v in slow.state_dict().items()})
    use_fast_sampling(holder)
    assert type(holder[0]) is not DeformableConv
    x = torch.randn(2, 4, 6, 9)
    results = []
    for network in (slow, holder):
        given = x.clone().requires_grad_(True)
        out = network(given)
        F.mse_loss(out, torch.ones_like(out)).backward()
        results.append([out, given.grad, *(p.grad for p in network.parameters())])
    for expected, found in zip(*results, strict=True):
        assert torch.allclose(expected, found, atol=1e-4)


# Steps

SHORT = Hyperparameters((Stage(64, 3, 2), Stage(96, 3, 2)), lr=2e-3, warmup=2, dropout=0.2, edges=2)


def fresh(hyperparameters, config=TINY, **more):
    torch.manual_seed(hyperparameters.seed)
    return Trainer(BiRefNet(config), hyperparameters, **more)


def advance(trainer, people, steps):
    batches = ViewSampler(people, trainer.hyperparameters).from_step(trainer.step, 1)
    return [trainer.advance(next(batches)) for _ in range(steps)]


def test_the_rate_warms_up_and_falls_to_nothing_and_stages_follow_each_other():
    hyperparameters = Hyperparameters(
        (Stage(64, 10, 4), Stage(96, 10, 2)), lr=1.0, warmup=4, edges=3
    )
    assert [hyperparameters.rate(step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert hyperparameters.rate(12) == pytest.approx(0.5)
    assert hyperparameters.rate(20) == pytest.approx(0)
    assert (hyperparameters.stage(9).size, hyperparameters.stage(10).size) == (64, 96)
    assert (hyperparameters.seen(9), hyperparameters.seen(10), hyperparameters.seen(13)) == (
        36,
        40,
        46,
    )
    assert [hyperparameters.terms_at(step) for step in (16, 17)] == [MATTING, EDGES]
    with pytest.raises(IndexError):
        hyperparameters.stage(20)


def test_a_few_steps_lower_the_loss_of_the_photos_they_are_taken_on(people):
    trainer = fresh(Hyperparameters((Stage(64, 20, 4),), lr=5e-3, warmup=5))
    batch = next(ViewSampler(people, trainer.hyperparameters).from_step(0, 1))
    seen = [trainer.advance(batch).loss for _ in range(20)]
    assert np.mean(seen[-3:]) < 0.75 * np.mean(seen[:3])  # of four seeds 0.32 to 0.50


def same_steps(one, other):
    """Whether steps had the same losses and gradients; what was rounded is carried on."""
    assert len(one) == len(other)
    pairs = [(a, b) for x, y in zip(one, other, strict=True)
             for a, b in zip(astuple(x), astuple(y), strict=True)]  # fmt: skip
    return all(a == pytest.approx(b, rel=0.01) for a, b in pairs)


def test_a_resumed_training_repeats_the_unbroken_one(tmp_path, people):
    path = tmp_path / "c.pt"
    gentle = replace(SHORT, lr=1e-5)  # else what is rounded would grow from step to step
    whole = fresh(gentle)
    expected = advance(whole, people, 6)
    broken = fresh(gentle)
    first = advance(broken, people, 2)
    broken.save(path, {"a": 1})
    torch.rand(3)  # whatever else drew random numbers meanwhile
    resumed = fresh(gentle)
    assert resumed.resume(path) == {"a": 1}
    assert resumed.step == 2
    assert same_steps(first + advance(resumed, people, 4), expected)
    begun, ended, again = (
        torch.cat([value.flatten().double() for value in each.averaged.state_dict().values()])
        for each in (fresh(gentle), whole, resumed)
    )
    assert (ended - again).norm() < 0.01 * (ended - begun).norm()


def test_a_trained_backbone_learns_slower_and_keeps_its_statistics(people):
    hyperparameters = Hyperparameters(
        (Stage(64, 2, 2),), warmup=1, backbone=0.25, frozen_norms=True
    )
    trainer = fresh(hyperparameters)
    before = {key: value.clone() for key, value in trainer.network.state_dict().items()}
    advance(trainer, people, 1)
    rates = {group["lr"] / hyperparameters.rate(0) for group in trainer.optimiser.param_groups}
    assert rates == {0.25, 1.0}
    after = trainer.network.state_dict()
    for key in after:
        if key.endswith("running_mean"):
            assert torch.equal(before[key], after[key]) is key.startswith("bb."), key
    moved = [(before[k] - after[k]).abs().max() for k in after if k.startswith("bb.conv_stem")]
    assert 0 < max(moved) < 0.3 * hyperparameters.rate(0)


def test_large_gradients_are_clipped_and_the_average_follows(people):
    trainer = fresh(replace(SHORT, clip=1e-6, lr=1.0, weight_decay=0.0))
    before = {k: v.clone() for k, v in trainer.averaged.named_parameters()}
    (step,) = advance(trainer, people, 1)
    assert step.norm > 1
    state = trainer.optimiser.state_dict()["state"]
    first = torch.cat([each["exp_avg"].flatten() for each in state.values()])
    assert float(first.norm()) == pytest.approx(0.1 * 1e-6, rel=1e-2)  # Adam's mean starts at 0.1
    now = dict(trainer.network.named_parameters())
    for name, mean in trainer.averaged.named_parameters():
        expected = before[name] + (now[name] - before[name]) * 0.9  # decay 1/10 in the first step
        assert torch.allclose(mean, expected, atol=1e-6)


@pytest.mark.parametrize("fast", [True, False])
def test_half_precision_runs_the_network_and_not_the_loss(people, fast, monkeypatch):
    if not fast:  # as on a GPU
        monkeypatch.setattr("birefcli.training.trainer.use_fast_sampling", lambda network: None)
    seen = []
    real = losses.matte
    monkeypatch.setattr(losses, "matte", lambda x, *a: (seen.append(x.dtype), real(x, *a))[1])
    hyperparameters = Hyperparameters((Stage(64, 2, 2),))
    full = advance(fresh(hyperparameters), people, 1)[0].loss
    half = fresh(hyperparameters, placement=Placement(torch.device("cpu"), Precision.BF16))
    heads = []
    half.network.decoder.conv_ms_spvn_4.register_forward_hook(lambda *a: heads.append(a[2].dtype))
    loss = advance(half, people, 1)[0].loss
    assert heads == [torch.bfloat16]
    assert set(seen) == {torch.float32}
    assert loss != full
    assert loss == pytest.approx(full, rel=0.05)


def test_a_loss_that_is_no_number_ends_the_training(people):
    trainer = fresh(SHORT)
    torch.nn.init.constant_(trainer.network.decoder.conv_out1[0].weight, math.nan)
    with pytest.raises(DivergedError, match=r"step 1: the loss is nan; restart with a lower lr"):
        advance(trainer, people, 1)


def test_equal_trainings_write_equal_checkpoints(tmp_path, people):
    for name in ("a.pt", "b.pt"):
        trainer = fresh(SHORT)
        advance(trainer, people, 1)
        trainer.save(tmp_path / name, {"a": 1})
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt", "b.pt"]


def test_checkpoints_that_cannot_be_used_are_refused(tmp_path):
    path = tmp_path / "c.pt"
    fresh(SHORT).save(path, {})
    other = fresh(SHORT, replace(TINY, width=16))
    with pytest.raises(ModelError, match="not a checkpoint of this architecture"):
        other.resume(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ModelError, match=r"damaged .*; restart starts anew"):
        fresh(SHORT).resume(path)
    with pytest.raises(OutputError, match="cannot be written"):
        other.save(tmp_path / "not" / "c.pt", {})


class Small(torch.nn.Module):
    """A backbone and a head of a few numbers: how files are read is the same for any network."""

    def __init__(self):
        super().__init__()
        self.bb, self.head = torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3)


def stepped():
    """A trainer of it that has made a step."""
    trainer = Trainer(Small(), SHORT)
    trainer.network.head(trainer.network.bb(torch.rand(2, 3))).sum().backward()
    trainer.optimiser.step()
    trainer.step += 1
    return trainer


def _damages(whole):
    """Checkpoints that something else wrote: bytes, or what torch is to save."""
    shapes = {"state": {0: {"exp_avg": torch.zeros(1, 2), "step": torch.tensor(1.0)}}}
    yield from (b"", b"PK\x03\x04", b"\x80\x02}q\x00.", b"\0" * 3000, b"no checkpoint")
    yield from ([], {}, "text", {"state_dict": whole["network"]}, whole["network"])
    for change in (
        {"step": "two"},
        {"step": float("inf")},
        {"step": -3},
        {"network": []},
        {"averaged": {1: 2}},
        {"optimiser": {"state": {}, "param_groups": []}},
        {"optimiser": {**whole["optimiser"], **shapes}},
        {"scaler": {"scale": "x", "odd": 1}},
        {"notes": [1]},
        {"notes": {"validated": "x"}},
        {"notes": {"best": {"epoch": 1}}},
        {"notes": {"best": {"epoch": 1, "MAD": 0.5}}},
        {"notes": {"first": {"epoch": "1", "step": 3, "MAD": 0.5}}},
        {"notes": {"last": {"epoch": 1}}},
        {"notes": {"recipe": "text"}},
    ):
        yield {**whole, **change}


def test_foreign_checkpoints_are_refused_whatever_is_wrong_with_them(tmp_path):
    stepped().save(tmp_path / "whole.pt", {})
    path = tmp_path / "c.pt"
    again = stepped()
    for damage in _damages(torch.load(tmp_path / "whole.pt")):
        path.write_bytes(damage) if isinstance(damage, bytes) else torch.save(damage, path)
        with pytest.raises(ModelError, match=r"c\.pt: .*; restart starts anew"):
            again.resume(path)


def test_mutated_checkpoints_are_refused_or_are_one(tmp_path):
    path = tmp_path / "c.pt"
    stepped().save(path, {})
    whole, chance = path.read_bytes(), np.random.default_rng(3)
    again = stepped()
    for _ in range(40):
        data = bytearray(whole)
        for _ in range(chance.integers(1, 20)):
            data[chance.integers(len(data))] = chance.integers(256)
        path.write_bytes(data[: chance.integers(1, len(data))] if chance.random() < 0.3 else data)
        with contextlib.suppress(ModelError):
            again.resume(path)


def test_checkpoints_from_before_the_command_can_be_gone_on_from(tmp_path, people):
    trainer = fresh(SHORT)
    advance(trainer, people, 2)
    names = ("network", "averaged", "optimiser")
    state = {name: getattr(trainer, name).state_dict() for name in names}
    torch.save({**state, "random": torch.get_rng_state(), "step": 2}, tmp_path / "c.ckpt")
    again = fresh(SHORT)
    assert again.resume(tmp_path / "c.ckpt") == {}
    assert same_steps(advance(again, people, 1), advance(trainer, people, 1))


# The plan

MINI_FROM_SCRATCH = plan.Initialisation(384, published=False, tuned=False)


def planned(**options):
    return plan.Plan(data=(), output=None, **options)


def test_a_plan_becomes_steps_that_see_every_photo_as_often_as_asked():
    hyperparameters = plan.hyperparameters(planned(), MINI_FROM_SCRATCH, 811)
    assert hyperparameters.stages == (Stage(384, 100 * 101, 8),)
    assert (hyperparameters.lr, hyperparameters.edges, hyperparameters.warmup) == (
        1.5e-3,
        10 * 101,
        100,
    )
    assert hyperparameters.seen(hyperparameters.steps) / 811 == pytest.approx(100, rel=0.01)
    tuned = plan.hyperparameters(
        planned(epochs=2, batch=2, size=64), plan.Initialisation(384, False, True), 7
    )
    assert tuned.stages == (Stage(64, 8, 2),)
    assert (tuned.lr, tuned.edges, tuned.warmup) == (1.5e-4, 0, 1)


def test_the_published_networks_are_tuned_at_the_rate_of_their_author():
    large = plan.hyperparameters(planned(batch=16), plan.Initialisation(1024, True, True), 1000)
    assert large.lr == pytest.approx(2e-5)
    assert large.stages == (Stage(1024, 20 * 62, 16),)
    assert large.dropout == 0.5


def test_epochs_end_where_all_photos_were_seen_and_where_stages_end():
    hyperparameters = Hyperparameters((Stage(64, 10, 2), Stage(96, 5, 4)))
    assert plan.epoch_ends(hyperparameters, 8) == [4, 8, 10, 12, 14, 15]
    assert plan.epoch_ends(Hyperparameters((Stage(64, 3, 8),)), 4) == [1, 2, 3]


# Log and sheet


def test_the_log_has_every_step_once_however_often_the_training_was_killed(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    log.drop_after(0, -1)
    log.write(step=0, epoch=0, MAD=0.5)
    for step in (1, 2, 3):
        log.write(step=step, loss=float(step))
    log.write(step=2, epoch=1, MAD=0.4)
    log.write(step=2, gradient_norm=math.inf)
    with log.path.open("a") as file:
        file.write('{"step": 4, "lo')  # cut off by a kill
    log.drop_after(2, 0)
    left = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert left == list(log)
    steps = [(entry["step"], "epoch" in entry) for entry in left]
    assert steps == [(0, True), (1, False), (2, False), (2, False)]
    assert left[-1] == {"step": 2}  # infinity is no JSON


def test_a_sheet_shows_photo_truth_matte_and_cutout_beside_each_other():
    image = np.full((480, 240, 3), (10, 20, 200), np.uint8)
    example = Example("a", image, np.zeros((480, 240), np.uint8), image, cut=True, plain=True)
    example.alpha[:, :120] = 255
    row = preview.row(example, example.alpha.astype(np.float32) / 255)
    assert row.shape == (240, 4 * 120 + 3 * preview.GAP, 3)
    step = 120 + preview.GAP
    blue = np.array((10, 20, 200))
    # To a level: the photo was made smaller.
    for column, colour in ((5, blue), (step + 5, 255), (2 * step + 100, 0), (3 * step + 5, blue)):
        assert np.abs(row[100, column].astype(int) - colour).max() <= 1
    board = row[:, 3 * step + 70 :].astype(int)
    assert np.minimum(np.abs(board - 205), np.abs(board - 255)).max() <= 1
    picture = cv2.imdecode(
        np.frombuffer(preview.png([row, row[:, :300]]), np.uint8), cv2.IMREAD_COLOR
    )
    assert picture.shape == (2 * (240 + preview.GAP), row.shape[1], 3)
    assert preview.chosen(3) == [0, 1, 2]
    assert preview.chosen(91) == [0, 13, 26, 39, 51, 64, 77, 90]


# The file


def test_variances_beyond_half_precision_are_scaled_and_the_result_stays(tmp_path):
    torch.manual_seed(0)
    network = BiRefNet(TINY).eval()
    block = network.decoder.decoder_block4
    with torch.no_grad():
        block.conv_in.weight.mul_(1000)
        block.bn_in.running_var.fill_(1e6)
        block.bn_in.running_mean.fill_(300)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = network(image)
    with pytest.raises(ModelError, match="not finite"):  # what the scaling is for
        weights.save(network, tmp_path / "w.safetensors", config=TINY, size=(64, 64))
    save_weights(network, tmp_path / "w.safetensors", Size(64, 64))
    assert float(block.bn_in.running_var[0]) == 1e6  # a training could go on
    loaded = weights.load_network(weights.resolve(str(tmp_path / "w.safetensors")))
    assert float(loaded.decoder.decoder_block4.bn_in.running_var.max()) <= LARGEST
    with torch.no_grad():
        assert float((loaded(image) - expected).abs().max()) < 0.01 * float(expected.std())


def test_weights_too_large_for_half_precision_are_kept_in_single(tmp_path):
    network = BiRefNet(TINY).eval()
    with torch.no_grad():
        network.decoder.conv_out1[0].weight[0, 0] = 1e6
    save_weights(network, tmp_path / "w.safetensors", Size(64, 64))
    tensors, _ = weights.read(tmp_path / "w.safetensors")
    assert float(tensors["decoder.conv_out1.0.weight"][0, 0, 0, 0]) == 1e6
    assert network.decoder.conv_out1[0].weight.dtype == torch.float32


# Scores


def test_scores_are_what_their_names_say():
    mask = np.zeros((10, 200), np.uint8)
    mask[:, :100] = 255
    alpha = np.zeros((10, 200), np.float32)
    alpha[:, :50] = 1
    alpha[:, 50:100] = 0.5  # not above one half: background
    found = validate.measure(alpha, mask)
    assert found.iou == pytest.approx((0.5 + 100 / 150) / 2)
    assert (found.mad, found.mse, found.sad) == pytest.approx((0.125, 0.0625, 0.25))
    both = validate.mean([found, validate.measure(mask.astype(np.float32) / 255, mask)])
    assert (both.mad, both.sad) == pytest.approx((0.0625, 0.125))
