"""Recorded networks and the size of batches, with fakes in place of a GPU."""

import pytest
import torch

from birefcli.matting import batch_size
from birefcli.matting.batch_size import MANY, SIZES, choose_batch_size, fitting, smallest_efficient
from birefcli.matting.cuda_graph import GraphedNetwork


class Gpu:
    """A network and a recorder that remember what they were asked."""

    def __init__(self, *, fails=None):
        self.fails = fails
        self.eager, self.replayed, self.recorded, self.told = [], [], [], []

    def network(self, batch):
        self.eager.append(len(batch))
        return batch * 2

    def record(self, network, batch):
        assert network == self.network
        if self.fails is not None:
            raise self.fails
        self.recorded.append(len(batch))

        def replay(photos):
            assert photos.shape == batch.shape
            self.replayed.append(len(photos))
            return photos * 2

        return replay

    def graphed(self):
        return GraphedNetwork(self.network, self.told.append, self.record)


def photos(n, side=4, dtype=torch.float32):
    return torch.arange(n * 3 * side * side, dtype=dtype).view(n, 3, side, side)


def run(graphed, *sizes):
    for n in sizes:
        batch = photos(n)
        assert torch.equal(graphed(batch), batch * 2)


def test_the_first_batch_warms_up_and_the_second_is_recorded():
    gpu = Gpu()
    run(gpu.graphed(), 4, 4, 4)
    assert (gpu.eager, gpu.recorded, gpu.replayed) == ([4], [4], [4, 4])
    assert gpu.told == ["warming up", "", "recording the network", ""]


def test_a_last_batch_that_is_nearly_full_is_filled_up():
    gpu = Gpu()
    run(gpu.graphed(), 4, 4, 3)
    assert gpu.replayed == [4, 4]
    assert gpu.eager == [4]


@pytest.mark.parametrize("left", [1, 2])
def test_a_last_batch_of_half_the_photos_or_fewer_goes_without(left):
    gpu = Gpu()
    run(gpu.graphed(), 4, 4, left)
    assert gpu.replayed == [4]
    assert gpu.eager == [4, left]


def test_batches_of_another_size_or_type_have_recordings_of_their_own():
    gpu = Gpu()
    graphed = gpu.graphed()
    run(graphed, 4, 4)
    for batch in (photos(4, side=8), photos(4, dtype=torch.float64)):
        for _ in range(2):
            assert torch.equal(graphed(batch), batch * 2)
    assert gpu.recorded == [4, 4, 4]


@pytest.mark.parametrize("fault", [RuntimeError("not while recording"), torch.OutOfMemoryError()])
def test_a_network_that_cannot_be_recorded_runs_as_it_is(fault):
    gpu = Gpu(fails=fault)
    run(gpu.graphed(), 4, 4, 4)
    assert gpu.eager == [4, 4, 4]
    assert gpu.told[-2:] == ["recording the network", ""]


def test_lack_of_memory_drops_the_recordings_and_is_passed_on():
    gpu = Gpu()
    graphed = gpu.graphed()
    run(graphed, 4, 4)
    full = graphed._network

    def lacking(_):
        raise torch.OutOfMemoryError

    graphed._network = lacking
    with pytest.raises(torch.OutOfMemoryError):
        graphed(photos(8))
    graphed._network = full
    run(graphed, 4, 4, 2)
    assert gpu.replayed == [4]
    assert gpu.eager == [4, 4, 4, 2]


def test_a_batch_fits_half_of_the_free_memory():
    assert fitting(free=16_000, each=1000) == [1, 2, 4, 8]
    assert fitting(free=3_999, each=1000) == [1]
    assert fitting(free=10, each=1000) == [1]
    assert fitting(free=10**9, each=1) == list(SIZES)


def timed(**seconds):
    """Time of a batch by its size, ``b8=...``; others lack memory."""

    def measure(size):
        if f"b{size}" not in seconds:
            raise torch.OutOfMemoryError
        return seconds[f"b{size}"]

    return measure


def test_the_knee_is_where_more_photos_save_no_more():
    saturated = timed(b1=1.0, b2=1.99, b4=3.98, b8=7.9, b16=15.8)
    assert smallest_efficient(saturated, SIZES) == 1
    launching = timed(b1=1.0, b2=1.2, b4=1.8, b8=3.55, b16=7.1)
    assert smallest_efficient(launching, SIZES) == 4
    ever_better = timed(b1=1.0, b2=1.5, b4=2.5, b8=4.5, b16=8.5)
    assert smallest_efficient(ever_better, SIZES) == 16
    assert smallest_efficient(ever_better, fitting(free=8, each=1)) == 4


def test_the_knee_is_sought_only_where_memory_suffices():
    assert smallest_efficient(timed(b1=1.0, b2=1.1), SIZES) == 2
    assert smallest_efficient(timed(), SIZES) == 1


class Matter:
    def __init__(self, kind, lacking=False):
        self.placement = type("Compute", (), {"device": torch.device(kind)})
        self.network, self.lacking, self.rehearsed = None, lacking, []

    def warm_up(self, photos):
        self.rehearsed.append(photos)
        if self.lacking:
            raise torch.OutOfMemoryError


def test_a_large_network_takes_one_photo_at_a_time_on_a_cpu_and_a_short_run_is_not_held_up():
    assert choose_batch_size(Matter("cpu"), 10_000) == 1
    assert choose_batch_size(Matter("mps"), 10_000) == 1
    gpu = Matter("cuda")
    assert choose_batch_size(gpu, 20) == 4
    assert not gpu.rehearsed


def test_a_long_run_on_a_gpu_measures_its_batch(monkeypatch):
    gpu = Matter("cuda")
    times = timed(b1=1.0, b2=1.2, b4=1.8, b8=2.0)
    monkeypatch.setattr(batch_size, "_memory", lambda _: (1000, 16_000))
    monkeypatch.setattr(batch_size, "_seconds", lambda _, size: times(size))
    assert choose_batch_size(gpu, MANY) == 8


def test_a_gpu_that_one_photo_fills_takes_one_at_a_time():
    assert choose_batch_size(Matter("cuda", lacking=True), MANY) == 1
