"""OpenCV's decoder without what it prints, which names no photo."""

import cv2
import numpy as np

from birefcli.images.photo import Pixels, row_blocks
from birefcli.system.process_settings import without_opencv_messages


def decode_stored(data: bytes) -> Pixels:
    """Values of 16 bits as a file stores them: H×W×1, ×3 or ×4, red first.

    Raises OSError where OpenCV cannot decode it as such.
    """
    with without_opencv_messages():
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
