"""The process of a command: its streams, signals and exit code. A failure is one line on stderr.

What imports much is imported where it is needed: the streams come before anything opens a file.
"""

import atexit
import contextlib
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from birefcli.batch import interrupts
from birefcli.batch.interrupts import CODES, GRACE, StoppedError, is_importing, leave
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
    except StoppedError:  # in the last moment of a run, which no more catches it
        code = interrupts.asked() or ExitCode.INTERRUPTED
        return _failed(WORDS[code], code)
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
    """End in order at the first signal, at once at a second Ctrl-C.

    Commands may have their own way. During an import the first one ends it at once, too: nothing
    is being written, and libraries that are being imported swallow an exception, or are left by
    half, or abort.
    """
    global _asked
    if (first := interrupts.asked()) is not None:  # a run was stopped, and is over
        _interrupt_again(first, number)
        return
    _asked = code = CODES[number]
    if is_importing(frame, run.__code__):
        _leave(code)
    _handle_signals(lambda again, _: _interrupt_again(code, again))
    interrupts.later(GRACE, lambda: _leave(code))  # others may swallow exceptions, too
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(code)


def _interrupt_again(code: ExitCode, number: int) -> None:
    if interrupts.ends_at_once(number):
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
