"""Settings that hold for the whole process, which may not be ours: changed here and nowhere else.

A command's process is its own. A program that embeds birefcli sees what each function names as its
callers. OpenCV and torch are imported by the functions that need them: the command calls the first
two before it knows whether it needs either.
"""

import gc
import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache
from typing import Any, Generic, TypeAlias, TypeVar

from birefcli.system import cpu

OPENCV_LOG_LEVEL, SILENT = "OPENCV_LOG_LEVEL", "SILENT"  # which is 0
Value = TypeVar("Value")


def silence_opencv() -> None:
    """Keep OpenCV's log from stderr, unless the user has set ``OPENCV_LOG_LEVEL``.

    A damaged photo is then named once, by birefcli. OpenCV reads the variable when it is imported;
    the command calls this before. Child processes inherit it.
    """
    os.environ.setdefault(OPENCV_LOG_LEVEL, SILENT)


def let_idle_threads_sleep() -> None:
    """Let OpenMP's idle threads sleep, unless the user has set ``OMP_WAIT_POLICY``.

    Torch's threads would wait for each other in a loop that takes the cores which decode and
    encode. OpenMP reads the variable when torch is imported; the command calls this before.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def keep_to_allowed_cores() -> None:
    """Let torch and OpenCV begin with no more threads than a container gets processor time for.

    They count cores that a process may run on; more threads than it gets time for stop each other.
    What the user has set stays. OpenMP and OpenCV read their variables when they are imported; the
    command calls this before. Child processes inherit them.
    """
    allowed = cpu.count()
    if allowed < cpu.admitted():
        os.environ.setdefault("OMP_NUM_THREADS", str(allowed))
        os.environ.setdefault("OPENCV_FOR_THREADS_NUM", str(allowed))


@contextmanager
def importing() -> Iterator[None]:
    """Import libraries within a block; Python looks for no garbage meanwhile.

    Torch makes half a million objects when it is imported, which stay: the collector would go
    through them again and again while there come more. After the block they count as old. Called by
    the command, and by its run of a batch.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            _count_as_old()
            gc.enable()


def _count_as_old() -> None:
    """Move all objects to the collector's oldest generation, without a look at any."""
    if not gc.get_freeze_count():  # of an embedding program's own
        gc.freeze()
        gc.unfreeze()


def allow_open_files() -> None:
    """Let this process open as many files and sockets as it may; for the photo service.

    Systems begin with a soft limit of 1024, for programs that select(2); each client takes one.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        most = 1 << 16 if hard == resource.RLIM_INFINITY else min(hard, 1 << 16)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


@cache
def open_files() -> int:
    """Files and sockets that this process may have open at once."""
    try:
        import resource
    except ImportError:
        return 512  # of the C library on Windows
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def use_one_opencv_thread() -> None:
    """OpenCV works in the calling thread: for runs that share photos among threads of their own.

    Called by scoring and training, which both are a run's whole work.
    """
    import cv2

    cv2.setNumThreads(1)


def set_torch_threads(count: int) -> None:
    """Torch computes in ``count`` threads, at least one; called by workers and training."""
    import torch

    torch.set_num_threads(max(1, count))


def allow_tf32_convolutions(allowed: bool) -> None:
    """Whether convolutions on CUDA may round what they multiply to ten bits of fraction.

    Torch allows it by default. Called where a network is put on a CUDA device: float32 is meant to
    be exact, half precision loses nothing by it.
    """
    import torch

    torch.backends.cudnn.allow_tf32 = allowed


def silence_http_client() -> None:
    """Keep what httpcore2 and httpx2 log from any handler but for warnings.

    They write URLs and headers, which hold secrets: a signed URL is a key. Called by whatever
    fetches URLs of others.
    """
    for name in ("httpcore2", "httpx2"):
        logging.getLogger(name).setLevel(logging.WARNING)


class _SetAside(Generic[Value]):
    """A setting that threads change for a while: the last that is done puts back what it was."""

    def __init__(self, read: Callable[[], Value], write: Callable[[Value], object]) -> None:
        self._read, self._write = read, write
        self._lock = threading.Lock()
        self._before: list[Value] = []

    @contextmanager
    def to(self, value: Value) -> Iterator[None]:
        with self._lock:
            self._before.append(self._before[0] if self._before else self._read())
            self._write(value)
        try:
            yield
        finally:
            with self._lock:
                before = self._before.pop()
                if not self._before:
                    self._write(before)


def _pillow_limit() -> int | None:
    from PIL import Image

    return Image.MAX_IMAGE_PIXELS


def _set_pillow_limit(pixels: int | None) -> None:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = pixels


def _opencv_log() -> Any:  # noqa: ANN401 - a module that differs from version to version
    import cv2

    return cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging  # 4, and 5


_PILLOW_LIMIT = _SetAside(_pillow_limit, _set_pillow_limit)
_OPENCV_LEVEL: _SetAside[int] = _SetAside(
    lambda: _opencv_log().getLogLevel(), lambda level: _opencv_log().setLogLevel(level)
)


def without_pillow_limit() -> AbstractContextManager[None]:
    """Set Pillow's limit of pixels aside within a block, which has one with a message of its own.

    For what opens pictures.
    """
    return _PILLOW_LIMIT.to(None)


def without_opencv_messages() -> AbstractContextManager[None]:
    """Keep OpenCV's log from stderr within a block, unless the user has set ``OPENCV_LOG_LEVEL``.

    For what decodes with it, and tells what went wrong with the photo's name.
    """
    wanted = os.environ.get(OPENCV_LOG_LEVEL, SILENT) != SILENT
    return nullcontext() if wanted else _OPENCV_LEVEL.to(0)


_Handlers: TypeAlias = tuple[int | None, ...]


def _libtiff_handlers() -> _Handlers:
    """libtiff's handlers of errors and warnings; asked for by setting another for a moment."""
    handlers = tuple(set_to(None) for set_to in _libtiff_setters())
    _set_libtiff_handlers(handlers)
    return handlers


def _set_libtiff_handlers(handlers: _Handlers) -> None:
    for set_to, handler in zip(_libtiff_setters(), handlers, strict=False):
        set_to(handler)


@cache
def _libtiff_setters() -> tuple[Callable[[int | None], int | None], ...]:
    """Functions that take another handler and give the one before; none where they are hidden.

    Pillow for Windows has its libtiff inside, without names.
    """
    import ctypes
    import importlib

    found: list[Callable[[int | None], int | None]] = []
    try:
        library = ctypes.CDLL(importlib.import_module("PIL._imaging").__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            setter = getattr(library, name)
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            found.append(setter)
    except (ImportError, OSError, AttributeError, TypeError):
        return ()
    return tuple(found)


_libtiff = _SetAside(_libtiff_handlers, _set_libtiff_handlers)


def without_libtiff_messages() -> AbstractContextManager[None]:
    """Keep what Pillow's libtiff prints about damaged files from stderr: it names no photo.

    Called by decoding. Pillow has no setting for it.
    """
    return _libtiff.to((None, None))


@contextmanager
def without_warnings(*loggers: str) -> Iterator[None]:
    """Keep Python's warnings, and those of these loggers, from stderr within a block.

    For a library's notes to its own authors, which no user can act on; errors are raised.
    """
    levels = {name: logging.getLogger(name).level for name in loggers}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in loggers:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


def silence_ray() -> None:
    """Keep what Ray's services say from stdout, which is for results; the user's setting stays.

    And keep Ray from starting a cluster of its own where it is asked for anything without one.
    It reads the variables when it is imported; a run over a cluster calls this before. What becomes
    of a machine is told by birefcli.
    """
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")


def take_signals_back(numbers: Iterable[int]) -> None:
    """Have Python handle these signals again, as it did before a library in C took them.

    Ray prints pages at a SIGTERM. Called by a run over a cluster when it has joined it, and when it
    has left; only the main thread may do it, which is where the handlers of a run are set.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in numbers:
        handler = signal.getsignal(number)
        if handler is not None:  # it is Python's
            signal.signal(number, handler)
