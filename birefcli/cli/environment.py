"""Variables of the environment that are meant for us and unknown: reported before anything runs."""

import os
import re
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

from birefcli.cli.stderr import say
from birefcli.errors import DeviceError, OutputError
from birefcli.system import machine

PREFIX = "BIREFCLI_"
COMPLETING = "_BIREFCLI_COMPLETE"
SWITCHES = ("BIREFCLI_KERNELS", "BIREFCLI_NUMBA")
"""Variables for experiments, without an option."""
THREADS = "OMP_NUM_THREADS"
COMPUTING = ("matte", "watch", "serve", "bench", "train", "export", "doctor")
"""Commands that import torch."""
DECLARING = ("layout_options", "serve_options", "watch_options")
"""Modules that declare options with variables, which most commands do without."""
LEAST = 1 << 30
"""Bytes of addresses with less of which libraries crash while they are imported."""


def check() -> None:
    """Warn of unknown variables, and of a number of threads that is none, which is unset.

    A misspelled variable in a crontab would otherwise go unnoticed for months.
    """
    if COMPLETING in os.environ:
        return  # at every press of Tab
    given = sorted(name for name in os.environ if name.startswith(PREFIX))
    if given:
        _check_ours(given)
    threads = os.environ.get(THREADS)
    if threads is not None and not re.fullmatch(r"\s*0*[1-9]\d*\s*(,\s*\d+\s*)*", threads):
        # OpenMP's own warning names neither the variable's owner nor a remedy.
        say(f"birefcli: {THREADS}={threads}: not a number from 1, and not read")
        del os.environ[THREADS]


def _check_ours(given: list[str]) -> None:
    from birefcli.cli import shared_options

    for module in DECLARING:
        import_module(f"birefcli.cli.{module}")
    known = [name.removeprefix(PREFIX) for name in (*shared_options.VARIABLES, *SWITCHES)]
    for name in given:
        own = name.removeprefix(PREFIX)
        if own not in known:
            hint = _suggestion(own, known, shared_options.NEGATABLE)
            say(f"birefcli: unknown variable {name}, ignored{hint}")


def check_place(command: str | None) -> None:
    """See that a command can do anything where it was started. Raises OutputError, DeviceError."""
    try:
        Path.cwd()
    except FileNotFoundError:  # libraries would end the process, or name files that are there
        raise OutputError("the working folder is gone; change to one that is there") from None
    limit = machine.address_limit()
    if limit is None:
        return
    need = max(LEAST, machine.size_of_torch() if command in COMPUTING else 0)
    if limit < need:  # libraries would end the process in their own words
        raise DeviceError(
            f"not enough memory to start: {limit >> 20} MB are allowed (ulimit -v),"
            f" and libraries alone take {need >> 20}"
        )


def _suggestion(own: str, known: list[str], negatable: list[str]) -> str:
    positive = PREFIX + own.removeprefix("NO_")
    if own.startswith("NO_") and positive in negatable:
        off = os.environ[PREFIX + own].lower() not in ("", "0", "false", "no", "off")
        return f"; did you mean {positive}={0 if off else 1}?"
    near = get_close_matches(own, known, 1, 0.7)
    return f"; did you mean {PREFIX}{near[0]}?" if near else ""
