"""What only a CUDA device can show; skipped without one. ``pytest -n 0 -m gpu`` runs these."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import known_image, known_network

from birefcli.birefnet import SWIN_L, SWIN_T, kernels
from birefcli.images.photo import Photo
from birefcli.matting.batch_size import MANY, SIZES, choose_batch_size
from birefcli.matting.cuda_graph import GraphedNetwork
from birefcli.matting.device import Placement
from birefcli.matting.gpu import StagedPhoto
from birefcli.matting.predictor import ForegroundOptions, Predictor
from birefcli.options import Precision

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
SAMPLES = sorted((Path(__file__).parents[2] / "samples").glob("*.jpg"))
SIZE = (1024, 1024)
STEP = 2 / 255


def placement(precision):
    return Placement(torch.device("cuda", 0), precision)


@pytest.fixture(scope="module", params=[SWIN_T, SWIN_L], ids=["Swin-T", "Swin-L"])
def config(request):
    return request.param


@pytest.fixture
def images():
    """Photos and noise with edges, prepared: uint8 1024×1024×3 each."""
    photos = [np.array(Image.open(file).convert("RGB").resize(SIZE)) for file in SAMPLES]
    waves = known_image(*SIZE, 1)[0].permute(1, 2, 0).numpy()
    return [*photos, np.clip(waves * 60 + 120, 0, 255).astype(np.uint8)]


def plainly(monkeypatch):
    monkeypatch.setenv(kernels.SWITCH, "plain")


@pytest.fixture(autouse=True)
def every_kernel_compiles():
    kernels.forget_failures()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert not kernels.failed


def test_half_precision_is_within_two_levels_of_float32(config, images, monkeypatch):
    half = Predictor(known_network(config), SIZE, placement(Precision.FP16)).alphas(images)
    plainly(monkeypatch)
    exact = Predictor(known_network(config), SIZE, placement(Precision.FP32)).alphas(images)
    far = ((half - exact).abs() > STEP).float().mean().item()
    print(f"share of pixels more than 2/255 off: {far:.2e}")
    assert far < 1e-4


def test_fused_kernels_are_as_near_to_float32_as_plain_half_precision(config, monkeypatch):
    half = Predictor(known_network(config), SIZE, placement(Precision.FP16)).network
    image = known_image(*SIZE, 1).to("cuda", torch.float16)
    with torch.inference_mode():
        fused = half(image).float()
        plainly(monkeypatch)
        plain = half(image).float()
        # The same rounded weights and pixels, computed in float32.
        exact = Predictor(half, SIZE, placement(Precision.FP32)).network(image.float())
    scale = exact.abs().max()
    errors = [((logits - exact).abs().max() / scale).item() for logits in (fused, plain)]
    print(f"off by {errors[0]:.1e} of the logits' scale; plain half precision {errors[1]:.1e}")
    assert errors[0] < max(1e-3, 1.5 * errors[1])


def test_in_float32_fused_kernels_give_what_plain_torch_gives(config, monkeypatch):
    network = Predictor(known_network(config), SIZE, placement(Precision.FP32)).network
    image = known_image(*SIZE, 1).cuda()
    with torch.inference_mode():
        fused = network(image)
        plainly(monkeypatch)
        plain = network(image)
    assert (fused - plain).abs().max() / plain.abs().max() < 1e-3


@pytest.mark.parametrize("photos", [2, 4])
def test_a_photo_does_not_depend_on_the_others_of_its_batch(config, images, photos):
    predictor = Predictor(known_network(config), SIZE, placement(Precision.FP16))
    many = (images * photos)[:photos]
    together = predictor.alphas(many)
    alone = torch.cat([predictor.alphas([image]) for image in many])
    assert (together - alone).abs().max() < STEP


def test_a_recorded_network_gives_what_it_gave_before(images):
    predictor = Predictor(known_network(SWIN_T), SIZE, placement(Precision.FP16), compiled=True)
    assert isinstance(predictor._run, GraphedNetwork)
    first, second, third = (predictor.alphas(images[-1:] * 2) for _ in range(3))
    assert predictor._run._recorded
    assert (first - second).abs().max() < STEP
    assert torch.equal(second, third)
    # Other pixels: the recording reads its input anew.
    other = [255 - image for image in images[-1:] * 2]
    assert not torch.equal(predictor.alphas(other), third)


def test_memory_stays_flat_over_many_batches(images):
    predictor = Predictor(known_network(SWIN_T), SIZE, placement(Precision.FP16), compiled=True)
    for _ in range(3):
        predictor.alphas(images[-1:] * 4)
    before = torch.cuda.memory_reserved()
    for _ in range(50):
        predictor.alphas(images[-1:] * 4)
    assert torch.cuda.memory_reserved() == before


@pytest.mark.parametrize("deep", [False, True], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_photo_comes_back_as_from_the_cpu(images, deep, compiled):
    pixels = np.tile(images[-1], (2, 2, 1))
    photo = Photo(pixels.astype(np.uint16) * 257 if deep else pixels)
    here = Predictor(
        known_network(SWIN_T), (256, 256), Placement(torch.device("cpu"), Precision.FP32)
    )
    there = Predictor(
        known_network(SWIN_T), (256, 256), placement(Precision.FP32), compiled=compiled
    )
    assert isinstance(there.upload(photo), StagedPhoto) != deep
    alpha = here.alphas([here.upload(photo)])
    for _ in range(3):
        assert (there.alphas([there.upload(photo)]).cpu() - alpha).abs().max() < STEP
    wanted = here.matte_async(photo, alpha[0], ForegroundOptions())()
    got = there.matte_async(photo, alpha[0].cuda(), ForegroundOptions())()
    # Both as far as they show, of 255: the CPU may shrink the photo by another factor.
    assert np.abs(got.alpha.astype(int) - wanted.alpha).max() <= 16
    peak = np.iinfo(photo.pixels.dtype).max / 255
    difference = np.abs(got.foreground.astype(float) - wanted.foreground) / peak
    assert (difference * wanted.alpha[..., None] / 65535).max() <= 2


def test_a_batch_is_chosen_by_measuring():
    predictor = Predictor(known_network(SWIN_T), SIZE, placement(Precision.FP16))
    assert choose_batch_size(predictor, MANY) in SIZES


def test_a_batch_too_large_is_halved(images, monkeypatch):
    predictor = Predictor(known_network(SWIN_T), SIZE, placement(Precision.FP16), compiled=True)
    wanted = predictor.alphas(images[-1:])
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    limit = torch.cuda.memory_allocated() + 1.5e9
    torch.cuda.set_per_process_memory_fraction(min(1.0, limit / total))
    try:
        alphas = predictor.alphas(images[-1:] * 32)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert len(alphas) == 32
    assert (alphas - wanted).abs().max() < STEP
