"""Typer's commands, changed where Typer has no setting."""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from typer import BadParameter, Exit, echo
from typer.core import TyperCommand, TyperGroup

from birefcli.cli import environment, help_page, suggest, usage_errors, wrong_values
from birefcli.cli.spelling import spelled
from birefcli.errors import BirefcliError, ExitCode, InterruptError, UsageError


class Command(TyperCommand):
    """A command whose help shows no Python types, and whose errors name options as given."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - Typer vendors its classes
        """Every option and argument, without Python types."""
        return _plain(super().get_params(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ANN401
        """Words after the command; Typer writes what is required in braces, as no other does."""
        return [re.sub("[{}]", "", piece) for piece in super().collect_usage_pieces(ctx)]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Read the command line; ``-o=PATH`` as well as ``-o PATH``."""
        ctx.meta[help_page.WHOLE] = help_page.WHOLE in args
        ctx.meta[usage_errors.WORDS] = tuple(args)
        usage_errors.refuse_switch_values(ctx)
        words = list(_without_equals(args, self.params))
        ctx.allow_extra_args = True  # they are refused in our words
        try:
            left = super().parse_args(ctx, list(words))
        except BadParameter as error:
            if error.param is None or hasattr(error, "param_type"):  # the latter: it is missing
                raise
            given, _, _ = self.make_parser(ctx).parse_args(words)
            wrong = wrong_values.as_usage_error(ctx, error, given)
            wrong.args = (spelled(ctx, wrong.message),)
            raise wrong from None
        usage_errors.refuse_more(ctx)
        return left

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:  # noqa: ANN401
        """Offer options, with helps that all shells show as they are."""
        return _for_shells(super().shell_complete(ctx, incomplete))

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write the daily options, or all."""
        help_page.write_options(self, ctx, formatter, whole=ctx.meta.get(help_page.WHOLE, False))

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write where there is more."""
        help_page.write_footer(self, ctx, formatter, whole=ctx.meta.get(help_page.WHOLE, False))

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """Run the command."""
        environment.check_place(ctx.info_name)
        try:
            return super().invoke(ctx)
        except BirefcliError as error:
            error.args = (spelled(ctx, error.message),)
            raise
        except BrokenPipeError:  # which Typer would end with 1, as if photos had failed
            raise Exit(ExitCode.OUTPUT) from None
        except KeyboardInterrupt:  # Typer would end without a message
            raise InterruptError("interrupted") from None


def _without_equals(args: list[str], params: list[Any]) -> Iterator[str]:
    """The words of a command line, ``-o=PATH`` as two: the ``=`` would be part of the path."""
    valued = [p for p in params if p.param_type_name == "option" and not p.is_flag]
    short = {name for p in valued for name in p.opts if len(name) == 2}
    end = args.index("--") if "--" in args else len(args)
    for word in args[:end]:
        if word[:2] in short and word[2:3] == "=":
            yield from (word[:2], word[3:])
        else:
            yield word
    yield from args[end:]


class Group(TyperGroup):
    """A command with commands of its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Read the words before the command; without any, show help."""
        if not args and not ctx.resilient_parsing:
            echo(ctx.get_help(), err=True)
            raise Exit(ExitCode.USAGE)
        ctx.meta[help_page.WHOLE] = help_page.WHOLE in args
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        """Find the command. Raises UsageError."""
        word = args[0]
        if word in self.commands or word.startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        hint = suggest.explain_command(self, args)
        fault = f"{word} is no command" + (f"; {hint}" if hint else "")
        raise UsageError(usage_errors.advised(fault, ctx))

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:  # noqa: ANN401
        """Offer commands and options, with helps that all shells show as they are."""
        return _for_shells(super().shell_complete(ctx, incomplete))

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401
        """Every option, without Python types."""
        return _plain(super().get_params(ctx))

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write the options, then the commands."""
        help_page.write_options(self, ctx, formatter, whole=True)
        whole = ctx.meta.get(help_page.WHOLE, False)
        help_page.write_commands(self, ctx, formatter, whole=whole)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write where there is more."""
        help_page.write_footer(self, ctx, formatter, whole=True)


def _for_shells(found: list[Any]) -> list[Any]:
    for item in found:
        item.help = None if item.help is None else help_page.for_shells(item.help)
    return found


def _plain(params: list[Any]) -> list[Any]:
    for parameter in params:
        if parameter.param_type_name == "argument":
            parameter.display_type_rich = _no_type
        elif parameter.is_flag and parameter.default is None:
            parameter.default = False  # which Typer takes as it is: None would cost it pydantic
        elif getattr(parameter, "multiple", False):
            # A variable holds names with commas, as an option does: Typer would split it at spaces.
            parameter.value_from_envvar = partial(_variable, parameter)
    return params


def _variable(parameter: Any, ctx: Any) -> list[str] | None:  # noqa: ANN401
    value = parameter.resolve_envvar_value(ctx)
    return None if value is None else [value]


def _no_type(ctx: Any) -> None:  # noqa: ANN401 - as Typer calls it
    """Hide ``<list[str]>``: the help says what an argument is."""
