"""The command line: options in, summary out, exit code. Nothing heavy is imported here."""

import inspect
from typing import Annotated

import typer

from birefcli import __version__
from birefcli.cli import models
from birefcli.cli.bench import bench
from birefcli.cli.command import Command, Group
from birefcli.cli.doctor import doctor
from birefcli.cli.export import export
from birefcli.cli.matte import matte
from birefcli.cli.presets import list_presets
from birefcli.cli.score import score
from birefcli.cli.serve import serve
from birefcli.cli.sheet import sheet
from birefcli.cli.train import train
from birefcli.cli.watch import watch
from birefcli.errors import ExitCode

EXIT_CODES = "\n".join(["Exit codes:", *(f"{c.value:>5}  {c.meaning}" for c in ExitCode)])

app = typer.Typer(
    name="birefcli",
    cls=Group,
    help="Cut people out of photographs: mattes, cutouts and composites with BiRefNet.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (matte, watch, serve, bench, doctor, score, sheet, train, export):
    app.command(cls=Command, epilog=EXIT_CODES)(_command)
app.command("presets", cls=Command, epilog=EXIT_CODES)(list_presets)
app.add_typer(models.app, name="models")


def _unwrap(group: typer.Typer) -> None:
    """Join the lines of each paragraph of the help: they were broken for the source."""
    for command in group.registered_commands:
        paragraphs = inspect.cleandoc(command.callback.__doc__ or "").split("\n\n")
        command.help = "\n\n".join(text.replace("\n", " ") for text in paragraphs)


_unwrap(app)
_unwrap(models.app)


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
