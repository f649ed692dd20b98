"""The one way to say a line on stderr. Imports next to nothing: some commands only say a line."""

import contextlib
import sys

from birefcli.errors import printable
from birefcli.system.secrets import without_secrets


def say(text: str) -> None:
    """Print one line on stderr.

    A terminal that was closed takes nothing any more, and the work is ended all the same.
    """
    text = without_secrets(text)
    with contextlib.suppress(OSError):
        print(printable(text), file=sys.stderr, flush=True)
