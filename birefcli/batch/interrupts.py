"""Ctrl-C, SIGTERM and a closed terminal: the run ends in order, and soon.

A second Ctrl-C ends the process at once, wherever it is: with the first signal's exit code, what
there is to tell of the run, and no traceback.
"""

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import CodeType, FrameType, TracebackType
from typing import Any, ClassVar, NoReturn

from birefcli.errors import ExitCode
from birefcli.system import atomic

LOOK_AGAIN = 0.05  # seconds: whether an import has ended
GRACE = 8.0  # seconds for what is being encoded and written; a large WebP may take a minute
LAST_WORDS = 5.0  # seconds for the summary of a run that ends at once: a lock may hold it up
CODES: dict[int, ExitCode] = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
}
if hasattr(signal, "SIGHUP"):  # a terminal that was closed
    CODES[signal.SIGHUP] = ExitCode.TERMINATED

_asked: ExitCode | None = None
IMPORTING = "<frozen importlib._bootstrap>"  # where Python's import statement is written


def not_ignored(codes: Iterable[int] = CODES) -> list[int]:
    """Those of the signals that whoever started us does not ignore, as nohup does SIGHUP."""
    return [number for number in codes if signal.getsignal(number) is not signal.SIG_IGN]


def ends_at_once(number: int) -> bool:
    """Whether a further signal, after the first, is to end the process at once.

    Ctrl-C is: somebody waits. Others change nothing: ``timeout`` sends SIGTERM twice in a row.
    """
    return number == signal.SIGINT


def remember(code: ExitCode) -> None:
    """A signal has stopped what this process was for; the next is no first one."""
    global _asked
    _asked = code


def asked() -> ExitCode | None:
    """What the signal that has stopped a run asked this process to end with."""
    return _asked


def leave(code: ExitCode) -> NoReturn:
    """End the process at once, whatever its threads are doing; what they write is dropped."""
    atomic.drop_unfinished()
    os._exit(code)


def later(seconds: float, call: Callable[[], object]) -> None:
    """Call it then, if the process is still there, whatever holds that up."""

    def wait() -> None:
        time.sleep(seconds)
        call()

    # A thread of Python's own needs no lock that whoever was interrupted may hold.
    _thread.start_new_thread(wait, ())


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
    process ends at once: ``before_exit`` tells what there is to tell, and what was in flight is
    dropped without a trace. Within another handler's block a signal counts for both.
    """

    _innermost: "ClassVar[InterruptHandler | None]" = None

    def __init__(self, codes: Mapping[int, ExitCode] = CODES, grace: float = GRACE) -> None:
        """``codes``: the signals, and what the process then ends with; ``grace``: in seconds."""
        self._codes, self._grace = codes, grace
        self.code: ExitCode | None = None
        self.before_exit: Callable[[], object] = lambda: None
        """Called where the process ends at once, to print a summary."""
        self._held = self._raised = self._ending = self._hurried = False
        self._number, self._until = 0, 0.0
        self._outer: InterruptHandler | None = None

    def __enter__(self) -> "InterruptHandler":
        self._before: dict[int, Any] = {}
        if threading.current_thread() is not threading.main_thread():
            return self  # Python handles signals in the main thread alone: its owner decides
        self._user = sys._getframe(1).f_code
        self._outer, InterruptHandler._innermost = InterruptHandler._innermost, self
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
        self._ending = True
        if InterruptHandler._innermost is not self:  # of another thread
            return
        if self._outer is not None and self._raised:
            self._outer._inherit(self)
        InterruptHandler._innermost = self._outer
        if hasattr(signal, "SIGALRM"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._outer is not None and self._outer.code is not None:
            self._outer._set_alarm(self._outer._until - time.monotonic())
        elif self.code is not None and not self._raised:  # it came too late for this block
            signal.raise_signal(self._number)

    def _inherit(self, inner: "InterruptHandler") -> None:
        """Take over a signal that was raised in a block within this one's: it is the first."""
        self.code, self._until, self._raised = inner.code, inner._until, True

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no signal interrupt a few steps that belong together; it is raised after them."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._hurried:
            self._give_up()
        if self.code is not None:
            self._raise()

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Tell the end, which no signal interrupts, and which ``before_exit`` need not tell again.

        A first signal is raised no more: it counts for whoever this handler's block lies within.
        """
        self._ending = self._held = True
        try:
            yield
        finally:
            self._held = False
            self.before_exit = lambda: None
        if self._hurried:
            self._give_up()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.code is not None:
            if ends_at_once(number):
                self._hurry(frame)
            return
        self._number = number
        self.code = self._codes[number]
        self._until = time.monotonic() + self._grace
        self._interrupt(frame)

    def _hurry(self, frame: FrameType | None) -> None:
        """End at once: after steps that are held, but for an import, which reports nothing."""
        if self._hurried:  # and once more
            leave(self._known_code)
        self._hurried = True
        if not self._held or is_importing(frame, self._user):
            self._held = False
            self._give_up()

    def _interrupt(self, frame: FrameType | None) -> None:
        """Raise, unless steps are held; after an import, which would be left by half."""
        importing = hasattr(signal, "SIGALRM") and is_importing(frame, self._user)
        self._set_alarm(LOOK_AGAIN if importing else self._until - time.monotonic())
        if not (self._held or importing):
            self._raise()

    def _set_alarm(self, seconds: float) -> None:
        if hasattr(signal, "SIGALRM"):
            signal.setitimer(signal.ITIMER_REAL, max(seconds, LOOK_AGAIN))

    def _raise(self) -> None:
        if not (self._raised or self._ending):
            self._raised = True
            remember(self._known_code)
            raise StoppedError

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        if time.monotonic() < self._until:
            self._interrupt(frame)
        else:
            self._give_up()

    @property
    def _known_code(self) -> ExitCode:
        assert self.code is not None
        return self.code

    def _give_up(self) -> NoReturn:
        """Tell the end, if no held step tells something now, and end the process."""
        code, self._hurried = self._known_code, True
        try:
            later(LAST_WORDS, lambda: leave(code))
            if not self._held:
                self._tell()
        finally:
            leave(code)

    def _tell(self) -> None:
        handler: InterruptHandler | None = self
        while handler is not None:
            handler.code = handler.code or self.code
            handler.before_exit()
            handler = handler._outer
