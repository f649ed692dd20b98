"""Settings that hold for the whole process, which may not be ours: changed here and nowhere else.

A command's process is its own. A program that embeds birefcli sees what each function names as its
callers. OpenCV and torch are imported by the functions that need them: the command calls the first
two before it knows whether it needs either.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from birefcli.system import cpu

OPENCV_LEVEL, SILENT = "OPENCV_LOG_LEVEL", "SILENT"


def silence_opencv() -> None:
    """Keep OpenCV's log from stderr, unless the user has set ``OPENCV_LOG_LEVEL``.

    A damaged photo is then named once, by birefcli. OpenCV reads the variable when it is imported;
    the command calls this before. Child processes inherit it.
    """
    os.environ.setdefault(OPENCV_LEVEL, SILENT)


_setting_aside = threading.Lock()
_set_aside: list[int] = []
"""OpenCV's level of messages, once for everybody who has set it aside."""


@contextmanager
def opencv_silenced() -> Iterator[None]:
    """Keep OpenCV's log from stderr within the block, unless ``OPENCV_LOG_LEVEL`` wants it.

    For a program that embeds birefcli, whose OpenCV is imported: what a decoder fails at is named
    with its photo. The level is put back by the last that leaves.
    """
    if os.environ.get(OPENCV_LEVEL, SILENT) != SILENT:
        yield
        return
    import cv2

    log = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging  # OpenCV 4, and 5
    with _setting_aside:
        _set_aside.append(_set_aside[0] if _set_aside else log.getLogLevel())
        log.setLogLevel(0)
    try:
        yield
    finally:
        with _setting_aside:
            level = _set_aside.pop()
            if not _set_aside:
                log.setLogLevel(level)


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
