"""Options that do nothing without another: who types one alone has forgotten the other."""

import typer

from birefcli.errors import UsageError


def is_typed(context: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line, and does not come from elsewhere."""
    return getattr(context.get_parameter_source(name), "name", None) == "COMMANDLINE"


def refuse_without(
    context: typer.Context, other: str, *, there: bool, names: tuple[str, ...]
) -> None:
    """Raise UsageError where one of the options was typed and ``other`` is not there.

    What a variable of the environment says is meant for every command, and stays without effect.
    """
    for name in names:
        if not there and is_typed(context, name):
            option = next(p for p in context.command.params if p.name == name).opts[0]
            raise UsageError(f"{option} does nothing without {other}")
