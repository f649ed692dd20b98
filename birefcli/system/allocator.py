"""Memory that the network frees and wants again in the next layer.

glibc gives blocks of more than 32 MB back to the system as soon as they are freed, and the system
clears them before it lends them out again. A network's feature maps are such blocks, hundreds of
them for each photo: kept, they save a tenth of its time.
"""

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT = 1 << 30
"""Bytes: blocks up to this size are kept."""
_ALL = 2**31 - 1


def keep_freed_memory() -> bool:
    """Have this process keep what it frees; whether its C library can.

    The user's own ``MALLOC_`` settings stay as they are.
    """
    if not sys.platform.startswith("linux") or any(k.startswith("MALLOC_") for k in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return False
    return bool(mallopt(_MMAP_THRESHOLD, KEPT) and mallopt(_TRIM_THRESHOLD, _ALL))


def give_back() -> None:
    """Give what is freed back to the system: nothing is computed for a while."""
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
