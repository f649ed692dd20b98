"""What ends a command where nobody expected it: told by its cause, in one line, with its code."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TIMEOUT

from birefcli.cli import failures
from birefcli.errors import ExitCode, ModelError
from birefcli.system import machine, streams

CAUSES = [
    (ModelError("no weights"), ExitCode.MODEL, "no weights"),
    (
        OSError(errno.EACCES, "Permission denied", "a\n.png"),
        ExitCode.OUTPUT,
        "a\\n.png: Permission",
    ),
    (OSError(errno.EIO, "Input/output error", b"b\xff"), ExitCode.OUTPUT, "Input/output error"),
    (OSError(errno.EMFILE, "Too many open files"), ExitCode.OUTPUT, "Too many open files"),
    (OSError(errno.ENOSPC, "No space left", streams.STDOUT), ExitCode.OUTPUT, "standard output"),
    (BrokenPipeError(errno.EPIPE, "Broken pipe", streams.STDOUT), ExitCode.OUTPUT, ""),
    (MemoryError(), ExitCode.MODEL, "not enough memory"),
    (
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        4,
        "not",
    ),
    (RuntimeError("can't start new thread"), ExitCode.MODEL, "not enough memory"),
    (ImportError("libGL.so.1: cannot open shared object file"), ExitCode.MODEL, "libGL.so.1"),
    (ImportError("x.so: failed to map segment from shared object"), ExitCode.MODEL, "memory"),
    (ModuleNotFoundError("No module named 'timm'"), ExitCode.MODEL, "'timm'"),
    (ValueError("embedded null byte"), ExitCode.USAGE, "zero byte"),
    (UnicodeEncodeError("ascii", "é\n", 0, 2, "no"), ExitCode.OUTPUT, "é\\n cannot be written"),
    (RecursionError("maximum recursion depth exceeded"), ExitCode.MODEL, "nested too deeply"),
    (KeyError("x"), ExitCode.BUG, "a bug: KeyError"),
    (ValueError("x"), ExitCode.BUG, "a bug: ValueError: x"),
]


@pytest.mark.parametrize(("error", "code", "text"), CAUSES, ids=lambda value: repr(value)[:40])
def test_cause_decides_the_words_and_the_code(monkeypatch, error, code, text):
    monkeypatch.setattr(machine, "address_limit", lambda: None)
    said, ended = failures.explain(error)
    assert ended == code
    assert text in said
    assert bool(said) == bool(text)
    assert ("--debug" in said) == (code == ExitCode.BUG or isinstance(error, RecursionError))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ImportError("libavcodec.so: failed to map segment from shared object"),
        OSError("Could not find/load shared object file 'libllvmlite.so'"),
    ],
)
def test_limit_of_memory_is_named_where_there_is_one(monkeypatch, error):
    monkeypatch.setattr(machine, "address_limit", lambda: 600 << 20)
    said, code = failures.explain(error)
    assert code == ExitCode.MODEL
    assert "not enough memory; 600 MB are allowed (ulimit -v)" in said


@pytest.mark.parametrize("error", [MemoryError(), OSError(13, "Permission denied", "x")])
def test_any_command_ends_by_its_cause(ended, monkeypatch, error):
    from birefcli.cli import command

    def fail(name):
        raise error

    monkeypatch.setattr(command.environment, "check_place", fail)
    code, said = ended("models", "list")
    assert code == (4 if isinstance(error, MemoryError) else 5)
    assert said.count("\n") == 1
    assert "a bug" not in said


@pytest.fixture
def shell(environment, tmp_path):
    """Run a line of a shell in which ``$B`` is birefcli; its code, stdout and stderr."""
    if os.name != "posix":
        pytest.skip("lines of a POSIX shell")

    def run(line):
        root = str(Path(__file__).parents[2])
        env = {**environment, "PYTHONPATH": root, "B": f"{sys.executable} -m birefcli"}
        result = subprocess.run(
            ["sh", "-c", line],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            check=False,
            timeout=TIMEOUT,
        )
        return result.returncode, result.stdout.decode(), result.stderr.decode()

    return run


@pytest.mark.parametrize("words", ["matte /none.png -o /none/x", "score . .", "train x -o y"])
def test_working_folder_that_is_gone_is_told_at_once(shell, words):
    code, out, said = shell(f"mkdir d; cd d; rmdir ../d; $B {words}")
    assert (code, out) == (ExitCode.OUTPUT, "")
    assert said == "birefcli: the working folder is gone; change to one that is there\n"


def test_help_needs_no_working_folder(shell):
    code, out, said = shell("mkdir d; cd d; rmdir ../d; $B matte --help")
    assert (code, said) == (0, "")
    assert "Usage" in out


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a limit that Linux keeps")
@pytest.mark.parametrize(
    ("kilobytes", "words"),
    [(150_000, "models list"), (400_000, "score a b"), (950_000, "sheet . -o s.png")],
)
def test_too_little_memory_to_start_is_told_at_once(shell, kilobytes, words):
    code, out, said = shell(f"ulimit -v {kilobytes}; $B {words}")
    assert (code, out) == (ExitCode.MODEL, "")
    assert said.startswith("birefcli: not enough memory to start: ")
    assert said.count("\n") == 1


def test_libraries_of_torch_are_counted_before_they_are_loaded(ended, monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "address_limit", lambda: machine.size_of_torch() - 1)
    monkeypatch.setattr("birefcli.cli.environment.LEAST", 0)
    assert machine.size_of_torch() > 50 << 20
    code, said = ended("matte", tmp_path, "-o", tmp_path / "out")
    assert (code, "not enough memory to start" in said) == (ExitCode.MODEL, True)
    code, said = ended("sheet", tmp_path, "-o", tmp_path / "s.png")
    assert code == ExitCode.NO_INPUT
