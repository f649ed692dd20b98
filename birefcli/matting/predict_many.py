"""Many photos through one network: loaded ahead on a pool, matted in batches, given in order."""

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

import torch
from torch import Tensor

from birefcli.errors import DeviceMemoryError, PhotoError
from birefcli.images.photo import Photo
from birefcli.matting.predictor import Predictor, Prepared
from birefcli.system.prefetch import prefetch

LOADERS = 2  # decoding is quick beside the network

Item = TypeVar("Item")


@dataclass(frozen=True)
class Predicted(Generic[Item]):
    """A photo that the network has seen. ``alpha``: 1×h×w as of :meth:`Predictor.alphas`."""

    item: Item
    photo: Photo
    alpha: Tensor


@dataclass(frozen=True)
class Failed(Generic[Item]):
    """A photo that cannot be had."""

    item: Item
    error: PhotoError


@dataclass(frozen=True)
class _Loaded(Generic[Item]):
    item: Item
    photo: Photo
    input: Prepared


def predict_many(
    items: Iterable[Item], load: Callable[[Item], Photo], predictor: Predictor, batch: int
) -> Generator[Predicted[Item] | Failed[Item], None, None]:
    """Run the network on what ``load`` gives for each item, ``batch`` photos at once.

    ``load`` is called in other threads, at most ``LOADERS + batch`` items ahead; ``items`` is
    drawn from in this one. A PhotoError of it costs one photo.
    """

    def prepare(item: Item) -> _Loaded[Item] | Failed[Item]:
        try:
            photo = load(item)
        except PhotoError as error:
            return Failed(item, error)
        return _Loaded(item, photo, predictor.upload(photo))

    with ThreadPoolExecutor(LOADERS, "load") as pool:
        futures = prefetch(pool, prepare, items, LOADERS + batch)
        loaded = (future.result() for future in futures)
        while group := list(islice(loaded, batch)):
            yield from _seen(group, predictor)


def _seen(
    group: list[_Loaded[Item] | Failed[Item]], predictor: Predictor
) -> Generator[Predicted[Item] | Failed[Item], None, None]:
    inputs = [each.input for each in group if isinstance(each, _Loaded)]
    found: Tensor | PhotoError
    try:
        found = predictor.alphas(inputs) if inputs else torch.empty(0)
    except torch.OutOfMemoryError:
        found = DeviceMemoryError("out of memory on the device; use a smaller batch or size")
    ready: Iterator[Tensor] = iter(found if isinstance(found, Tensor) else ())
    for each in group:
        if isinstance(each, Failed):
            yield each
        elif isinstance(found, PhotoError):
            yield Failed(each.item, found)
        else:
            yield Predicted(each.item, each.photo, next(ready))
