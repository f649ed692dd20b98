"""Work on a photo that a GPU does: each step against what the CPU does, with the CPU as device."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from conftest import picture
from PIL import Image

from birefcli.errors import PhotoError
from birefcli.images.photo import Photo
from birefcli.matting import gpu, predictor
from birefcli.matting.device import Placement, as_current
from birefcli.matting.foreground import cpu as foreground_cpu
from birefcli.matting.foreground import gpu as foreground_gpu
from birefcli.matting.foreground import reference
from birefcli.matting.predictor import ForegroundOptions, Predictor
from birefcli.options import Edges, Precision, Size

CPU = torch.device("cpu")


def photo(width, height, seed=0):
    """H×W×3 of uint8, smooth with some noise, and an alpha with a wide soft edge."""
    pixels = np.asarray(picture(width, height, seed))
    x = torch.linspace(-1.5, 1.5, width).expand(height, width)
    y = torch.linspace(-1.2, 1.2, height)[:, None]
    return pixels, (2 * (1.2 - (x**2 + y**2).sqrt())).clamp(0, 1)


@pytest.mark.parametrize("size", [(96, 64), (32, 128), (300, 200)])
def test_a_photo_shrinks_as_with_pillow(size):
    pixels, _ = photo(251, 163)
    got = gpu.shrink(torch.from_numpy(pixels.copy()), size).numpy()
    wanted = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
    assert got.dtype == np.uint8
    assert np.abs(got.astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_photos_own_transparency_is_multiplied_in_as_on_the_cpu(dtype, monkeypatch):
    monkeypatch.setattr(foreground_gpu, "STRIP", 100)
    noise = np.random.RandomState(0)
    alpha = torch.from_numpy(noise.rand(31, 17).astype(np.float32))
    alpha[0, :2] = torch.tensor([0.0, 1.0])
    own = noise.randint(0, np.iinfo(dtype).max + 1, (31, 17)).astype(dtype)
    own[1] = np.iinfo(dtype).max
    wanted = predictor._times(predictor._whole(alpha), own)
    assert np.array_equal(gpu.levels(alpha, torch.from_numpy(own)).numpy(), wanted)
    assert np.array_equal(gpu.levels(alpha, None).numpy(), predictor._whole(alpha))


@pytest.mark.parametrize("tile", [64, 1024])
def test_colours_of_a_small_photo_are_those_of_the_paper(tile):
    pixels, alpha = photo(150, 110)
    image = torch.from_numpy(pixels.copy())
    got = foreground_gpu.estimate(image, alpha, everywhere=True, tile=tile)
    planes = image.permute(2, 0, 1).float() / 255
    wanted = (reference.estimate(planes, alpha[None]) * 255).round().permute(1, 2, 0)
    assert (got.float() - wanted)[alpha < 1].abs().max() <= 1
    assert torch.equal(got[alpha == 1], image[alpha == 1])


@pytest.mark.parametrize("everywhere", [False, True])
def test_colours_of_a_large_photo_are_those_of_the_cpu(everywhere, monkeypatch):
    monkeypatch.setattr(foreground_gpu, "STRIP", 200_000)
    pixels, alpha = photo(2011, 1403)
    got = foreground_gpu.estimate(
        torch.from_numpy(pixels.copy()), alpha, everywhere=everywhere, tile=512
    )
    levels = (alpha * 65535).round().to(torch.int32).numpy().astype(np.uint16)
    wanted = foreground_cpu.estimate_pixels(pixels, levels, everywhere=everywhere)
    difference = np.abs(got.numpy().astype(int) - wanted)
    changed = wanted != pixels
    assert changed.any()
    # The photo is shrunk by a whole number here. As far as it shows:
    assert (difference * alpha.numpy()[..., None]).max() <= 2
    assert difference.mean() < 0.5


def test_colours_keep_sixteen_bits():
    pixels, alpha = photo(150, 110)
    deep = torch.from_numpy(pixels.astype(np.uint16) * 257)
    got = foreground_gpu.estimate(deep, alpha, everywhere=True)
    assert got.dtype == torch.uint16
    shallow = foreground_gpu.estimate(torch.from_numpy(pixels.copy()), alpha, everywhere=True)
    assert np.abs(got.numpy() / 257 - shallow.numpy()).max() <= 0.51


def test_pixels_far_from_soft_alpha_are_untouched():
    pixels, _ = photo(200, 100)
    image = torch.from_numpy(pixels.copy())
    alpha = torch.zeros(100, 200)
    alpha[:, 100:] = 1
    alpha[:, 99] = 0.5
    got = foreground_gpu.estimate(image, alpha)
    first = 99 - reference.AROUND
    assert torch.equal(got[:, :first], image[:, :first])
    assert torch.equal(got[:, 100:], image[:, 100:])
    assert not torch.equal(got[:, first:100], image[:, first:100])


def test_what_goes_up_comes_down_again():
    pixels, _ = photo(30, 20)
    pixels.flags.writeable = False
    staged = gpu.upload(pixels, CPU)
    (back,) = gpu.download((staged.here(),)).result()
    assert np.array_equal(back, pixels)


def test_a_dock_takes_photos_within_its_limit():
    photos = [Photo(photo(30, 20, seed)[0]) for seed in range(3)]
    dock = gpu.PhotoStaging(CPU, 2 * photos[0].pixels.nbytes)
    assert dock.upload(photos[0], (8, 8)) is not None
    assert dock.upload(photos[1], (8, 8)) is not None
    assert dock.upload(photos[2], (8, 8)) is None
    del photos[0]
    gc.collect()
    assert dock.upload(photos[1], (8, 8)) is not None
    assert len(dock._waiting) == 2


def test_a_photo_without_room_goes_up_when_its_turn_comes():
    this = Photo(photo(30, 20)[0])
    assert np.array_equal(gpu.PhotoStaging(CPU, 0).take(this).numpy(), this.pixels)


class Halves(torch.nn.Module):
    """A network whose logits follow the red channel."""

    def forward(self, image):
        return 3 * image[:, :1]


@pytest.mark.parametrize("room", [0, 10**9], ids=["no room to wait", "room"])
@pytest.mark.parametrize(
    "colour", [None, ForegroundOptions(), ForegroundOptions(everywhere=True)], ids=str
)
@pytest.mark.parametrize("transparent", [False, True])
def test_a_photo_comes_back_as_from_the_cpu(room, colour, transparent):
    pixels, _ = photo(150, 110)
    own = np.linspace(0, 255, 110 * 150).astype(np.uint8).reshape(110, 150) if transparent else None
    this = Photo(pixels, own)
    placement = Placement(CPU, Precision.FP32)
    here, there = (Predictor(Halves(), (96, 64), placement) for _ in range(2))
    there._staging = gpu.PhotoStaging(CPU, room)
    assert isinstance(there.upload(this), gpu.StagedPhoto) == bool(room and not transparent)
    alphas = [m.alphas([m.upload(this)]) for m in (here, there)]
    assert (alphas[0] - alphas[1]).abs().max() < 0.06  # a level of 255, times the network's slope
    wanted = here.matte_async(this, alphas[0][0], colour)()
    got = there.matte_async(this, alphas[0][0], colour)()
    assert np.abs(got.alpha.astype(int) - wanted.alpha).max() <= 3  # of 65535
    assert np.abs(got.foreground.astype(int) - wanted.foreground).max() <= 2
    assert (colour is None) == (got.foreground is pixels)


def test_a_photo_that_is_no_plain_bytes_is_prepared_here():
    deep = Photo(photo(30, 20)[0].astype(np.uint16) * 257)
    predictor = Predictor(Halves(), (96, 64), Placement(CPU, Precision.FP32))
    predictor._staging = gpu.PhotoStaging(CPU, 10**9)
    assert isinstance(predictor.upload(deep), np.ndarray)


# Which device is a thread's current one


class Entered:
    """Stands for a device's context: which threads are within it, and what entered it."""

    def __init__(self):
        self.threads, self.devices = [], []

    def __call__(self, device):
        self.devices.append(device)
        return self

    def __enter__(self):
        self.threads.append(threading.current_thread())

    def __exit__(self, *_):
        self.threads.remove(threading.current_thread())

    def here(self):
        return threading.current_thread() in self.threads


@pytest.fixture
def entered(monkeypatch):
    one = Entered()
    for module in (predictor, gpu):
        monkeypatch.setattr(module, "as_current", one)
    return one


@pytest.fixture
def within(entered, monkeypatch):
    """What ran within the device's context, by name."""
    ran = {}

    def spied(name, function):
        def spy(*args, **named):
            ran[name] = entered.here()
            return function(*args, **named)

        return spy

    for name in ("upload", "shrink", "levels", "estimate", "download", "refine_edges"):
        monkeypatch.setattr(gpu, name, spied(name, getattr(gpu, name)))
    monkeypatch.setattr(predictor, "enlarge", spied("enlarge", predictor.enlarge))
    monkeypatch.setattr(gpu.PendingDownload, "result", spied("result", gpu.PendingDownload.result))
    monkeypatch.setattr(Halves, "forward", spied("network", Halves.forward))
    return ran


def in_a_thread(work):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


@pytest.mark.parametrize("run", [in_a_thread, lambda work: work()], ids=["thread", "here"])
def test_all_work_of_a_device_runs_where_it_is_the_threads_own(run, entered, within):
    this = Photo(photo(150, 110)[0])
    there = Predictor(Halves(), Size(96, 64), Placement(CPU, Precision.FP32), edges=Edges.AUTO)
    there._staging = gpu.PhotoStaging(CPU, 10**9)
    run(lambda: there.warm_up(1))
    prepared = run(lambda: there.upload(this))
    alpha = run(lambda: there.alphas([prepared]))
    ending = run(lambda: there.matte_async(this, alpha[0], ForegroundOptions()))
    run(ending)
    names = ("network", "upload", "shrink", "enlarge", "refine_edges")
    names += ("levels", "estimate", "download", "result")
    assert within == dict.fromkeys(names, True)
    assert set(entered.devices) == {CPU}
    assert not entered.threads


def test_a_failure_leaves_the_device(entered):
    there = Predictor(Halves(), Size(96, 64), Placement(CPU, Precision.FP32))
    with pytest.raises(PhotoError, match="NaN"):
        there.matte(Photo(photo(150, 110)[0]), torch.full((1, 64, 96), torch.nan), None)
    assert entered.devices
    assert not entered.threads


def test_only_a_cuda_device_is_entered():
    numbered = as_current(torch.device("cuda", 1))
    assert isinstance(numbered, torch.cuda.device)
    assert numbered.idx == 1
    assert isinstance(as_current(CPU), nullcontext)
    assert isinstance(as_current(torch.device("mps")), nullcontext)
