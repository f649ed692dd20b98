"""Variables of the environment that are meant for us and unknown: reported before anything runs."""

import os
import re
from difflib import get_close_matches

from birefcli.cli import shared_options
from birefcli.cli.stderr import say

OURS = "BIREFCLI_"
COMPLETING = "_BIREFCLI_COMPLETE"
SWITCHES = ("BIREFCLI_KERNELS", "BIREFCLI_NUMBA")
"""What is set for an experiment, and is no option."""
THREADS = "OMP_NUM_THREADS"


def check() -> None:
    """Say which names nobody reads, and drop a count of threads that is none.

    A crontab that is meant to set an option and sets nothing would go unnoticed for months.
    """
    if COMPLETING in os.environ:
        return  # at every press of Tab
    known = [name.removeprefix(OURS) for name in (*shared_options.VARIABLES, *SWITCHES)]
    for name in sorted(name for name in os.environ if name.startswith(OURS)):
        own = name.removeprefix(OURS)
        if own not in known:
            say(f"birefcli: unknown variable {name}, ignored{_meant(own, known)}")
    threads = os.environ.get(THREADS)
    if threads is not None and not re.fullmatch(r"\s*0*[1-9]\d*\s*(,\s*\d+\s*)*", threads):
        # OpenMP would say so itself, in words that name neither the variable's owner nor a remedy.
        say(f"birefcli: {THREADS}={threads}: not a number from 1, and not read")
        del os.environ[THREADS]


def _meant(own: str, known: list[str]) -> str:
    positive = OURS + own.removeprefix("NO_")
    if own.startswith("NO_") and positive in shared_options.NEGATABLE:
        off = os.environ[OURS + own].lower() not in ("", "0", "false", "no", "off")
        return f"; did you mean {positive}={0 if off else 1}?"
    near = get_close_matches(own, known, 1, 0.7)
    return f"; did you mean {OURS}{near[0]}?" if near else ""
