"""Many photos, on all cores: scores come in the pairs' order, and memory is bounded."""

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2

from birefcli.errors import Message, Option, PhotoError
from birefcli.images.opening import read_header
from birefcli.scoring.masks import Mask
from birefcli.scoring.measure import Score, Settings, measure
from birefcli.scoring.pairs import Pair
from birefcli.system.prefetch import prefetch
from birefcli.system.process_settings import use_one_opencv_thread
from birefcli.system.regular_file import open_regular

BYTES_PER_PIXEL = 100
"""Of a photo that is being scored, at its peak: 73 for masks, 83 for 16-bit cutouts with colours
and thumbnails were measured."""


@dataclass(frozen=True)
class Item:
    """A pair to score; ``prediction`` where a model made it."""

    pair: Pair
    prediction: Mask | None = None


@dataclass(frozen=True)
class Failure:
    """A photo that could not be scored, and why."""

    name: str
    error: Message
    bug: bool = False


def measure_all(
    items: Iterable[Item | Failure], settings: Settings, workers: int, max_memory: int
) -> Generator[Score | Failure, None, None]:
    """Score every item, ``workers`` at once, in order, in about ``max_memory`` bytes.

    A photo larger than all the memory is scored alone. Threads and not processes: nearly all the
    work is in numpy and OpenCV, outside Python's lock, and on two cores threads measured no slower.
    Closing the iterator drops what has not started.
    """
    use_one_opencv_thread()  # as many photos as cores are enough
    pool = ThreadPoolExecutor(workers, "score")
    try:
        results = prefetch(
            pool,
            lambda item: attempt(item, settings),
            items,
            workers + 1,
            eager=False,
            cost=_bytes,
            budget=max_memory,
        )
        for future in results:
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _bytes(item: Item | Failure) -> int:
    """Memory that scoring takes, by the size that headers give."""
    if isinstance(item, Failure):
        return 0
    files = [path for path in (item.pair.truth, item.pair.prediction) if path is not None]
    return max(_pixels(path) for path in files) * BYTES_PER_PIXEL


def _pixels(path: Path) -> int:
    try:
        with open_regular(path) as file:
            return read_header(file).pixels
    except Exception:  # whatever is wrong with it is reported when it is read
        return 0


def attempt(item: Item | Failure, settings: Settings) -> Score | Failure:
    """Score one photo; a failure is a value, so that the others go on."""
    if isinstance(item, Failure):
        return item
    name, truth = item.pair.name, item.pair.truth
    try:
        return measure(item.pair, settings, item.prediction)
    except PhotoError as error:
        return Failure(name, error.message)
    except (MemoryError, cv2.error) as error:
        if isinstance(error, cv2.error) and error.code != cv2.Error.StsNoMem:
            return _bug(item, error)
        return Failure(name, Message(f"{truth}: out of memory: use fewer ", Option("threads")))
    except Exception as error:
        return _bug(item, error)


def _bug(item: Item, error: Exception) -> Failure:
    text = f"{item.pair.truth}: a bug: {type(error).__name__}: {error} (please report it)"
    return Failure(item.pair.name, Message(text), bug=True)
