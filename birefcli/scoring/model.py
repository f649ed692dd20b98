"""Predictions made here: a model mattes the photos that are scored."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import torch
from numpy.typing import NDArray

from birefcli.errors import PhotoError
from birefcli.images import Photo
from birefcli.matting import Colour, Matter
from birefcli.pipeline import ahead_of
from birefcli.scoring import read
from birefcli.scoring.pairs import Pair
from birefcli.scoring.read import Read
from birefcli.scoring.run import Failure, Item

LOADERS = 2  # decoding is quick beside the network


def mattes(
    pairs: list[Pair], matter: Matter, batch: int, max_pixels: int
) -> Iterator[Item | Failure]:
    """Matte each pair's photo, in order, ``batch`` at once; a failed photo is a value."""

    def load(pair: Pair) -> "_Loaded | Failure":
        return _load(pair, matter, max_pixels)

    with ThreadPoolExecutor(LOADERS, "load") as pool:
        loaded = (future.result() for future in ahead_of(pool, load, pairs, LOADERS + batch))
        while group := list(islice(loaded, batch)):
            yield from _matte(group, matter)


class _Loaded:
    """A decoded photo and the network's input of it."""

    def __init__(self, pair: Pair, photo: Photo, prepared: NDArray[Any]) -> None:
        self.pair, self.photo, self.prepared = pair, photo, prepared


def _load(pair: Pair, matter: Matter, max_pixels: int) -> _Loaded | Failure:
    assert pair.photo is not None
    try:
        photo = read.photo(pair.photo, max_pixels)
        return _Loaded(pair, photo, matter.prepare(photo))
    except PhotoError as error:
        return Failure(pair.name, str(error))


def _matte(group: list[_Loaded | Failure], matter: Matter) -> Iterator[Item | Failure]:
    inputs = [item.prepared for item in group if isinstance(item, _Loaded)]
    try:
        alphas = iter(matter.alphas(inputs) if inputs else ())
    except torch.OutOfMemoryError:
        text = "out of memory on the device; use a smaller --batch or --size"
        yield from (Failure(item.name if isinstance(item, Failure) else item.pair.name, text)
                    for item in group)  # fmt: skip
        return
    for item in group:
        if isinstance(item, Failure):
            yield item
            continue
        # Colours cost time, and nothing compares them unless the true ones are known.
        colour = Colour() if item.pair.foreground is not None else None
        try:
            matte = matter.matte(item.photo, next(alphas), colour)
        except PhotoError as error:
            yield Failure(item.pair.name, f"{item.pair.photo}: {error}")
            continue
        colours = matte.foreground if colour is not None else None
        yield Item(item.pair, Read(matte.alpha, colours))
