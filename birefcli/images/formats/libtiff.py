"""Pillow's libtiff without what it prints about damaged files, which names no photo."""

import ctypes
import importlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

_Setter = Callable[[int | None], int | None]
_hushing = threading.Lock()
_hushed: list[tuple[int | None, ...]] = []
"""libtiff's handlers of errors and warnings, once for everybody who has set them aside."""


@contextmanager
def quiet() -> Iterator[None]:
    """Set libtiff's messages aside: what it fails at is told with the photo's name.

    Its handlers are those of the whole process, which may not be ours: the last puts them back.
    """
    with _hushing:
        _hushed.append(_hushed[0] if _hushed else tuple(set_to(None) for set_to in _setters()))
    try:
        yield
    finally:
        with _hushing:
            handlers = _hushed.pop()
            if not _hushed:
                for set_to, handler in zip(_setters(), handlers, strict=True):
                    set_to(handler)


@cache
def _setters() -> tuple[_Setter, ...]:
    """Functions that take another handler and give the one before; none where they are hidden.

    Pillow for Windows has its libtiff inside, without names.
    """
    found: list[_Setter] = []
    try:
        library = ctypes.CDLL(importlib.import_module("PIL._imaging").__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            setter = getattr(library, name)
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            found.append(setter)
    except (ImportError, OSError, AttributeError, TypeError):
        return ()
    return tuple(found)
