"""Whether a failure is shown with its traceback, and how to ask for it. Imports next to nothing."""

import os
import sys

OPTION = "--debug"
ADVICE = f"run again with {OPTION} and report it"


def is_wanted() -> bool:
    """Whether tracebacks are wanted.

    Read here and not from the parsed options: the bug may be in parsing them.
    """
    return OPTION in sys.argv or os.environ.get("BIREFCLI_DEBUG", "0") not in ("", "0")
