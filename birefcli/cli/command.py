"""Typer's commands, changed where Typer has no setting."""

from collections.abc import Iterator
from typing import Any

from typer import Exit
from typer.core import TyperCommand, TyperGroup

from birefcli.cli import environment
from birefcli.cli.spelling import spelled
from birefcli.errors import BirefcliError, ExitCode, InterruptError


class Command(TyperCommand):
    """A command whose help shows no Python types, and whose errors name options as given."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - Typer vendors its classes
        """Every option and argument, without Python types."""
        return _plain(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Read the command line; ``-o=PATH`` as well as ``-o PATH``."""
        return super().parse_args(ctx, list(_without_equals(args, self.params)))

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

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401
        """Every option, without Python types."""
        return _plain(super().get_params(ctx))


def _plain(params: list[Any]) -> list[Any]:
    for parameter in params:
        if parameter.param_type_name == "argument":
            parameter.display_type_rich = _no_type
        elif parameter.is_flag:
            parameter.metavar = ""
    return params


def _no_type(ctx: Any) -> None:  # noqa: ANN401 - as Typer calls it
    """Hide ``<list[str]>``: the help says what an argument is."""
