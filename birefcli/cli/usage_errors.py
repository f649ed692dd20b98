"""A wrong command line, in one line as every other failure: what is wrong, what to do."""

from collections.abc import Iterator, Mapping, Sequence
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
    params = [p for p in context.command.params if p.opts[0].startswith("-")]
    options = {name: p for p in params for name in (*p.opts, *p.secondary_opts)}
    for option, word in _switches(context.meta[WORDS], options):
        if word.lower() not in OFF + ON or exists(Path(word)):
            continue
        other = options[option].secondary_opts
        if word.lower() in ON or option in other:
            way = f"write {option} alone"
        else:
            way = f"write {other[0]}" if other else "leave it out"
        raise UsageError(advised(f"{option} takes no value; {way}", context))


def _switches(words: Sequence[str], options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each switch and the word after it; what is another option's value, or follows --, is none."""
    rest = pairwise(words)
    for word, following in rest:
        if word == "--":
            return
        if _is_switch(options.get(word)):
            yield word, following
        elif _wants_next(word, options):
            next(rest, None)


def _is_switch(option: Any) -> bool:  # noqa: ANN401
    return option is not None and (option.is_flag or option.count)


def _wants_next(word: str, options: Mapping[str, Any]) -> bool:
    """Whether the word after this one is its value; ``-vo`` is ``-v -o``, and ``-oa`` has its."""
    if word in options:
        return True
    if word.startswith("--") or not word.startswith("-"):
        return False
    names = [f"-{letter}" for letter in word[1:]]
    others = [place for place, name in enumerate(names) if not _is_switch(options.get(name))]
    return others[:1] == [len(names) - 1] and names[-1] in options


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
