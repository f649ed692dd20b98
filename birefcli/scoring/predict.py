"""Predictions made here: a model mattes the photos that are scored."""

from collections.abc import Iterator

from birefcli.errors import Message, PhotoError
from birefcli.images.files import open_photo
from birefcli.images.photo import Photo
from birefcli.matting.predict_many import Failed, Predicted, predict_many
from birefcli.matting.predictor import ForegroundOptions, Predictor
from birefcli.scoring.batch import Failure, Item
from birefcli.scoring.masks import Mask
from birefcli.scoring.pairs import Pair


def mattes(
    pairs: list[Pair], predictor: Predictor, batch: int, max_pixels: int
) -> Iterator[Item | Failure]:
    """Matte each pair's photo, in order, ``batch`` at once; a failed photo is a value."""

    def load(pair: Pair) -> Photo:
        assert pair.photo is not None
        return open_photo(pair.photo, max_pixels)

    for predicted in predict_many(pairs, load, predictor, batch):
        yield _item(predicted, predictor)


def _item(predicted: Predicted[Pair] | Failed[Pair], predictor: Predictor) -> Item | Failure:
    pair = predicted.item
    if isinstance(predicted, Failed):
        return Failure(pair.name, predicted.error.message)
    # Colours cost time, and nothing compares them unless the true ones are known.
    colour = ForegroundOptions() if pair.foreground is not None else None
    try:
        matte = predictor.matte(predicted.photo, predicted.alpha, colour)
    except PhotoError as error:
        return Failure(pair.name, Message(f"{pair.photo}: ", error.message))
    return Item(pair, Mask(matte.alpha, None if colour is None else matte.foreground))
