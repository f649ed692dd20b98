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
        (["*.jpg,img 1.*"], ("*.jpg", "img 1.*")),
    ],
)
def test_a_list_is_repeated_or_has_commas(texts, words):
    assert values.listed("include", texts) == words


@pytest.mark.parametrize("text", ["", ",", " , "])
def test_a_list_that_is_given_and_empty_is_refused(text):
    with pytest.raises(UsageError, match="is empty: is a variable not set"):
        values.listed("include", ["", text])


ALL_LISTS = {
    "matte": {"--write", "--include", "--exclude", "--device"},
    "watch": {"--write", "--include", "--exclude", "--device"},
    "serve": {"--model", "--alias", "--urls", "--cors"},
    "bench": {"--write"},
    "train": {"--shares", "--stage"},
}
PATH_LISTS = {"train": {"--validate", "--backgrounds"}}


def test_every_option_that_takes_a_list_may_be_repeated():
    for name, command in COMMANDS.items():
        repeated = {p.opts[0] for p in command.params if getattr(p, "multiple", False)}
        assert repeated == ALL_LISTS.get(name, set()) | PATH_LISTS.get(name, set())
        for option in (p for p in command.params if p.opts[0] in ALL_LISTS.get(name, ())):
            assert "several with commas" in option.help


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
    only = ("--include", "*.tif", "--include", "a.*,b.none", "--exclude", "x,y")
    asked = ("matte", photos, "-o", tmp_path / "out", "--dry-run", "--json", *only)
    lines = command(*asked, *words.split(), **more).stdout.splitlines()
    *done, _ = map(json.loads, lines)
    assert {Path(photo["input"]).stem for photo in done} == {"a"}
    assert all(set(photo["outputs"]) == {"cutout", "mask"} for photo in done)


def test_a_variable_is_taken_apart_at_commas_and_not_at_spaces(command, photos, tmp_path):
    photos.joinpath("a.jpg").rename(photos / "a b.jpg")
    asked = ("matte", photos, "-o", tmp_path / "out", "--dry-run", "--json")
    found = command(*asked, BIREFCLI_INCLUDE="a b.*, c.none").stdout.splitlines()
    assert [json.loads(line).get("input") for line in found[:-1]] == [str(photos / "a b.jpg")]
