"""Options that are the fields of a data class."""

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from birefcli.cli.option_fields import expand_options


@dataclass(frozen=True)
class Words:
    photos: Annotated[list[str] | None, typer.Argument()] = None
    size: Annotated[int, typer.Option("--size", envvar="OURS_SIZE")] = 3
    dry: Annotated[bool, typer.Option("--dry")] = False


@dataclass(frozen=True)
class More:
    every: Annotated[float, typer.Option("--every")] = 5.0
    size: Annotated[int, typer.Option("--length", envvar="OURS_SIZE")] = 3


def run(line, *, leave_out=(), **variables):
    got = []

    @expand_options(leave_out=leave_out)
    def command(context: typer.Context, words: Words, more: More) -> None:
        """Do it."""
        assert more.size == words.size
        source = context.get_parameter_source("size")
        got.append((words, more, source.name))

    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, line.split(), env=variables)
    return result, got, command


def test_a_command_gets_its_options_as_data_classes():
    result, got, _ = run("a.jpg b.jpg --size 4 --dry --every 1")
    assert result.exit_code == 0
    assert got == [(Words(["a.jpg", "b.jpg"], 4, dry=True), More(1.0, 4), "COMMANDLINE")]


def test_variables_and_defaults_are_read_as_ever():
    assert run("", OURS_SIZE="7")[1] == [(Words(size=7), More(size=7), "ENVIRONMENT")]
    assert run("")[1] == [(Words(), More(), "DEFAULT")]


def test_an_option_that_two_classes_have_is_that_of_the_first():
    assert run("--length 4")[0].exit_code == 2


def test_what_is_left_out_is_no_option_and_keeps_its_default():
    result, got, command = run("--dry", leave_out=("dry",))
    assert result.exit_code == 2
    assert not got
    assert list(inspect.signature(command).parameters) == ["context", "photos", "size", "every"]
    assert run("a.jpg", leave_out=("dry",))[1][0][0] == Words(["a.jpg"])


@pytest.mark.parametrize("what", ["__doc__", "__name__"])
def test_help_is_that_of_the_command(what):
    _, _, command = run("")
    assert {"__doc__": "Do it.", "__name__": "command"}[what] == getattr(command, what)
