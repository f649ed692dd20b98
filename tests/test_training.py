"""Training: data, views, losses, the loop, and how a result is scored."""

from dataclasses import replace

import birefcli.training.__main__ as command
import cv2
import numpy as np
import pytest
import torch
from birefcli.training.loop import Recipe, Stage, Trainer, run
from torch.nn import functional as F

from birefcli import weights
from birefcli.birefnet import BiRefNet, Config, Supervision
from birefcli.birefnet.deform import DeformableConv
from birefcli.errors import ExitCode, ModelError
from birefcli.training import augment, data, export, losses, score
from birefcli.training.data import Example
from birefcli.training.sampling import use_fast_sampling

TINY = Config("mobilenetv4_conv_small_035", width=8, aspp_width=8, kernels=(3,), gradient_width=4)


def person(number: int) -> Example:
    """A red figure on a blue-green wall: rows 20 to 150 of 160, a head on a body."""
    rng = np.random.default_rng(number)
    alpha = np.zeros((160, 120), np.uint8)
    x = int(rng.integers(45, 75))
    cv2.ellipse(alpha, (x, 35), (10, 15), 0, 0, 360, 255, -1)
    cv2.ellipse(alpha, (x, 100), (22, 50), 0, 0, 360, 255, -1)
    image = rng.integers(0, 90, (160, 120, 3)).astype(np.uint8) + np.array([0, 60, 120], np.uint8)
    image[alpha > 0] = (200, 30, 20)
    return Example(f"{number}.png", image, alpha)


@pytest.fixture(scope="module")
def people():
    return [person(i) for i in range(6)]


def write(folder, examples):
    for name in (data.IMAGES, data.MASKS):
        (folder / name).mkdir(parents=True)
    for example in examples:
        cv2.imwrite(str(folder / data.IMAGES / example.name), example.image[..., ::-1])
        cv2.imwrite(str(folder / data.MASKS / example.name), example.alpha)
    return folder


# Data


def test_photos_are_read_with_their_masks_in_the_order_of_their_names(tmp_path, people):
    found = data.read_folder(write(tmp_path / "d", people))
    assert [e.name for e in found] == [f"{i}.png" for i in range(6)]
    assert all((a.image == b.image).all() for a, b in zip(found, people, strict=True))
    assert all((a.alpha == b.alpha).all() for a, b in zip(found, people, strict=True))


def test_all_that_is_wrong_with_a_folder_is_listed_at_once(tmp_path, people):
    folder = write(tmp_path / "d", people)
    (folder / "gt" / "0.png").unlink()
    (folder / "im" / "1.png").unlink()
    (folder / "im" / "2.png").write_bytes(b"no image")
    cv2.imwrite(str(folder / "gt" / "3.png"), people[3].alpha[:80])
    cv2.imwrite(str(folder / "gt" / "4.png"), people[4].alpha * 0)
    with pytest.raises(data.DataError) as error:
        data.read_folder(folder)
    lines = str(error.value).splitlines()
    assert len(lines) == 6
    assert f"{folder}/im/0.png: no mask in gt/" in lines
    assert f"{folder}/gt/1.png: no photo in im/" in lines
    assert f"{folder}/im/2.png: not readable as an image" in lines
    assert f"{folder}/gt/3.png: 120×80 instead of the photo's 120×160" in lines
    assert f"{folder}/gt/4.png: no subject (the subject is white)" in lines


def test_a_long_list_of_faults_is_cut_and_counted(tmp_path, people):
    folder = write(tmp_path / "d", [])
    for i in range(25):
        (folder / "im" / f"{i}.png").touch()
    with pytest.raises(data.DataError, match=r"and 5 more$"):
        data.read_folder(folder)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(data.DataError, match="no photos in"):
        data.read_folder(tmp_path)


def test_each_nth_photo_is_held_out_and_never_trained_on(people):
    train, held_out = data.split(people, 3)
    assert [e.name for e in held_out] == ["0.png", "3.png"]
    assert [e.name for e in train] == ["1.png", "2.png", "4.png", "5.png"]
    assert data.split(people, 0) == (people, [])


# Views


def test_photo_and_truth_of_a_view_stay_on_each_other(people):
    alpha = people[0].alpha
    rng = np.random.default_rng(0)
    for _ in range(20):
        window = augment.draw_window(alpha, rng)
        image = augment.look(np.repeat(alpha[..., None], 3, 2), window, 64)
        assert np.abs(image[..., 1] - augment.look(alpha, window, 64)).max() < 0.01


def test_the_window_over_a_whole_photo_shows_it_unmoved(people):
    window = augment.Window(60, 80, 120, 160, 0, mirrored=False)
    seen = augment.look(people[0].alpha, window, 160)
    expected = cv2.resize(people[0].alpha, (160, 160), interpolation=cv2.INTER_LINEAR) / 255
    assert np.abs(seen - expected).mean() < 0.01
    mirrored = augment.Window(60, 80, 120, 160, 0, mirrored=True)
    assert np.abs(augment.look(people[0].alpha, mirrored, 160) - expected[:, ::-1]).mean() < 0.01


def test_views_show_enough_of_the_subject_and_soft_edges_when_they_shrink(people):
    rng = np.random.default_rng(1)
    drawn = [augment.sample(people, 0, rng, 64) for _ in range(40)]
    shares = [float(alpha.mean()) for _, alpha in drawn]
    assert min(shares) > 0.03
    assert 0.15 < float(np.mean(shares)) < 0.8
    small = augment.look(people[0].alpha, augment.Window(60, 80, 120, 160, 0, False), 32)
    assert ((small > 0.1) & (small < 0.9)).any()


def test_a_backdrop_shows_nobody(people):
    for example in people:
        street = augment.behind(example, 64)
        red = street[..., 0] - street[..., 2]
        assert red.max() < 0.1  # the subject's red is 0.7 above its blue
    rng = np.random.default_rng(0)
    assert (augment.beside(people[0], rng, 64)[..., 0] < 0.5).all()


def test_a_composed_sample_has_the_subject_on_the_other_background(people):
    window = augment.Window(60, 80, 120, 160, 0, mirrored=False)
    image = augment.look(people[0].image, window, 64)
    alpha = augment.look(people[0].alpha, window, 64)
    green = np.tile(np.array([0, 1, 0], np.float32), (64, 64, 1))
    out = augment.compose(image, alpha, green, np.random.default_rng(0))
    assert np.abs(out[alpha == 0] - green[alpha == 0]).max() < 1e-6
    core = cv2.erode(alpha, np.ones((9, 9))) == 1
    assert core.any()
    assert np.abs(out[core] - image[core]).max() < 1e-6


def test_a_batch_depends_on_seed_and_step_alone(people):
    first, again = (augment.batch(people, 5, 7, 3, 64) for _ in range(2))
    other = augment.batch(people, 5, 8, 3, 64)
    assert first[0].shape == (3, 3, 64, 64)
    assert first[1].shape == (3, 1, 64, 64)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_the_network_sees_imagenet_normalisation():
    grey = augment.normalise(torch.full((1, 2, 2, 3), 0.5))
    expected = torch.tensor([(0.5 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (0.5 - 0.406) / 0.225])
    assert torch.allclose(grey[0, :, 0, 0], expected)


# Losses


def test_an_undecided_matte_of_a_half_covered_photo_costs_what_the_formula_says():
    alpha = torch.zeros(2, 1, 32, 32)
    alpha[..., :16] = 1
    logits = torch.zeros(2, 1, 32, 32)
    ssim = losses.ssim_loss(torch.sigmoid(logits), alpha)
    # BCE ln 2, MAE 1/2, intersection over union (1/4) / (3/4)
    expected = 30 * np.log(2) + 100 * 0.5 + 0.5 * (1 - 1 / 3)
    assert float(losses.matte(logits, alpha) - 10 * ssim) == pytest.approx(expected, rel=1e-5)


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
    losses.total(out, torch.randn(2, 3, 32, 32), alpha).backward()
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


# The loop

SHORT = Recipe((Stage(64, 3, 2), Stage(96, 3, 2)), lr=2e-3, warmup=2, dropout=0.2)


def test_the_rate_warms_up_and_falls_to_nothing_and_stages_follow_each_other():
    recipe = Recipe((Stage(64, 10, 4), Stage(96, 10, 2)), lr=1.0, warmup=4)
    assert [recipe.rate(step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert recipe.rate(12) == pytest.approx(0.5)
    assert recipe.rate(20) == pytest.approx(0)
    assert (recipe.stage(9).size, recipe.stage(10).size) == (64, 96)
    with pytest.raises(IndexError):
        recipe.stage(20)


def test_a_few_steps_on_generated_photos_lower_the_loss(people):
    trainer = Trainer(TINY, Recipe((Stage(64, 30, 4),), lr=3e-3, warmup=5))
    seen = [trainer.advance(people) for _ in range(30)]
    assert np.mean(seen[-5:]) < 0.75 * np.mean(seen[:5])


def test_a_resumed_run_repeats_the_unbroken_one_exactly(tmp_path, people):
    path = tmp_path / "c.ckpt"
    whole = Trainer(TINY, SHORT)
    expected = [whole.advance(people) for _ in range(6)]
    broken = Trainer(TINY, SHORT)
    first = [broken.advance(people) for _ in range(2)]
    broken.save(path)
    torch.rand(3)  # whatever else drew random numbers meanwhile
    resumed = Trainer(TINY, SHORT)
    resumed.resume(path)
    assert resumed.step == 2
    assert first + [resumed.advance(people) for _ in range(4)] == expected
    pairs = zip(
        whole.averaged.state_dict().values(), resumed.averaged.state_dict().values(), strict=True
    )
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path):
    Trainer(TINY, SHORT).save(tmp_path / "c.ckpt")
    other = Trainer(replace(TINY, width=16), SHORT)
    with pytest.raises(ModelError, match="not a checkpoint of this architecture"):
        other.resume(tmp_path / "c.ckpt")


def test_a_run_reports_and_leaves_a_checkpoint_at_its_end(tmp_path, people):
    trainer = Trainer(TINY, Recipe((Stage(32, 21, 2),)))
    told = []
    path = tmp_path / "c.ckpt"
    run(trainer, people, checkpoint=path, every=1e9, told=lambda *news: told.append(news))
    assert [step for step, _, _ in told] == [20]
    again = Trainer(TINY, trainer.recipe)
    again.resume(path)
    assert again.step == 21


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
    export.save(network, tmp_path / "w.safetensors", (64, 64))
    assert float(block.bn_in.running_var[0]) == 1e6  # a training could go on
    loaded = weights.load(weights.resolve(str(tmp_path / "w.safetensors")))
    assert float(loaded.decoder.decoder_block4.bn_in.running_var.max()) <= export.LARGEST
    with torch.no_grad():
        assert float((loaded(image) - expected).abs().max()) < 0.01 * float(expected.std())


# The commands


def test_the_command_writes_weights_that_load_and_goes_on_where_it_was(
    tmp_path, people, monkeypatch, capsys
):
    monkeypatch.setattr(command, "MINI", TINY)
    folder = write(tmp_path / "d", people)
    output = tmp_path / "w.safetensors"
    arguments = [str(folder), "-o", str(output), "--threads", str(torch.get_num_threads())]
    assert command.main([*arguments, "--stage", "32x2x2", "--hold-out", "3"]) == 0
    assert "4 photos, 2 held out, from step 0" in capsys.readouterr().out
    found = weights.resolve(str(output))
    assert found.size == (32, 32)
    assert weights.load(found).config == TINY
    assert command.main([*arguments, "--stage", "32x4x2"]) == 0
    assert "from step 2" in capsys.readouterr().out
    assert score.main([str(output), str(folder), "--every", "2", "--device", "cpu"]) == 0
    assert capsys.readouterr().out.startswith("3 photos: mean IoU 0.")


def test_the_commands_name_what_is_wrong_and_fail(tmp_path, capsys):
    assert command.main([str(tmp_path), "-o", str(tmp_path / "w")]) == ExitCode.NO_INPUT
    assert "no photos in" in capsys.readouterr().err
    missing = [str(tmp_path / "w.safetensors"), str(tmp_path)]
    assert score.main(missing) == ExitCode.MODEL
    assert "no such weights file" in capsys.readouterr().err
    for wrong in ("100x5x4", "64x5x1", "64x5"):
        with pytest.raises(SystemExit):
            command.parser().parse_args(["d", "-o", "w", "--stage", wrong])


def test_mean_iou_counts_both_classes():
    truth = np.zeros((4, 4), np.float32)
    truth[:, :2] = 1
    assert score.mean_iou(truth, truth) == 1
    half = truth.copy()
    half[:, 1] = 0.4  # below one half: background; subject 4 of 8, background 8 of 12
    assert score.mean_iou(half, truth) == pytest.approx((0.5 + 8 / 12) / 2)
    assert score.mean_iou(np.zeros_like(truth), np.zeros_like(truth)) == 1
