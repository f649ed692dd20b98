"""Paths given to options: ``~`` in variables and after ``=``, where no shell reads it."""

import inspect
import json
import re
from pathlib import Path
from typing import get_args

import pytest
import typer
from conftest import picture

from birefcli.cli.bench import bench
from birefcli.cli.export import export
from birefcli.cli.matte import matte
from birefcli.cli.score import score
from birefcli.cli.sheet import sheet
from birefcli.cli.train import train
from birefcli.cli.watch import watch

PATHS = re.compile(r"PATH|FILE|DIR|FOLDER|PHOTO|CUTOUT|DATA|PREDICTIONS|TRUTHS|WHAT")


def path_options():
    """The parser of every option and argument that takes a path."""
    for command in (matte, watch, bench, score, sheet, train, export):
        for name, parameter in inspect.signature(command).parameters.items():
            given = next(iter(get_args(parameter.annotation)[1:]), None)
            if PATHS.search(str(getattr(given, "metavar", ""))):
                yield pytest.param(given.parser, id=f"{command.__name__} {name}")


@pytest.fixture
def home(monkeypatch, tmp_path):
    """Where ``~`` is: a folder of its own."""
    (tmp_path / "home").mkdir()
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    return tmp_path / "home"


def test_commands_take_many_paths():
    assert len(list(path_options())) > 20


@pytest.mark.parametrize("parser", list(path_options()))
@pytest.mark.parametrize("text", ["~/x y.png", "~"])
def test_every_option_that_takes_a_path_expands_the_home_folder(home, parser, text):
    assert str(parser(text)) == str(home) + text[1:]
    assert parser("./~/x.png") in ("./~/x.png", Path("./~/x.png"))
    assert parser("white") in ("white", Path("white"))


@pytest.mark.parametrize("parser", list(path_options()))
def test_no_option_makes_another_path_of_the_url_of_an_object(parser):
    try:
        assert parser("s3://shop/a.png") == "s3://shop/a.png"
    except typer.BadParameter as refused:
        assert str(refused).startswith("is in an object store")  # noqa: PT017


@pytest.mark.parametrize(
    "words",
    [
        ("matte", "a.jpg", "-o", "out", "--failed-to"),
        ("score", "photos"),
        ("sheet",),
        ("train",),
        ("train", "photos", "-o"),
        ("bench",),
    ],
)
def test_a_command_that_wants_files_says_so_of_an_object(ended, words):
    code, said = ended(*words, "s3://shop/a.png")
    assert code == 2
    wanted = "s3://shop/a.png: is in an object store; name a file or folder here"
    assert wanted in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        (("-o=~/out",), {}),
        (("-o", "~/out"), {}),
        (("-o~/out",), {}),
        (("--output=~/out/",), {}),
        ((), {"BIREFCLI_OUTPUT": "~/out"}),
    ],
)
def test_results_go_below_the_home_folder(command, photos, home, tmp_path, words, variables):
    result = command("matte", photos, *words, "--json", cwd=tmp_path, HOME=str(home), **variables)
    assert result.returncode == 0, result.stderr.decode()
    line = json.loads(result.stdout.splitlines()[0])
    assert Path(line["outputs"]["cutout"]).parent == home / "out"
    assert not (tmp_path / "~").exists()
    assert not (tmp_path / "=~").exists()


def test_other_paths_are_looked_for_in_the_home_folder(command, photos, home, tmp_path):
    picture(30, 20).save(home / "back.png")
    (home / "list").write_text(f"{photos / 'a.jpg'}\nnone.jpg\n")
    words = ("--write=composite", "--background=~/back.png", "--failed-to=~/failed.txt")
    result = command(
        *("matte", "-o", "out", *words),
        cwd=tmp_path,
        HOME=str(home),
        BIREFCLI_FILES_FROM="~/list",
    )
    assert result.returncode == 1, result.stderr.decode()
    assert (tmp_path / "out" / photos.relative_to("/") / "a.png").exists()
    assert (home / "failed.txt").read_text() == "././none.jpg\n"


def test_equals_sign_after_a_short_option_is_no_part_of_its_value(ended, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-o=x").touch()
    code, said = ended("matte", "none.jpg", "-m=nonesuch.pth", "-o=out")
    assert (code, "none.jpg: No such file" in said) == (3, True)
    code, said = ended("matte", "a.jpg", "-o=")
    assert (code, "say where the results go" in said) == (2, True)
    code, said = ended("matte", "a.jpg", "-q=1", "-o=out")
    assert (code, "-=" in said) == (2, True)
    code, said = ended("matte", "-o", "out.png", "-m", "nonesuch", "--dry-run", "--", "-o=x")
    assert (code, "nonesuch" in said) == (4, True)


BLOCKED = {
    "file/x": "Not a directory",
    "loop/x": "Too many levels of symbolic links",
    "n" * 300: "File name too long",
    "/".join(["d" * 200] * 25): "File name too long",
}
WAYS = {
    "an input": (3, ("matte", "{}", "-o", "out")),
    "all inputs": (3, ("matte", "none.jpg", "{}", "-o", "out")),
    "an output folder": (5, ("matte", "a.jpg", "-o", "{}/")),
    "a list": (3, ("matte", "--files-from", "{}", "-o", "out")),
    "a list of failures": (5, ("matte", "a.jpg", "-o", "out", "--failed-to", "{}")),
    "a background": (
        2,
        ("matte", "a.jpg", "-o", "out", "--write", "composite", "--background", "{}"),
    ),
    "a model": (4, ("matte", "a.jpg", "-o", "out", "-m", "{}.pth")),
    "a sheet's input": (3, ("sheet", "{}", "-o", "s.png")),
    "predictions": (3, ("score", "{}", ".")),
    "truths": (3, ("score", ".", "{}")),
    "trimaps": (3, ("score", "a.jpg", "b.jpg", "--trimaps", "{}")),
    "data": (3, ("train", "{}", "-o", "w.safetensors")),
    "photos to measure": (3, ("bench", "{}")),
}


@pytest.mark.parametrize("what", WAYS)
@pytest.mark.parametrize("path", BLOCKED, ids=lambda path: path[:10])
def test_path_that_is_in_the_way_is_told_in_a_line(ended, tmp_path, monkeypatch, what, path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIREFCLI_MODEL", "mini")
    picture().save("a.jpg")
    picture().save("b.jpg")
    Path("file").touch()
    Path("loop").symlink_to("loop")
    code, words = WAYS[what]
    ended_with, said = ended(*(word.format(path) for word in words))
    assert ended_with == code, said
    assert said.count("\n") == 1
    # Of several inputs none of which is there the first is told.
    assert BLOCKED[path] in said or "none.jpg" in said
    assert not Path("out").exists() or not list(Path("out").iterdir())
