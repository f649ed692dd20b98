"""Many photos, on all cores: scores come in the pairs' order, and memory is bounded."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import cv2
from PIL import Image

from birefcli.errors import PhotoError
from birefcli.scoring.pairs import Pair
from birefcli.scoring.photo import Score, Settings, score
from birefcli.scoring.read import Read

BYTES_PER_PIXEL = 160
"""Of a photo that is being scored, at its peak, measured and rounded up."""


@dataclass(frozen=True)
class Item:
    """A pair to score; ``prediction`` where a model made it."""

    pair: Pair
    prediction: Read | None = None


@dataclass(frozen=True)
class Failure:
    """A photo that could not be scored, and why."""

    name: str
    error: str
    bug: bool = False


def scores(
    items: Iterable[Item | Failure], settings: Settings, workers: int, max_memory: int
) -> Generator[Score | Failure, None, None]:
    """Score every item, ``workers`` at once, in order.

    Processes and not threads: much of the work is numpy's bookkeeping, which holds Python's lock.
    Closing the iterator drops what has not started.
    """
    if workers == 1:
        yield from (item if isinstance(item, Failure) else attempt(item, settings)
                    for item in items)  # fmt: skip
        return
    # Not forked: a model in this process may hold threads and a GPU.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_begin)
    try:
        yield from _in_order(pool, items, settings, (2 * workers, max_memory))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    """Leave Ctrl-C to the process that tells of it; its cores are busy without more threads."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Leave no process behind when the one that waits for it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _in_order(
    pool: ProcessPoolExecutor,
    items: Iterable[Item | Failure],
    settings: Settings,
    limits: tuple[int, int],
) -> Iterator[Score | Failure]:
    ahead, max_memory = limits
    running: deque[tuple[int, Item | Failure, Future[Score | Failure]]] = deque()
    used = 0
    for item in items:
        size = 0 if isinstance(item, Failure) else _bytes(item)
        # A photo larger than all the room is done alone.
        while running and (len(running) >= ahead or used + size > max_memory):
            used -= running[0][0]
            yield _result(*running.popleft()[1:])
        running.append((size, item, _submit(pool, item, settings)))
        used += size
    while running:
        yield _result(*running.popleft()[1:])


def _submit(
    pool: ProcessPoolExecutor, item: Item | Failure, settings: Settings
) -> Future[Score | Failure]:
    if isinstance(item, Item):
        try:
            return pool.submit(attempt, item, settings)
        except BrokenProcessPool:
            item = _killed(item)
    done: Future[Score | Failure] = Future()
    done.set_result(item)
    return done


def _killed(item: Item) -> Failure:
    text = "a scoring process was killed, perhaps for want of memory: use fewer --threads"
    return Failure(item.pair.name, f"{item.pair.truth}: {text}")


def _result(item: Item | Failure, future: Future[Score | Failure]) -> Score | Failure:
    try:
        return future.result()
    except BrokenProcessPool:
        assert isinstance(item, Item)
        return _killed(item)


def _bytes(item: Item) -> int:
    """Memory that scoring will take, by the size the truth's header gives."""
    try:
        with Image.open(item.pair.truth) as image:
            return int(image.width * image.height * BYTES_PER_PIXEL)
    except Exception:  # whatever is wrong with it is told when it is read
        return 0


def attempt(item: Item, settings: Settings) -> Score | Failure:
    """Score one photo; a failure is a value, so that the others go on."""
    try:
        return score(item.pair, settings, item.prediction)
    except PhotoError as error:
        return Failure(item.pair.name, str(error))
    except MemoryError:
        return Failure(item.pair.name, f"{item.pair.truth}: does not fit into memory")
    except Exception as error:
        text = f"{item.pair.truth}: a bug: {type(error).__name__}: {error} (please report it)"
        return Failure(item.pair.name, text, bug=True)


def cores() -> int:
    """Processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1
