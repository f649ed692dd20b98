"""Predictions made here: a model mattes the photos that are scored."""

from collections.abc import Iterator

from birefcli.errors import PhotoError
from birefcli.images.photo import Photo
from birefcli.matting.predict_many import Failed, Predicted, predict_many
from birefcli.matting.predictor import ForegroundOptions, Predictor
from birefcli.scoring import masks
from birefcli.scoring.batch import Failure, Item
from birefcli.scoring.masks import Mask
from birefcli.scoring.pairs import Pair


def mattes(
    pairs: list[Pair], predictor: Predictor, batch: int, max_pixels: int
) -> Iterator[Item | Failure]:
    """Matte each pair's photo, in order, ``batch`` at once; a failed photo is a value."""

    def load(pair: Pair) -> Photo:
        assert pair.photo is not None
        return masks.photo(pair.photo, max_pixels)

    for seen in predict_many(pairs, load, predictor, batch):
        yield _predicted(seen, predictor)


def _predicted(seen: Predicted[Pair] | Failed[Pair], predictor: Predictor) -> Item | Failure:
    if isinstance(seen, Failed):
        return Failure(seen.item.name, str(seen.error))
    # Colours cost time, and nothing compares them unless the true ones are known.
    colour = ForegroundOptions() if seen.item.foreground is not None else None
    try:
        matte = predictor.matte(seen.photo, seen.alpha, colour)
    except PhotoError as error:
        return Failure(seen.item.name, f"{seen.item.photo}: {error}")
    return Item(seen.item, Mask(matte.alpha, None if colour is None else matte.foreground))
