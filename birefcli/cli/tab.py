"""``--option=value`` when Tab is pressed: where each shell sees words, which Typer leaves to them.

Typer offers the value alone. bash takes ``=`` and ``:`` for words of their own and replaces what
follows them; zsh, fish and PowerShell complete the whole word.
"""

import io
import os
import re
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, redirect_stdout

from birefcli.cli.environment import COMPLETING

_OPTION = re.compile(r"(?:^|\s)(--[\w-]+=)\S*$")
"""The last word of a command line, where it is an option with its value."""


@contextmanager
def as_shells_read() -> Iterator[None]:
    """Have Typer see what is typed, and the shell what it can use, while it is answered."""
    instruction, _, shell = os.environ.get(COMPLETING, "").partition("_")
    if instruction != "complete":
        yield
        return
    kept = _join_words(os.environ) if shell == "bash" else ""
    option = _OPTION.search(os.environ.get("_TYPER_COMPLETE_ARGS", ""))
    answer = io.StringIO()
    try:
        with redirect_stdout(answer):
            yield
    finally:
        lines = answer.getvalue().splitlines()
        if option is not None and shell == "zsh":
            lines[:1] = [f"compset -P 1 '*='; {line}" for line in lines[:1]]
        elif option is not None:
            lines = [f"{option[1]}{line}" for line in lines]
        print("\n".join(line.removeprefix(kept) for line in lines))


def _join_words(environment: MutableMapping[str, str]) -> str:
    """Write bash's words as they are typed: ``--device = cuda : 1`` as ``--device cuda:1``.

    Returns what of the last one stays as it is, like ``cuda:``.
    """
    words = environment.get("COMP_WORDS", "").split("\n")
    words = words[: int(environment.get("COMP_CWORD", "0")) + 1]
    split = "\n".join(words)
    joined = re.sub(r"^(-.*)\n=(?:\n|\Z)", r"\1\n", split, flags=re.MULTILINE)
    joined = re.sub(r"\n(:+)(?:\n|\Z)", r"\1", joined)
    if joined == split:
        return ""
    environment["COMP_WORDS"], environment["COMP_CWORD"] = joined, str(joined.count("\n"))
    last = joined.rpartition("\n")[2]
    return last if words[-1].startswith(":") else last.removesuffix(words[-1])
