"""Typer's commands, changed where Typer has no setting."""

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
