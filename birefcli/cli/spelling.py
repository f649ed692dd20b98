"""Options in messages of the library, as the command line writes them."""

from functools import partial
from typing import Any

from birefcli.errors import Message, Option, Spell


def spelling(context: Any) -> Spell:  # noqa: ANN401 - Typer vendors its classes
    """How the options of a command are written: with dashes, or as the variable they came from."""
    return partial(_spell, context)


def spelled(context: Any, message: Message) -> str:  # noqa: ANN401
    """A message as a person at the command line reads it."""
    return message.spelled(spelling(context))


def _spell(context: Any, option: Option) -> str:  # noqa: ANN401
    name, parameters = "--" + option.name.replace("_", "-"), context.command.params
    # Where the network is an end, and not a means, the option has another name.
    if context.command.name == "train" and name == "--model":
        name = "--from"
    if any(p.param_type_name == "argument" and p.name == option.name for p in parameters):
        return option.name.upper() if option.value is None else option.value
    parameter = next((p for p in parameters if name in p.opts), None)
    if option.given and parameter is not None and _is_variable(context, parameter):
        valued = option.value is not None
        return f"{parameter.envvar}={option.value}" if valued else str(parameter.envvar)
    return name if option.value is None else f"{name} {option.value}"


def _is_variable(context: Any, parameter: Any) -> bool:  # noqa: ANN401
    source = context.get_parameter_source(parameter.name)
    return getattr(source, "name", None) == "ENVIRONMENT"
