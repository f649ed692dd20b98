"""``python -m birefcli`` and the ``birefcli`` command: run it, and print a failure in one line."""

import signal
import sys
import traceback
import warnings

from birefcli.cli import debugging
from birefcli.cli.stderr import say
from birefcli.errors import BirefcliError, ExitCode
from birefcli.system import allocator, process_settings


def main() -> None:
    """Run the command line; every failure is handled here."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries warn about photos; we name them ourselves
    process_settings.let_idle_threads_sleep()
    process_settings.silence_opencv()
    allocator.keep_freed_memory()
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda *_: sys.exit(ExitCode.TERMINATED))
    try:
        from birefcli.cli import environment  # here: Ctrl-C comes whenever it comes
        from birefcli.cli.app import app

        environment.check()
        process_settings.keep_to_allowed_cores()
        # Not standalone: Typer would print errors of its parser in other words and frames.
        sys.exit(app(standalone_mode=False))
    except BirefcliError as error:
        _fail(str(error), error.exit_code, error)
    except KeyboardInterrupt:
        _fail("interrupted", ExitCode.INTERRUPTED)
    except BrokenPipeError:
        from birefcli.cli.command import drop_output

        drop_output()
        sys.exit(ExitCode.OUTPUT)
    except Exception as error:
        _explain(error)


def _explain(error: Exception) -> None:
    """Explain an exception of another library, and exit."""
    import typer

    from birefcli.cli import usage_errors

    if isinstance(error, typer.Abort):
        _fail("interrupted", ExitCode.INTERRUPTED)
    if (wrong := usage_errors.explain(error)) is not None:
        _fail(wrong, ExitCode.USAGE) if wrong else sys.exit(ExitCode.USAGE)
    # A file that cannot be read or written has its own message; what has no name is stdout.
    if isinstance(error, OSError) and error.strerror and error.filename is None:
        text = f"standard output cannot be written: {error.strerror}"
        _fail(text, ExitCode.OUTPUT, error)
    text = f"a bug: {type(error).__name__}: {error} ({debugging.ADVICE})"
    _fail(text, ExitCode.BUG, error)


def _fail(message: str, code: ExitCode, error: Exception | None = None) -> None:
    if error is not None and debugging.is_wanted():
        traceback.print_exception(error)
    say(f"birefcli: {message}")
    sys.exit(code)


if __name__ == "__main__":
    main()
