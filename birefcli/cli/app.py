"""The command line: options in, summary out, exit code. A command is imported when it is named."""

import inspect
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any

import typer

from birefcli import __version__
from birefcli.cli import tab
from birefcli.cli.command import Command, Group
from birefcli.cli.help_page import EXIT_CODES, NAMES

COMMANDS = {
    "matte": "birefcli.cli.matte:matte",
    "watch": "birefcli.cli.watch:watch",
    "serve": "birefcli.cli.serve:serve",
    "bench": "birefcli.cli.bench:bench",
    "doctor": "birefcli.cli.doctor:doctor",
    "score": "birefcli.cli.score:score",
    "sheet": "birefcli.cli.sheet:sheet",
    "train": "birefcli.cli.train:train",
    "export": "birefcli.cli.export:export",
    "presets": "birefcli.cli.presets:list_presets",
    "models": "birefcli.cli.models:app",
}
"""Each command's module, and what it is there: a function, or a Typer app with more commands."""


class CommandTable(Mapping[str, Any]):
    """The commands by name, each imported when it is asked for."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - Typer vendors its classes
        if name not in self._loaded:
            module, _, member = COMMANDS[name].partition(":")
            self._loaded[name] = _as_command(name, getattr(import_module(module), member))
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in COMMANDS

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _as_command(name: str, made: Any) -> Any:  # noqa: ANN401 - as above
    """Typer's command for a function; a Typer app is turned into a group of commands."""
    if not isinstance(made, typer.Typer):
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(name, cls=Command, epilog=EXIT_CODES)(made)
        made = alone
    for command in made.registered_commands:
        command.help = _unwrapped(command.callback.__doc__ or "")
    return typer.main.get_command(made)


def _unwrapped(text: str) -> str:
    """Help with each paragraph on one line: lines were broken for the source."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)


class Root(Group):
    """``birefcli`` itself."""

    def __init__(self, **more: Any) -> None:  # noqa: ANN401 - as Typer calls it
        super().__init__(**more)
        self.commands: Any = CommandTable()  # Typer only reads it

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401
        """Names, without importing what they name."""
        return list(COMMANDS)

    def _main_shell_completion(self, *args: Any, **more: Any) -> None:  # noqa: ANN401
        with tab.as_shells_read():
            super()._main_shell_completion(*args, **more)


app = typer.Typer(
    name="birefcli",
    cls=Root,
    help="Cut people out of photographs: mattes, cutouts and composites with BiRefNet.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich takes longer to import than all else that --help needs
    context_settings={"help_option_names": NAMES},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"birefcli {__version__}")
        raise typer.Exit


@app.callback(epilog=EXIT_CODES)
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    pass
