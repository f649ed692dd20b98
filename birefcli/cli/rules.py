"""Options that do nothing without another one, or beside it."""

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
            raise UsageError(f"{_spelled(context, name)} does nothing without {other}", hint=hint)


def refuse_beside(context: typer.Context, other: str, allowed: tuple[str, ...]) -> None:
    """Raise UsageError where an option was typed that does nothing beside ``other``.

    ``allowed``: names of those that do something there.
    """
    for name in (p.name for p in context.command.params):
        if name is not None and name not in (other, *allowed) and is_typed(context, name):
            text = f"{_spelled(context, name)} does nothing beside {_spelled(context, other)}"
            raise UsageError(text, hint="leave it out")


def _spelled(context: typer.Context, name: str) -> str:
    """An option by its name in Python, as it was typed or could be."""
    option = next(p for p in context.command.params if p.name == name)
    off = context.params.get(name) is False and option.secondary_opts
    return str((option.secondary_opts if off else option.opts)[0])
