"""The process of a command: its streams, signals and exit code. A failure is one line on stderr.

What imports much is imported where it is needed: the streams come before anything opens a file.
"""

import _thread
import atexit
import contextlib
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from birefcli.batch.interrupts import CODES, GRACE, is_importing, leave
from birefcli.cli import debugging
from birefcli.cli.stderr import say
from birefcli.errors import ExitCode, InterruptError
from birefcli.system import allocator, process_settings, streams
from birefcli.system.secrets import without_secrets

WORDS = {ExitCode.INTERRUPTED: "interrupted", ExitCode.TERMINATED: "terminated"}
CLEAN_LINE = b"\r\x1b[K\x1b[?25h"  # erases what a progress bar has drawn, and shows the cursor
_asked: ExitCode | None = None
"""What a signal has asked this process to end with."""


def run() -> ExitCode:
    """Run the command line; every failure is handled here."""
    ours = streams.are_ours()
    if ours:
        streams.prepare()
        _handle_signals(_interrupt)
        # Python's last steps, which would let a signal end the process with a code of its own.
        atexit.register(_handle_signals, signal.SIG_IGN)
    code = _run()
    if ours:
        # Where Ctrl-C came into an exec of text, as libraries have some, Python would end by that
        # signal and not with our code; the next exec has it forget that.
        exec("pass")
        _handle_signals(lambda *_: os._exit(code))  # nothing more is done; nor is it waited for
    return _finished(code)


def _run() -> ExitCode:
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries warn about photos; we name them ourselves
    process_settings.let_idle_threads_sleep()
    process_settings.silence_opencv()
    allocator.keep_freed_memory()
    try:
        with process_settings.importing():
            from birefcli.cli import environment
            from birefcli.cli.app import app

        environment.check()
        process_settings.keep_to_allowed_cores()
        # Not standalone: Typer would print errors of its parser in other words and frames.
        return _as_code(app(prog_name="birefcli", standalone_mode=False))
    except SystemExit as left:
        return _as_code(left.code) if _asked is None else _failed(WORDS[_asked], _asked)
    except KeyboardInterrupt:
        return _failed(WORDS[ExitCode.INTERRUPTED], ExitCode.INTERRUPTED)
    except Exception as error:
        # A library may make another exception of ours: what ends the command is the signal.
        if _asked is not None and not isinstance(error, InterruptError):
            return _failed(WORDS[_asked], _asked, error)
        from birefcli.cli import failures

        return _failed(*failures.explain(error), error)


def _failed(message: str, code: ExitCode, error: Exception | None = None) -> ExitCode:
    if error is not None and code is not ExitCode.USAGE and debugging.is_wanted():
        trace = "".join(traceback.format_exception(error))
        print(without_secrets(trace), end="", file=sys.stderr)
    if message:
        say(f"birefcli: {message}")
    return code


def _as_code(left: object) -> ExitCode:
    return ExitCode(left) if isinstance(left, int) else ExitCode.OK


def _finished(code: ExitCode) -> ExitCode:
    """Write what is left for stdout; where that cannot be, a success is none."""
    error = streams.finish()
    if error is None or code not in (ExitCode.OK, ExitCode.SOME_FAILED):
        return code
    from birefcli.cli import failures

    return _failed(*failures.explain(error))


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End in order at the first signal, at once at the second. Commands may have their own way.

    And at once during an import: nothing is being written, and libraries that are being imported
    swallow an exception, or are left by half, or abort.
    """
    global _asked
    _asked = code = CODES[number]
    if is_importing(frame, run.__code__):
        _leave(code)
    _handle_signals(lambda *_: _leave(code))
    # Others may swallow exceptions, too. A thread of Python's own needs no lock that whoever was
    # interrupted may hold.
    _thread.start_new_thread(_leave_after, (GRACE, code))
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(code)


def _leave_after(seconds: float, code: ExitCode) -> None:
    time.sleep(seconds)
    _leave(code)


def _leave(code: ExitCode) -> NoReturn:
    """Say so, past whatever is being printed, and end the process at once."""
    with contextlib.suppress(OSError):
        drawn = CLEAN_LINE if os.isatty(2) and os.environ.get("TERM") != "dumb" else b""
        os.write(2, drawn + f"birefcli: {WORDS[code]}\n".encode())
    leave(code)


def _handle_signals(handler: Callable[[int, FrameType | None], object] | int) -> None:
    for number in CODES:
        # Whoever started us may ignore one, as nohup does SIGHUP.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
