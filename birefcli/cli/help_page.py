"""What ``--help`` shows: the daily options on one screen; ``--help-all`` shows every option.

An option is daily where its panel is a :class:`Daily`. Of a command with few options both show
all.
"""

import re
import textwrap
from collections.abc import Iterable
from typing import Any

from birefcli.errors import ExitCode

EXIT_CODES = "\n".join(f"{code.value:>5}  {code.meaning}" for code in ExitCode)
NAMES = ["-h", "--help", "--help-all"]
WHOLE = NAMES[-1]
FEW = 10
"""So many options fit a screen, with all that a page says."""
TERM, GAP = 26, 2
"""Columns of a term and the space after it; a longer term has a line of its own."""

REWORDED = {
    r"(\[default: \d+)\.0(?=[;\]])": r"\1",
    r"([\d.]+)<=x<=([\d.]+)\]$": r"\1 to \2]",
    r"x>=([\d.]+)\]$": r"from \1]",
}
"""Typer's defaults and ranges of numbers, and ours."""
Rows = list[tuple[str, str]]


class Daily(str):
    """The panel of an option that ``--help`` shows; other options are in ``--help-all``."""

    __slots__ = ()


def for_shells(text: str) -> str:
    """A help whose quotes are typographic: of plain ones Typer's completion for zsh loses some."""
    return re.sub(r'"(.*?)"', "\u201c\\1\u201d", text).replace("'", "\u2019")


def is_abridged(command: Any) -> bool:  # noqa: ANN401 - Typer vendors its classes
    """Whether ``--help`` of a command leaves options out."""
    return len(command.params) > FEW


def write_options(command: Any, ctx: Any, formatter: Any, *, whole: bool) -> None:  # noqa: ANN401
    """Write arguments, then options: daily ones in one list, all of many by panels."""
    abridged = is_abridged(command)
    panels: dict[str, Rows] = {}
    for parameter in command.get_params(ctx):
        row = parameter.get_help_record(ctx)
        if row is not None and (whole or not abridged or _is_daily(parameter)):
            panel = _panel(parameter, named=abridged and whole)
            panels.setdefault(panel, []).append(_row(command, parameter, *row))
    _write_panels(panels, formatter)


def write_commands(group: Any, ctx: Any, formatter: Any, *, whole: bool) -> None:  # noqa: ANN401
    """Write the commands of a group, each with the first sentence of its help.

    ``whole``: also those of the groups among them.
    """
    commands = _commands(group, ctx, "", whole=whole)
    _write_panels({"Commands": [(n, c.help.partition("\n")[0]) for n, c in commands]}, formatter)


def _commands(group: Any, ctx: Any, before: str, *, whole: bool) -> Iterable[tuple[str, Any]]:  # noqa: ANN401
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        yield f"{before}{name}", command
        if whole and hasattr(command, "commands"):
            yield from _commands(command, ctx, f"{before}{name} ", whole=True)


def write_footer(command: Any, ctx: Any, formatter: Any, *, whole: bool) -> None:  # noqa: ANN401
    """Write the exit codes, and where there is more to read."""
    abridged = is_abridged(command) and not whole
    if command.epilog and not abridged:
        with formatter.section("Exit codes"):
            formatter.write(f"{command.epilog}\n")
    all_ = f"All options and exit codes: {ctx.command_path} {WHOLE}\n" if abridged else ""
    if ctx.parent is None and hasattr(command, "commands"):
        all_ = f"Options of a command: {ctx.command_path} COMMAND --help, all: {WHOLE}\n"
    formatter.write_paragraph()
    formatter.write(f"{all_}Manual: man {ctx.command_path.replace(' ', '-')}\n")


def _is_daily(parameter: Any) -> bool:  # noqa: ANN401
    argument = parameter.param_type_name == "argument"
    return argument or isinstance(parameter.rich_help_panel, Daily)


def _panel(parameter: Any, *, named: bool) -> str:  # noqa: ANN401
    if parameter.param_type_name == "argument":
        return "Arguments"
    return (named and parameter.rich_help_panel) or "Options"


def _row(command: Any, parameter: Any, term: str, text: str) -> tuple[str, str]:  # noqa: ANN401
    if WHOLE in parameter.opts:
        names = NAMES if is_abridged(command) else NAMES[:-1]
        return ", ".join(names), "Show this message and exit."
    for theirs, ours in REWORDED.items():
        text = re.sub(theirs, ours, text)
    return term, text


def _write_panels(panels: dict[str, Rows], formatter: Any) -> None:  # noqa: ANN401
    """Write each panel under its name; the second column is in line from panel to panel."""
    terms = [len(term) for rows in panels.values() for term, _ in rows]
    start = GAP + max((length for length in terms if length <= TERM), default=TERM)
    for panel, rows in panels.items():
        with formatter.section(panel):
            for line in _lines(rows, start, formatter.width):
                formatter.write(f"  {line}\n")


def _lines(rows: Rows, start: int, width: int) -> Iterable[str]:
    for term, text in rows:
        # No option's name is broken at a hyphen: it is to be found and copied.
        room = max(width - start, 20)
        wrapped = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
        if len(term) > start - GAP:
            yield term
            term = ""
        for line in wrapped or [""]:
            yield f"{term:<{start}}{line}".rstrip()
            term = ""
