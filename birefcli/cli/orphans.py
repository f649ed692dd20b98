"""``birefcli matte --orphans``: products whose photo is gone, as lines that other programs take."""

import os
import sys

import typer

from birefcli.cli import rules
from birefcli.cli.stderr import say
from birefcli.errors import ExitCode, printable
from birefcli.options import Selection

ALLOWED = (
    *("inputs", "output", "name", "null", "quiet", "debug"),
    *("recursive", "include", "exclude", "files_from", "shard"),  # refused with a reason of theirs
)
"""Options that say which products, and how they are printed; all others are those of a run."""


def list_orphans(context: typer.Context, selection: Selection, *, null: bool, quiet: bool) -> None:
    """Print names on stdout, a line each or each with a zero byte behind it; nothing is deleted.

    A name that holds a line break would be two: without ``null`` it is left out, and the exit code
    says so.
    """
    rules.refuse_beside(context, "orphans", ALLOWED)
    from birefcli.batch.orphans import find_orphans  # help needs none of it

    products, unknown = find_orphans(selection)
    found = [_as_word(str(orphan)) for orphan in products]
    broken = [] if null else [name for name in found if "\n" in name]
    end = b"\0" if null else b"\n"
    listed = [name for name in found if name not in broken]
    sys.stdout.buffer.write(b"".join(os.fsencode(name) + end for name in listed))
    sys.stdout.buffer.flush()
    for name in broken:
        say(f"{printable(name)}: its name holds a line break; use --null")
    if not quiet:
        many = len(found) != 1
        say(f"{len(found)} product{'s' * many} without a photo; nothing is deleted")
        if unknown:
            pictures = "1 picture is" if unknown == 1 else f"{unknown} pictures are"
            say(f"{pictures} not judged: not made by birefcli, or saved without its stamp")
    if broken:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _as_word(name: str) -> str:
    """A name that no program takes for an option."""
    return f"./{name}" if name.startswith("-") else name
