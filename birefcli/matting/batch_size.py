"""How many photos the network sees at once, where the user does not say."""

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import torch

from birefcli.birefnet.inference import InferenceNetwork
from birefcli.matting import device as devices
from birefcli.system import machine

if TYPE_CHECKING:
    from birefcli.matting.predictor import Predictor

SIZES = (1, 2, 4, 8, 16)
MANY = 100  # photos of a run that is worth a measurement; it would only hold up a shorter one
GAIN = 0.03  # of the time of a photo: what a batch twice as large must save to be taken
SHARE = 0.5  # of the free memory: a recorded network keeps its own, and photos need some too
FEATURES = 450  # bytes that a pixel of the network's input takes on a CPU, measured with mini
EXTRA = 1 / 16  # of the memory this process may use: for features of more photos than one


def fitting(free: int, each: int) -> list[int]:
    """Batch sizes whose features fit ``free`` bytes, at ``each`` bytes a photo; always one."""
    return [size for size in SIZES if size == 1 or size * each <= free * SHARE]


def smallest_efficient(seconds: Callable[[int], float], sizes: Iterable[int]) -> int:
    """Smallest size after which more photos at once save next to nothing.

    ``seconds``: time of a batch of so many photos. Lack of memory ends the search.
    """
    best, fastest = 1, float("inf")
    for size in sizes:
        try:
            each = seconds(size) / size
        except torch.OutOfMemoryError:
            break
        if each > fastest * (1 - GAIN):
            break
        best, fastest = size, each
    return best


def default_batch(predictor: "Predictor") -> int:
    """Photos at once where nothing is measured: on a CPU those that go beside each other."""
    device, network = predictor.placement.device, predictor.network
    if device.type != "cpu" or not isinstance(network, InferenceNetwork):
        return devices.default_batch(device)
    width, height = predictor.size
    extra = (machine.memory() or 0) * EXTRA // (FEATURES * width * height)
    return min(network.side_by_side, 1 + int(extra))


def choose_batch_size(predictor: "Predictor", photos: int) -> int:
    """Photos at once for a run of ``photos``: measured on CUDA, if they are many."""
    if predictor.placement.device.type != "cuda" or photos < MANY:
        return default_batch(predictor)
    try:
        each, free = _memory(predictor)
    except torch.OutOfMemoryError:
        return 1
    best = smallest_efficient(lambda size: _seconds(predictor, size), fitting(free, each))
    torch.cuda.empty_cache()
    return best


def _memory(predictor: "Predictor") -> tuple[int, int]:
    """Bytes that a photo's features take, and bytes that are free, on the predictor's GPU."""
    device = predictor.placement.device
    predictor.warm_up(1)  # what is made once is not counted
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    predictor.warm_up(1)
    each = torch.cuda.max_memory_allocated(device) - before
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return each, torch.cuda.mem_get_info(device)[0] + unused


def _seconds(predictor: "Predictor", size: int) -> float:
    predictor.warm_up(size)
    torch.cuda.synchronize(predictor.placement.device)
    started = time.perf_counter()
    predictor.warm_up(size)
    torch.cuda.synchronize(predictor.placement.device)
    return time.perf_counter() - started
