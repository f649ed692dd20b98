"""A value that an option cannot have, in the words of birefcli's own checks: what to give."""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

from typer import BadParameter

from birefcli.errors import UsageError, no_choice

_NUMBERS = {int: "a whole number", float: "a number"}


def as_usage_error(context: Any, error: Any, given: Mapping[str, Any]) -> UsageError:  # noqa: ANN401
    """The error of Typer's parser as one of ours; ``given``: what the command line says, by names.

    Typer vendors the classes of ``context`` and ``error``.
    """
    parameter = error.param
    value, _ = parameter.consume_value(context, given)
    if isinstance(value, (list, tuple)):
        value = next((each for each in value if _is_wrong(context, parameter, each)), value)
    name = parameter.opts[0].lstrip("-").replace("-", "_")
    if (choices := _choices(parameter)) is not None:
        return no_choice(name, value, choices)
    text = _wanted(parameter) or error.message
    if parameter.param_type_name == "argument":
        return UsageError(f"{value}: {text}")
    return UsageError(text, option=name, value=value)


def _is_wrong(context: Any, parameter: Any, value: object) -> bool:  # noqa: ANN401
    try:
        parameter.process_value(context, (value,))
    except BadParameter:
        return True
    return False


def _choices(parameter: Any) -> list[str] | None:  # noqa: ANN401
    """The words that an option can have, where they are a few."""
    descriptor = parameter.type_descriptor
    kind = descriptor.annotation
    if descriptor.parameter_info.parser is not None:
        return None
    if kind is not bool and re.fullmatch(r"\d+(\|\d+)+", parameter.metavar or ""):
        return str(parameter.metavar).split("|")
    enumerated = isinstance(kind, type) and issubclass(kind, Enum)
    return [str(member.value) for member in kind] if enumerated else None


def _wanted(parameter: Any) -> str | None:  # noqa: ANN401
    """What an option of a type wants; None where its own reader says it."""
    descriptor = parameter.type_descriptor
    kind = descriptor.annotation
    if descriptor.parameter_info.parser is not None:
        return None
    if kind is bool:
        return "give 1 or 0"
    if kind in _NUMBERS:
        return f"give {_NUMBERS[kind]}{_range(parameter)}"
    return None


def _range(parameter: Any) -> str:  # noqa: ANN401
    """The numbers that an option takes; those without a limit of Typer's are above 0."""
    if parameter.min is None:
        return " above 0"
    return f" from {parameter.min}" + ("" if parameter.max is None else f" to {parameter.max}")
