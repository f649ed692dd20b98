"""Predictions made here: a model mattes the photos that are scored."""

from collections.abc import Iterator

from birefcli import stream
from birefcli.errors import PhotoError
from birefcli.images import Photo
from birefcli.matting import Colour, Matter
from birefcli.scoring import read
from birefcli.scoring.pairs import Pair
from birefcli.scoring.read import Read
from birefcli.scoring.run import Failure, Item
from birefcli.stream import Lost, Seen


def mattes(
    pairs: list[Pair], matter: Matter, batch: int, max_pixels: int
) -> Iterator[Item | Failure]:
    """Matte each pair's photo, in order, ``batch`` at once; a failed photo is a value."""

    def load(pair: Pair) -> Photo:
        assert pair.photo is not None
        return read.photo(pair.photo, max_pixels)

    for seen in stream.alphas(pairs, load, matter, batch):
        yield _predicted(seen, matter)


def _predicted(seen: Seen[Pair] | Lost[Pair], matter: Matter) -> Item | Failure:
    if isinstance(seen, Lost):
        return Failure(seen.item.name, str(seen.error))
    # Colours cost time, and nothing compares them unless the true ones are known.
    colour = Colour() if seen.item.foreground is not None else None
    try:
        matte = matter.matte(seen.photo, seen.alpha, colour)
    except PhotoError as error:
        return Failure(seen.item.name, f"{seen.item.photo}: {error}")
    return Item(seen.item, Read(matte.alpha, None if colour is None else matte.foreground))
