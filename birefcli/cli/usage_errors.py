"""A wrong command line, in one line as every other failure: what is wrong, what to do."""

from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, cast

from birefcli.cli import help_page, suggest
from birefcli.errors import UsageError
from birefcli.system.paths import exists

WORDS = "birefcli.words"
"""Where a context keeps the words that a command is given."""


class _Parameter(Protocol):
    """An option or argument, as Typer knows it."""

    opts: list[str]
    metavar: str | None


class _TyperError(Protocol):
    """What Typer's exceptions have in common, or one of them has."""

    message: str
    ctx: Any

    def format_message(self) -> str: ...


def explain(error: Exception) -> str | None:
    """One line for an exception of Typer's parser; None for any other exception.

    Empty where a command without arguments has shown its help. Which class an exception is depends
    on Typer's version (it has taken Click in), its attributes do not.
    """
    if not hasattr(error, "format_message"):
        return None
    found = cast("_TyperError", error)
    context = getattr(found, "ctx", None)
    fault = _fault(found).strip().rstrip(".")
    return advised(fault, context) if fault and context else fault


def refuse_more(context: Any) -> None:  # noqa: ANN401
    """Raise UsageError where words are left that are neither options nor arguments."""
    if context.args and not context.resilient_parsing:
        fault = f"{context.args[0]} is one word too many"
        raise UsageError(advised(fault, context))


OFF = ("none", "no", "off", "false", "0", "never")
ON = ("yes", "on", "true", "1", "all")


def refuse_switch_values(context: Any) -> None:  # noqa: ANN401
    """Raise UsageError for ``--refine false``, whose second word would be the name of a photo."""
    if context.resilient_parsing:
        return
    params = (p for p in context.command.params if getattr(p, "is_flag", False))
    switches = {name: p for p in params for name in (*p.opts, *p.secondary_opts)}
    words = context.meta[WORDS]
    for option, word in pairwise(words):
        if option not in switches or word.lower() not in OFF + ON or exists(Path(word)):
            continue
        other = switches[option].secondary_opts
        if word.lower() in ON or option in other:
            way = f"write {option} alone"
        else:
            way = f"write {other[0]}" if other else "leave it out"
        raise UsageError(advised(f"{option} takes no value; {way}", context))


def advised(fault: str, context: Any) -> str:  # noqa: ANN401 - Typer vendors its classes
    """What is wrong, and where the right words are."""
    whole = help_page.WHOLE if help_page.is_abridged(context.command) else "--help"
    see = f"see {context.command_path} {whole}"
    return f"{fault} S{see[1:]}" if fault.endswith("?") else f"{fault}; {see}"


def _fault(error: "_TyperError") -> str:
    option = getattr(error, "option_name", None)
    if option is not None and hasattr(error, "possibilities"):
        return _unknown(option, error.ctx)
    if option is not None:
        none = "does not take a value" in error.message
        return f"{option} takes no value" if none else f"{option} wants a value"
    parameter: _Parameter | None = getattr(error, "param", None)
    if parameter is not None and hasattr(error, "param_type"):
        return f"{_shown(parameter)} is missing"
    return str(error.format_message())


def _unknown(option: str, context: Any) -> str:  # noqa: ANN401
    # A photo's name that begins with a dash is read as options of one letter each.
    dashed = (word for word in context.meta.get(WORDS, ()) if word.startswith(option))
    photo = next((word for word in dashed if exists(Path(word))), None)
    if photo is not None:
        hint = f"the file {photo} is called ./{photo} here"
    else:
        hint = suggest.explain_option(context, option)
    return f"{option} is no option" + (f"; {hint}" if hint else "")


def _shown(parameter: "_Parameter") -> str:
    name = parameter.opts[0]
    return str(name) if name.startswith("-") else str(parameter.metavar or name).upper()
