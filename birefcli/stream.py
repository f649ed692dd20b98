"""Many photos through one network: loaded ahead on a pool, matted in batches, given in order."""

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

import torch
from torch import Tensor

from birefcli.ahead import ahead_of
from birefcli.errors import DeviceMemoryError, PhotoError
from birefcli.images import Photo
from birefcli.matting import Matter, Prepared

LOADERS = 2  # decoding is quick beside the network

Item = TypeVar("Item")


@dataclass(frozen=True)
class Seen(Generic[Item]):
    """A photo that the network has seen. ``alpha``: 1×h×w as of :meth:`Matter.alphas`."""

    item: Item
    photo: Photo
    alpha: Tensor


@dataclass(frozen=True)
class Lost(Generic[Item]):
    """A photo that cannot be had."""

    item: Item
    error: PhotoError


@dataclass(frozen=True)
class _Loaded(Generic[Item]):
    item: Item
    photo: Photo
    input: Prepared


def alphas(
    items: Iterable[Item], load: Callable[[Item], Photo], matter: Matter, batch: int
) -> Generator[Seen[Item] | Lost[Item], None, None]:
    """Run the network on what ``load`` gives for each item, ``batch`` photos at once.

    ``load`` is called in other threads, at most ``LOADERS + batch`` items ahead; ``items`` is
    drawn from in this one. A PhotoError of it costs one photo.
    """

    def prepare(item: Item) -> _Loaded[Item] | Lost[Item]:
        try:
            photo = load(item)
        except PhotoError as error:
            return Lost(item, error)
        return _Loaded(item, photo, matter.bring(photo))

    with ThreadPoolExecutor(LOADERS, "load") as pool:
        futures = ahead_of(pool, prepare, items, LOADERS + batch)
        loaded = (future.result() for future in futures)
        while group := list(islice(loaded, batch)):
            yield from _seen(group, matter)


def _seen(
    group: list[_Loaded[Item] | Lost[Item]], matter: Matter
) -> Generator[Seen[Item] | Lost[Item], None, None]:
    inputs = [each.input for each in group if isinstance(each, _Loaded)]
    found: Tensor | PhotoError
    try:
        found = matter.alphas(inputs) if inputs else torch.empty(0)
    except torch.OutOfMemoryError:
        found = DeviceMemoryError("out of memory on the device; use a smaller batch or size")
    ready: Iterator[Tensor] = iter(found if isinstance(found, Tensor) else ())
    for each in group:
        if isinstance(each, Lost):
            yield each
        elif isinstance(found, PhotoError):
            yield Lost(each.item, found)
        else:
            yield Seen(each.item, each.photo, next(ready))
