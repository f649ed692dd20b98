"""The floor plan: what newcomers count on when they look for a thing in the list of files."""

import ast
import re
import traceback
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from conftest import picture

import birefcli
from birefcli.birefnet.inference import InferenceNetwork

PACKAGE = Path(birefcli.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
HOPS = 7  # named functions from the command to the network, both counted; without look-ahead


def functions():
    """(lines, name) of every function, and whether it is one of Typer's or a kernel."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert node.end_lineno is not None
                name = f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}"
                special = path.parts[-2] in ("cli", "kernels")
                yield node.end_lineno - node.lineno + 1, name, special


def test_the_top_of_the_package_has_few_modules_and_folders():
    assert len(list(PACKAGE.glob("*.py"))) <= 7
    folders = [p for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"]
    assert len(folders) <= 14


def test_no_module_is_long():
    long = {p.name: n for p in MODULES if (n := p.read_text(encoding="utf-8").count("\n")) > 450}
    assert long == {}


def test_functions_are_short():
    measured = list(functions())
    lengths = [lines for lines, _, _ in measured]
    assert [name for lines, name, special in measured if lines > 60 and not special] == []
    assert median(lengths) <= 7
    assert np.percentile(lengths, 95) <= 25


def test_from_the_command_to_the_network_are_few_functions(
    tmp_path, tiny_weights, monkeypatch, capsys
):
    from birefcli.cli.app import app

    stacks = []
    forward = InferenceNetwork.forward

    def seen(self, batch):
        stacks.append(traceback.extract_stack())
        return forward(self, batch)

    monkeypatch.setattr(InferenceNetwork, "forward", seen)
    picture().save(tmp_path / "a.png")
    words = ["matte", tmp_path / "a.png", "-o", tmp_path / "out", "-m", tiny_weights]
    with pytest.raises(SystemExit):
        app([*map(str, words), "--device", "cpu"])
    folders = {PACKAGE / name for name in ("cli", "batch", "matting", "birefnet")}
    ours = [f for f in stacks[0] if folders & set(Path(f.filename).parents)]
    inside = ours[next(i for i, f in enumerate(ours) if f.name == "matte") :]
    path = [f.name for f in inside if f.name not in ("<genexpr>", "<lambda>")]
    assert len(path) + 1 <= HOPS, [*path, "forward"]  # and forward itself
    capsys.readouterr()


def test_the_library_spells_no_option_as_the_command_line_does():
    ours = re.compile(r"--[a-z]")
    for path in MODULES:
        if "cli" in path.parts or path.name == "style.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not ours.search(node.value), f"{path}: {node.value}"
