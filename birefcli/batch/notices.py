"""What the network logs while a batch runs, passed on to whoever reports it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOGGER = logging.getLogger("birefcli")


class _Callback(logging.Handler):
    """Calls a function with each message of a warning or worse."""

    def __init__(self, call: Callable[[str], object]) -> None:
        super().__init__(logging.WARNING)
        self._call = call

    def emit(self, record: logging.LogRecord) -> None:
        self._call(record.getMessage())


@contextmanager
def notices_to(call: Callable[[str], object]) -> Iterator[None]:
    """Call a function with every warning that birefcli logs, and keep it from other handlers."""
    handler, before = _Callback(call), LOGGER.propagate
    LOGGER.addHandler(handler)
    LOGGER.propagate = False
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.propagate = before
