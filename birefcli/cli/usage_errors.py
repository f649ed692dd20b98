"""A wrong command line, in one line as every other failure: what is wrong, what to do."""

import os
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol, cast

from birefcli.system.paths import exists

REPHRASED = {
    "Value error, ": "",
    "Input should be": "must be",
    ", unable to parse string as an integer": "",
    ", unable to parse string as a number": "",
    ", unable to interpret input": "",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid boolean": "1 or 0",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
}
"""Words of Typer and the libraries below it, and birefcli's instead."""


class _Parameter(Protocol):
    """An option or argument, as Typer knows it."""

    name: str
    opts: list[str]
    metavar: str | None
    envvar: object


class _Context(Protocol):
    def get_parameter_source(self, name: str) -> object: ...


class _TyperError(Protocol):
    """What Typer's exceptions have in common, or one of them has."""

    message: str
    ctx: _Context | None
    possibilities: Sequence[str] | None

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
    if not fault or not context:
        return fault
    see = f"see {context.command_path} --help"
    return f"{fault} S{see[1:]}" if fault.endswith("?") else f"{fault}; {see}"


def _fault(error: "_TyperError") -> str:
    option = getattr(error, "option_name", None)
    if option is not None and hasattr(error, "possibilities"):
        return _unknown(option, error.possibilities)
    if option is not None:
        none = "does not take a value" in error.message
        return f"{option} takes no value" if none else f"{option} wants a value"
    parameter: _Parameter | None = getattr(error, "param", None)
    unknown = re.match(r"No such command (['\"])(.*)\1\.(?: Did you mean '(.*?)')?", error.message)
    if unknown is not None:
        near = f"; did you mean {unknown[3]}?" if unknown[3] else ""
        return f"{unknown[2]} is no command{near}"
    if parameter is None:
        return _rephrased(str(error.format_message()))
    if hasattr(error, "param_type"):
        return f"{_shown(parameter)} is missing"
    return f"{_given(error, parameter)}: {_rephrased(error.message)}"


def _unknown(option: str, possible: Sequence[str] | None) -> str:
    text = f"{option} is no option"
    if possible:
        likest = get_close_matches(option, possible, 1, 0)
        return f"{text}; did you mean {likest[0]}?"
    # A photo's name that begins with a dash is read as options of one letter each.
    photo = next((word for word in sys.argv[1:] if word.startswith(option) and _there(word)), None)
    return text if photo is None else f"{text}; the file {photo} is called ./{photo} here"


def _there(word: str) -> bool:
    try:
        return exists(Path(word))
    except (OSError, ValueError):
        return False


def _given(error: "_TyperError", parameter: "_Parameter") -> str:
    """Where the value came from: an option or argument, or a variable of the environment."""
    variable, source = parameter.envvar, None
    if error.ctx is not None:
        source = error.ctx.get_parameter_source(parameter.name)
    if isinstance(variable, str) and getattr(source, "name", None) == "ENVIRONMENT":
        return f"{variable}={os.environ.get(variable, '')}"
    return _shown(parameter)


def _shown(parameter: "_Parameter") -> str:
    name = parameter.opts[0]
    return str(name) if name.startswith("-") else str(parameter.metavar or name).upper()


def _rephrased(text: str) -> str:
    for theirs, ours in REPHRASED.items():
        text = text.replace(theirs, ours)
    return text
