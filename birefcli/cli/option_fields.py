"""Commands whose options are the fields of a data class: declared once for several commands."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Collection, Iterator
from typing import Any, TypeGuard, get_type_hints

import typer

Command = Callable[..., None]


def expand_options(*, leave_out: Collection[str] = ()) -> Callable[[Command], Command]:
    """Have Typer see the fields of a command's data classes as its options.

    The command takes the context, and data classes of options; Typer sees a function that takes
    the context and every field by its name, with the field's annotation and default. Of a field
    that several classes have it sees the first; all get its value. Fields to ``leave_out`` are no
    options of this command, and keep their defaults.
    """

    def expand(command: Command) -> Command:
        hints = get_type_hints(command, include_extras=True)
        groups = {name: kind for name, kind in hints.items() if _is_group(kind)}

        @functools.wraps(command)
        def expanded(context: typer.Context, **given: Any) -> None:  # noqa: ANN401 - any option
            made = {}
            for name, group in groups.items():
                names = [field.name for field in dataclasses.fields(group) if field.name in given]
                made[name] = group(**{field: given[field] for field in names})
            command(context, **made)

        seen = {"context": inspect.signature(command).parameters["context"]}
        for group in groups.values():
            for parameter in _parameters(group):
                if parameter.name not in leave_out:
                    seen.setdefault(parameter.name, parameter)
        parameters = list(seen.values())
        # Typer looks at both, and what wraps() copied is of the command with its data classes.
        expanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        expanded.__annotations__ = {p.name: p.annotation for p in parameters}
        return expanded

    return expand


def _is_group(kind: object) -> TypeGuard[type[Any]]:
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


def _parameters(group: type[Any]) -> Iterator[inspect.Parameter]:
    """The fields of a data class as parameters of a function; every one has a default."""
    hints = get_type_hints(group, include_extras=True)
    for field in dataclasses.fields(group):
        kind = inspect.Parameter.KEYWORD_ONLY
        yield inspect.Parameter(
            field.name, kind, default=field.default, annotation=hints[field.name]
        )
