"""What ended a command, in one line and an exit code: also what nobody expected, by its cause."""

import re

from birefcli.cli import debugging, usage_errors
from birefcli.errors import BirefcliError, ExitCode, printable
from birefcli.system import machine
from birefcli.system.streams import STDOUT

NO_MEMORY = re.compile(
    "can't allocate memory|cannot allocate memory|failed to map segment|can't start new thread"
    "|failed to create thread|insufficient memory|std::bad_alloc|out of memory",
    re.IGNORECASE,
)
"""What libraries say where memory, or a thread and its stack, is denied."""


def explain(error: Exception) -> tuple[str, ExitCode]:
    """One line for an exception that ended a command, empty where all is said; and its code."""
    import typer

    if isinstance(error, BirefcliError):
        return str(error), error.exit_code
    if isinstance(error, typer.Abort):
        return "interrupted", ExitCode.INTERRUPTED
    if (wrong := usage_errors.explain(error)) is not None:
        return wrong, ExitCode.USAGE
    if isinstance(error, BrokenPipeError):  # as everywhere: who leaves has read enough
        return "", ExitCode.OUTPUT
    return _by_cause(error) or (_bug(error), ExitCode.BUG)


def _by_cause(error: Exception) -> tuple[str, ExitCode] | None:
    """What may happen to any line of ours, and is no bug; a command that knows more says more."""
    reason = str(error).strip().partition("\n")[0]
    unloadable = isinstance(error, ImportError) or (isinstance(error, OSError) and not error.errno)
    starved = unloadable and machine.address_limit() is not None
    if starved or isinstance(error, MemoryError) or NO_MEMORY.search(reason):
        return _no_memory(reason), ExitCode.MODEL
    if unloadable:
        hint = "install birefcli again, or what it lacks"
        return f"a library cannot be loaded: {reason}; {hint}", ExitCode.MODEL
    if isinstance(error, OSError):
        return _trouble(error, reason), ExitCode.OUTPUT
    if isinstance(error, ValueError) and re.search("null (byte|character)", reason):
        return "a file's name holds a zero byte, which none can", ExitCode.USAGE
    if isinstance(error, UnicodeEncodeError):
        shown = printable(error.object[error.start : error.end][:40])
        return f"{shown} cannot be written as {error.encoding}", ExitCode.OUTPUT
    if isinstance(error, RecursionError):
        return f"what was read is nested too deeply ({debugging.ADVICE})", ExitCode.MODEL
    return None


def _trouble(error: OSError, reason: str) -> str:
    if error.filename == STDOUT:
        return f"standard output cannot be written: {error.strerror}"
    if error.filename is None:
        return error.strerror or reason or type(error).__name__
    name = error.filename
    shown = printable(name if isinstance(name, str) else str(name))
    return f"{shown}: {error.strerror or reason}"


def _no_memory(reason: str) -> str:
    limit = machine.address_limit()
    allowed = "" if limit is None else f"; {limit >> 20} MB are allowed (ulimit -v)"
    return f"not enough memory{allowed}" + (f": {reason}" if reason else "")


def _bug(error: Exception) -> str:
    return f"a bug: {type(error).__name__}: {error} ({debugging.ADVICE})"
