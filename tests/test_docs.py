"""README, man pages and ``--help`` say the same, and what they say is so."""

import re
import runpy
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer.main

from birefcli.cli.app import app
from birefcli.errors import ExitCode
from birefcli.models import zoo
from birefcli.products.quality.defects import Defect

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ROOT / "man" / "man1"
GUIDES = [f"man/guide/{page.name}" for page in sorted((ROOT / "man" / "guide").glob("*.md"))]
MAKE = runpy.run_path(str(ROOT / "man" / "make" / "pages.py"))


def commands_of_readme():
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", README, re.S | re.M):
        for line in block.splitlines():
            if "birefcli" in line and not language:
                yield line


def examples_of_man_pages():
    for examples in MAKE["PROSE"]["EXAMPLES"].values():
        for _, command in examples:
            lines = re.sub(r"(\\|(?<=\|))\n", "", command).splitlines()
            yield from (line for line in lines if "birefcli" in line)


def options_of(*path: str) -> set[str]:
    command = typer.main.get_command(app)
    for word in path:
        command = command.commands[word]
    return {name for p in command.params for name in (*p.opts, *p.secondary_opts)}


@pytest.mark.parametrize("line", [*commands_of_readme(), *examples_of_man_pages()])
def test_every_command_that_is_shown_has_only_options_that_exist(line):
    line = line.rpartition("|")[2].partition("<")[0].partition(">")[0]
    words = shlex.split(line)
    words = words[words.index("birefcli") + 1 :]
    assert words[0] in typer.main.get_command(app).commands
    known = options_of(words[0])
    assert [w for w in words if w.startswith("-") and w != "-" and w not in known] == []


def test_exit_codes_stand_in_readme_man_pages_and_help(shown_help):
    man = (PAGES / "birefcli-matte.1").read_text(encoding="utf-8")
    whole = shown_help("matte", "--help-all")
    for code in ExitCode:
        assert f"\n| {code.value} | {code.meaning} |\n" in README
        assert f".B {code.value}\n" in man
        assert f" {code.value}  {code.meaning}\n" in shown_help("")
        assert f" {code.value}  {code.meaning}\n" in whole


def test_man_pages_are_what_their_generator_writes():
    pages = MAKE["pages"]()
    assert {p.name for p in PAGES.glob("*.1")} == set(pages)
    for name, text in pages.items():
        assert (PAGES / name).read_text(encoding="utf-8") == text, (
            f"{name} is out of date: python man/make/pages.py"
        )


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.1")), ids=lambda page: page.name)
@pytest.mark.parametrize(
    "words", [["mandoc", "-Tlint", "-Wwarning"], ["groff", "-ww", "-man", "-Tutf8", "-z"]]
)
def test_those_who_format_man_pages_have_no_complaint(words, page):
    if shutil.which(words[0]) is None:
        pytest.skip(f"no {words[0]} here")
    result = subprocess.run([*words, page], capture_output=True, check=False)
    assert (result.stdout + result.stderr).decode() == ""


def test_every_command_has_an_example_and_every_example_is_of_its_page():
    prose, pages = MAKE["PROSE"], MAKE["pages"]()
    top = {f"birefcli {name}" for name in typer.main.get_command(app).commands}
    assert set(prose["EXAMPLES"]) == {"birefcli", *top}
    for spoken, examples in prose["EXAMPLES"].items():
        assert f"{spoken.replace(' ', '-')}.1" in pages
        assert all(spoken in command for _, command in examples)


def test_readme_lists_every_model_with_its_size():
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (?:any \()?(\d+×\d+)", README, re.M))
    assert rows == {m.name: f"{m.size[0]}×{m.size[1]}" for m in zoo.ZOO.values()}


def test_readme_names_the_download_size_of_every_model():
    for model in zoo.ZOO.values():
        if model.size_bytes is not None:
            row = re.search(rf"^\| `{model.name}` .*$", README, re.M)
            assert row is not None
            assert f"{round(model.size_bytes / 1e6)} MB" in row[0]


def test_readme_and_models_list_say_the_same_of_what_a_model_is_for():
    rows = dict(re.findall(r"^\| `([\w-]+)` .*\| ([^|]+) \|$", README, re.M))
    known = {name: model.purpose for name, model in zoo.ZOO.items()}
    assert {name: rows[name].replace("`", "") for name in known} == known


@pytest.mark.parametrize("page", ["README.md", "man/README.md", *GUIDES])
def test_files_that_readme_and_guides_link_to_exist(page):
    for target in re.findall(r"\]\((?!http)([^)]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        file, _, heading = target.partition("#")
        file = file or Path(page).name
        assert (ROOT / page).parent.joinpath(file).is_file(), target
        if heading:
            text = (ROOT / page).parent.joinpath(file).read_text(encoding="utf-8").lower()
            assert f"\n## {heading.replace('-', ' ')}\n" in text


def test_the_list_of_guides_is_complete():
    listed = (ROOT / "man" / "guide" / "README.md").read_text(encoding="utf-8")
    names = {Path(guide).name for guide in GUIDES} - {"README.md"}
    assert set(re.findall(r"^- \[(\S+)\]\(\1\)", listed, re.M)) == names


def block_after(command: str) -> list[str]:
    page = (ROOT / "man" / "guide" / "speed.md").read_text(encoding="utf-8")
    return page.partition(f"$ {command}\n")[2].partition("\n```")[0].splitlines()


def test_bench_of_the_guide_looks_as_the_command_prints_it(command):
    words = ("--model", "mini", "--megapixels", "1")
    few = ("--megapixels", "0.05", "--repeat", "2", "--count", "2", "--device", "cpu")
    shown = command("bench", *words, *few).stdout.decode()

    def shape(lines):
        text = [re.sub(r"\d+(\.\d+)?%?", "#", line.partition("bottleneck")[0]) for line in lines]
        return [" ".join(line.split()) for line in text if " on " not in line]

    block = block_after(f"birefcli bench {' '.join(words)}")
    assert len(block) > 10
    assert shape(block) == shape(shown.splitlines())


def test_python_of_the_readme_runs_and_gives_what_it_says(monkeypatch):
    monkeypatch.chdir(ROOT)
    block = re.search(r"```python\n(.*?)```", README, re.S)
    assert block is not None
    names: dict[str, Any] = {}
    exec(block[1], names)
    alpha, cutout = names["result"].alpha, names["result"].cutout
    assert (alpha.dtype, alpha.shape) == ("float32", cutout.size[::-1])
    assert cutout.mode == "RGBA"
    assert 0.3 < alpha.mean() < 0.8


def test_every_flag_of_a_sheet_stands_in_its_help_and_man_page():
    man = (PAGES / "birefcli-sheet.1").read_text(encoding="utf-8")
    told = man.partition(".SH DESCRIPTION")[2].partition(".SH OPTIONS")[0]
    for flag in Defect:
        assert f".B {flag.value}\n" in man
        assert re.search(rf"\b{flag.value}\b", told)


def test_help_text_does_not_exceed_eighty_columns(shown_help):
    for name in ("", *typer.main.get_command(app).commands):
        shown = shown_help(name)
        assert shown
        assert max(map(len, shown.splitlines())) <= 80
