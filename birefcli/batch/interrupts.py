"""Ctrl-C, SIGTERM and a closed terminal: the run ends in order, and soon."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import CodeType, FrameType, TracebackType
from typing import Any, NoReturn

from birefcli.errors import ExitCode
from birefcli.system import atomic

LOOK_AGAIN = 0.05  # seconds: whether an import has ended
GRACE = 8.0  # seconds for what is being encoded and written; a large WebP may take a minute
CODES: dict[int, ExitCode] = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
}
if hasattr(signal, "SIGHUP"):  # a terminal that was closed
    CODES[signal.SIGHUP] = ExitCode.TERMINATED

IMPORTING = "<frozen importlib._bootstrap>"  # where Python's import statement is written


def not_ignored(codes: Iterable[int] = CODES) -> list[int]:
    """Those of the signals that whoever started us does not ignore, as nohup does SIGHUP."""
    return [number for number in codes if signal.getsignal(number) is not signal.SIG_IGN]


def leave(code: ExitCode) -> NoReturn:
    """End the process at once, whatever its threads are doing; what they write is dropped."""
    atomic.drop_unfinished()
    os._exit(code)


def is_importing(frame: FrameType | None, outermost: CodeType) -> bool:
    """Whether this frame runs within an import that ``outermost``, or what it calls, has begun."""
    while frame is not None and frame.f_code is not outermost:
        if frame.f_code.co_filename == IMPORTING:
            return True
        frame = frame.f_back
    return False


class StoppedError(BaseException):
    """A signal has asked the run to end."""


class InterruptHandler:
    """The first of these signals becomes an exception in the main thread.

    What is in flight then has a few seconds to be written; after that, or at a second Ctrl-C, the
    process ends at once, and what was in flight is dropped without a trace.
    """

    def __init__(self, codes: Mapping[int, ExitCode] = CODES, grace: float = GRACE) -> None:
        """``codes``: the signals, and what the process then ends with; ``grace``: in seconds."""
        self._codes, self._grace = codes, grace
        self.code: ExitCode | None = None
        self.before_exit: Callable[[], object] = lambda: None
        """Called where a run is given up, to print its summary."""
        self._held = self._raised = False
        self._until = 0.0

    def __enter__(self) -> "InterruptHandler":
        self._before: dict[int, Any] = {}
        if threading.current_thread() is not threading.main_thread():
            return self  # Python handles signals in the main thread alone: its owner decides
        self._user = sys._getframe(1).f_code
        self._before = {n: signal.signal(n, self._stop) for n in not_ignored(self._codes)}
        if hasattr(signal, "SIGALRM"):  # not on Windows: there it waits for the last photo
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._on_alarm)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if hasattr(signal, "SIGALRM") and signal.SIGALRM in self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no signal interrupt a few steps that belong together; it is raised after them."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self.code is not None:
            self._raise()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.code is not None:
            if number == signal.SIGINT:
                leave(self.code)
            return
        self.code = self._codes[number]
        self._until = time.monotonic() + self._grace
        self._interrupt(frame)

    def _interrupt(self, frame: FrameType | None) -> None:
        """Raise, unless steps are held; after an import, which would be left by half."""
        importing = hasattr(signal, "SIGALRM") and is_importing(frame, self._user)
        if hasattr(signal, "SIGALRM"):
            left = max(self._until - time.monotonic(), LOOK_AGAIN)
            signal.setitimer(signal.ITIMER_REAL, LOOK_AGAIN if importing else left)
        if not (self._held or importing):
            self._raise()

    def _raise(self) -> None:
        if not self._raised:
            self._raised = True
            raise StoppedError

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        if time.monotonic() < self._until:
            self._interrupt(frame)
        else:
            self._give_up()

    def _give_up(self) -> None:
        assert self.code is not None
        try:
            if not self._held:
                self.before_exit()
        finally:
            leave(self.code)
