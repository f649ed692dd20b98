"""``--help`` and ``--help-all``: one screen of what is used daily, and everything."""

import json
import re
import subprocess
import sys

import pytest
import typer.main

from birefcli.cli import help_page
from birefcli.cli.app import app

SCREEN = 40  # lines
ROOT = typer.main.get_command(app)
NAMES = [*ROOT.commands, *(f"models {name}" for name in ROOT.commands["models"].commands)]
ENTRY = """
import json, sys
sys.argv = ["birefcli", "matte", sys.argv[1]]
from birefcli.__main__ import main
from birefcli.system import ending
ending.leave_at_once = lambda *_: None
try:
    main()
except SystemExit:
    print(json.dumps(list(sys.modules)), file=sys.stderr)
"""


def command_of(name):
    found = ROOT
    for word in name.split():
        found = found.commands[word]
    return found


def options_of(name):
    options = [p for p in command_of(name).params if p.param_type_name == "option"]
    return {word for p in options for word in (*p.opts, *p.secondary_opts) if len(word) > 2}


def options_in(text):
    return set(re.findall(r"(?:^  (?:-\w, )?|, | / )(--[a-z-]+)", text, re.M))


@pytest.mark.parametrize("name", ["", *NAMES])
def test_help_fits_a_screen_and_says_where_the_rest_is(shown_help, name):
    shown = shown_help(name)
    assert shown.count("\n") <= SCREEN
    assert max(map(len, shown.splitlines())) <= 80
    page = "-".join(["birefcli", *name.split()])
    assert shown.endswith(f"\nManual: man {page}\n")
    more = f"All options and exit codes: birefcli {name} --help-all\n"
    assert (more in shown) == help_page.is_abridged(command_of(name))


@pytest.mark.parametrize("name", ["", *NAMES])
def test_whole_help_has_every_option(shown_help, name):
    shown = shown_help(name, "--help-all")
    assert options_of(name) <= options_in(shown)
    assert max(map(len, shown.splitlines())) <= 80
    if not help_page.is_abridged(command_of(name)):
        assert name == "" or shown == shown_help(name), "there is nothing to leave out"


def test_whole_help_has_the_commands_of_commands(shown_help):
    rows = set(re.findall(r"^  (models \w+) ", shown_help("", "--help-all"), re.M))
    assert rows == {f"models {name}" for name in ROOT.commands["models"].commands}
    assert "models pull" not in shown_help("")


@pytest.mark.parametrize("name", ["matte", "watch", "serve", "train", "score", "bench", "sheet"])
def test_help_of_many_options_has_those_that_are_declared_daily(shown_help, name):
    options = [p for p in command_of(name).params if p.param_type_name == "option"]
    daily = {p.opts[0] for p in options if isinstance(p.rich_help_panel, help_page.Daily)}
    shown = options_in(shown_help(name))
    assert 5 < len(daily) < len(options)
    assert {p.opts[0] for p in options} & shown == daily


def test_a_long_term_has_a_line_of_its_own_and_no_name_is_broken():
    rows = [("--short N", "See --one-long-name and --another-one."), ("--" + "x" * 30, "Long.")]
    told = list(help_page._lines(rows, 12, 34))
    assert told[:2] == ["--short N   See --one-long-name", " " * 12 + "and --another-one."]
    assert told[2:] == ["--" + "x" * 30, " " * 12 + "Long."]


def test_ranges_are_in_the_words_of_refusals(shown_help):
    whole = " ".join(shown_help("serve", "--help-all").split())
    for text in (
        "default: 8000; 0 to 65535]",
        "[default: 50]",
        "127.0.0.1]",
        "default: 64; from 1]",
    ):
        assert text in whole
    assert "x" not in re.findall(r"\w+(?=[<>]=)", whole)


@pytest.mark.parametrize("option", ["--help", "--help-all"])
def test_help_of_a_command_imports_no_other_and_nothing_heavy(environment, option):
    words = [sys.executable, "-c", ENTRY, option]
    env = {name: text for name, text in environment.items() if not name.startswith("BIREFCLI_")}
    done = subprocess.run(words, env=env, capture_output=True, check=True)
    assert b"--output PATH" in done.stdout
    imported = set(json.loads(done.stderr))
    assert "birefcli.cli.matte" in imported
    others = ("watch", "serve", "bench", "train", "score", "sheet", "models", "serve_options")
    heavy = {"rich", "pydantic", "torch", "numpy", "PIL", "cv2", "huggingface_hub"}
    assert imported & {*(f"birefcli.cli.{name}" for name in others), *heavy} == set()


@pytest.mark.parametrize("words", [(), ("models",)])
def test_no_command_is_answered_with_help_on_stderr(command, words):
    result = command(*words)
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr.startswith(b"Usage: birefcli ")
    assert b"\nCommands:\n" in result.stderr
