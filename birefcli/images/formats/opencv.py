"""OpenCV's decoder without what it prints, which names no photo."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np

from birefcli.images.photo import Pixels, row_blocks

_SILENT = 0  # of OpenCV's levels
_hushing = threading.Lock()
_hushed: list[int] = []
"""OpenCV's level of messages, once for everybody who has set it aside."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Set OpenCV's messages aside: what it fails at is told with the photo's name.

    Their level is one for the whole process, which may not be ours: it is put back by the last.
    """
    log = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging  # 4, and 5
    with _hushing:
        _hushed.append(_hushed[0] if _hushed else log.getLogLevel())
        log.setLogLevel(_SILENT)
    try:
        yield
    finally:
        with _hushing:
            level = _hushed.pop()
            if not _hushed:
                log.setLogLevel(level)


def decode_stored(data: bytes) -> Pixels:
    """Values of 16 bits as a file stores them: H×W×1, ×3 or ×4, red first.

    Raises OSError where OpenCV cannot decode it as such.
    """
    with _quiet():
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.dtype != np.uint16:
        raise OSError("its 16-bit pixels cannot be decoded")
    stored = np.asarray(found).reshape(*found.shape[:2], -1)
    if stored.shape[2] == 3:
        return stored[:, :, ::-1]
    if stored.shape[2] == 4:
        for rows in row_blocks(len(stored)):
            stored[rows, :, :3] = stored[rows, :, 2::-1].copy()
    return stored
