"""Options that do nothing without another one."""

import typer

from birefcli.errors import UsageError

TYPED, VARIABLE, DEFAULT = "COMMANDLINE", "ENVIRONMENT", "DEFAULT"


def source(context: typer.Context, name: str) -> str | None:
    """Where an option's value is from: typed, a variable, or its default."""
    return getattr(context.get_parameter_source(name), "name", None)


def is_typed(context: typer.Context, name: str) -> bool:
    """Whether an option is given on the command line, not by a variable or default."""
    return source(context, name) == TYPED


def refuse_without(
    context: typer.Context,
    other: str,
    *,
    there: bool,
    names: tuple[str, ...],
    hint: str | None = None,
) -> None:
    """Raise UsageError where one of the options was typed without ``other``; ``hint``: what to do.

    Environment variables apply to every command: one without effect is no error.
    """
    for name in names:
        if not there and is_typed(context, name):
            option = next(p for p in context.command.params if p.name == name).opts[0]
            raise UsageError(f"{option} does nothing without {other}", hint=hint)
