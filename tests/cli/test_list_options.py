"""Options that take several values: repeated, or with commas."""

import json
from pathlib import Path

import pytest
import typer.main

from birefcli import values
from birefcli.cli.app import app
from birefcli.errors import UsageError

COMMANDS = typer.main.get_command(app).commands


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (None, ()),
        (["a", "b"], ("a", "b")),
        (["a,b"], ("a", "b")),
        (["a, b,", "c"], ("a", "b", "c")),
        (["cutout,img 1"], ("cutout", "img 1")),
    ],
)
def test_a_list_is_repeated_or_has_commas(texts, words):
    assert values.listed("write", texts) == words


@pytest.mark.parametrize("text", ["", ",", " , "])
def test_a_list_that_is_given_and_empty_is_refused(text):
    with pytest.raises(UsageError, match="is empty: is a variable not set"):
        values.listed("write", ["", text])


def test_patterns_are_repeated_and_never_taken_apart():
    assert values.patterns("include", None) == ()
    assert values.patterns("include", ["Smith, John*", " a,b "]) == ("Smith, John*", " a,b ")
    with pytest.raises(UsageError, match="exclude: is empty: is a variable not set"):
        values.patterns("exclude", ["raw", ""])


ALL_LISTS = {
    "matte": {"--write", "--device"},
    "watch": {"--write", "--device"},
    "serve": {"--model", "--alias", "--urls", "--cors"},
    "bench": {"--write"},
    "train": {"--shares", "--stage"},
}
PATTERN_LISTS = {name: {"--include", "--exclude"} for name in ("matte", "watch")}
UNSPLIT_LISTS = {"train": {"--validate", "--backgrounds"}, **PATTERN_LISTS}


def test_every_option_that_takes_a_list_may_be_repeated():
    for name, command in COMMANDS.items():
        several = {p.opts[0] for p in command.params if getattr(p, "multiple", False)}
        repeated = several - {"--preset"}  # which is repeated to be refused
        assert repeated == ALL_LISTS.get(name, set()) | UNSPLIT_LISTS.get(name, set())
        for option in (p for p in command.params if p.opts[0] in ALL_LISTS.get(name, ())):
            assert "several with commas" in option.help
        for option in (p for p in command.params if p.opts[0] in PATTERN_LISTS.get(name, ())):
            assert "repeat it for several" in option.help


@pytest.mark.parametrize(
    ("words", "variable"),
    [
        ("--write cutout --write mask", ""),
        ("--write cutout,mask", ""),
        ("", "cutout, mask"),
    ],
)
def test_several_products_are_asked_for_in_one_way(command, photos, tmp_path, words, variable):
    more = {"BIREFCLI_WRITE": variable} if variable else {}
    only = ("--include", "*.tif", "--include", "a.*", "--exclude", "x,y")
    asked = ("matte", photos, "-o", tmp_path / "out", "--dry-run", "--json", *only)
    lines = command(*asked, *words.split(), **more).stdout.splitlines()
    *done, _ = map(json.loads, lines)
    assert {Path(photo["input"]).stem for photo in done} == {"a"}
    assert all(set(photo["outputs"]) == {"cutout", "mask"} for photo in done)


def test_a_pattern_of_a_variable_or_an_option_may_have_commas_and_spaces(command, photos, tmp_path):
    photos.joinpath("a.jpg").rename(photos / "a, b.jpg")
    asked = ("matte", photos, "-o", tmp_path / "out", "--dry-run", "--json", "--exclude", "x,a*")
    found = command(*asked, BIREFCLI_INCLUDE="a, b.*").stdout.splitlines()
    assert [json.loads(line).get("input") for line in found[:-1]] == [str(photos / "a, b.jpg")]
