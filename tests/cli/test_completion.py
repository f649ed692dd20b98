"""What shells offer when Tab is pressed: by their protocol, and in the shells themselves."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys

import pytest
import typer.main
from conftest import wait_for

from birefcli.cli import completion, tab
from birefcli.cli.app import app
from birefcli.cli.environment import COMPLETING
from birefcli.cli.help_page import for_shells
from birefcli.models import zoo
from birefcli.options import Lock

PUBLISHED = [name for name in zoo.ZOO if name != "mini"]
SAME = ["matte -m", "matte --model", "bench --model", "bench --against", "score -m", "train --from"]


@pytest.fixture(scope="module")
def offered(command):
    """What bash is offered for a command line whose last word is incomplete."""

    def ask(line: str, cwd=None):
        words = ["birefcli", *line.split(" ")]
        asked = {
            "_BIREFCLI_COMPLETE": "complete_bash",
            "COMP_WORDS": "\n".join(words),
            "COMP_CWORD": str(len(words) - 1),
        }
        result = command(cwd=cwd, **asked)
        assert result.stderr == b""
        return result.stdout.decode().split()

    return ask


@pytest.mark.parametrize("before", SAME)
def test_names_of_models_are_offered_wherever_a_model_is_named(before, offered, tmp_path):
    assert offered(f"{before} ", tmp_path) == list(zoo.ZOO)
    assert offered(f"{before} h", tmp_path) == ["hr", "hr-matting"]


def test_weights_files_are_offered_beside_names(offered, tmp_path):
    for name in ("mine.safetensors", "more.pth", "m.txt", "my own.pth", "m.onnx"):
        (tmp_path / name).touch()
    found = ["matting", "mini", "mine.safetensors", "more.pth"]
    assert offered("matte --model m", tmp_path) == found
    assert set(offered("bench --against m", tmp_path)) == {*found, "m.onnx"}
    assert offered("matte --model ./m", tmp_path) == []  # the shell's own turn


def test_models_that_can_be_pulled_are_offered_once(offered):
    assert offered("models pull ") == PUBLISHED
    rest = [name for name in PUBLISHED if name not in ("portrait", "hr")]
    assert offered("models pull portrait hr ") == rest
    assert offered("models remove ") == PUBLISHED
    assert offered("models verify m") == offered("models path m") == ["matting", "mini"]


def test_commands_options_and_choices_are_offered(offered):
    assert offered("m") == ["matte", "models"]
    assert offered("matte --pa") == ["--patch-order"]
    assert offered("matte --lock ") == [choice.value for choice in Lock]
    assert offered("matte --write mask,c") == ["mask,cutout", "mask,composite"]
    assert "mask,mask" not in offered("matte --write mask,")
    assert offered("matte --bits ") == ["8", "16", "1"]
    assert offered("matte --background b") == ["black", "blur"]
    assert offered("train --device c")[:2] == ["cpu", "cuda"]
    kinds = offered("matte --device ")
    assert {"auto", "cpu", "cuda", "all"} <= set(kinds)
    assert offered("matte --device cuda,c")[:1] == ["cuda,cpu"]
    assert offered("matte --format ") == ["png", "webp", "tiff", "jpg", "avif"]


def test_words_that_bash_splits_are_whole_again(offered):
    assert offered("matte --model = mi") == ["mini"]
    assert offered("matte --lock =") == [choice.value for choice in Lock]
    assert offered("matte --write = mask,cu") == ["mask,cutout"]


@pytest.mark.parametrize(
    ("shell", "typed", "given"),
    [
        ("bash", {"COMP_WORDS": "birefcli\nmatte\n--device\n=\ncuda\n:", "COMP_CWORD": "5"}, "0\n"),
        ("bash", {"COMP_WORDS": "birefcli\nmatte\n--device\ncuda:", "COMP_CWORD": "3"}, "cuda:0\n"),
        ("fish", {"_TYPER_COMPLETE_ARGS": "birefcli matte --device=cuda:"}, "--device=cuda:0\n"),
        ("fish", {"_TYPER_COMPLETE_ARGS": "birefcli matte --device cuda:"}, "cuda:0\n"),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "x --device=c"}, "compset -P 1 '*='; cuda:0\n"),
    ],
)  # fmt: skip
def test_a_shell_gets_what_it_replaces(shell, typed, given, monkeypatch, capsys):
    for name, value in {COMPLETING: f"complete_{shell}", **typed}.items():
        monkeypatch.setenv(name, value)
    with tab.as_shells_read():
        print("cuda:0")
    assert capsys.readouterr().out == given


def test_patterns_of_names_are_no_files(offered):
    assert offered("matte --name ") == ["{stem}", "{name}"]
    assert offered("matte --name = x-{n") == ["x-{name}"]
    assert offered("matte --name x-") == ["x-{stem}", "x-{name}"]
    assert offered("matte --name {stem}-x") == ["{stem}-x"]


@pytest.mark.parametrize("line", ["matte x", "score x", "score --photos x", "matte -o x"])
def test_files_are_left_to_the_shell(line, offered):
    assert offered(line) == []


def test_helps_keep_their_quotes_where_a_shell_would_lose_them():
    found = dict(completion.preset("am"))
    assert found["amazon"].startswith("Amazon\u2019s main image")
    matte = typer.main.get_command(app).commands["matte"]
    with matte.make_context("matte", [], resilient_parsing=True) as context:
        helps = {item.value: item.help for item in matte.shell_complete(context, "--si")}
    assert helps["--size"].endswith("instead of the model\u2019s own.")
    assert for_shells('a "b" c') == "a \u201cb\u201d c"


def test_each_gpu_is_offered(tmp_path, monkeypatch):
    for name in ("nvidia0", "nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.setattr(completion, "DEVICE_NODES", tmp_path)
    assert [word for word, _ in completion.device("cuda:")] == ["cuda:0", "cuda:2", "cuda:10"]


def test_completion_imports_nothing_heavy(installed):
    asked = {"_BIREFCLI_COMPLETE": "complete_bash", "COMP_CWORD": "3"}
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", ENTRY],
        env={**installed, **asked, "COMP_WORDS": "birefcli matte --model po"},
        capture_output=True,
        check=True,
    )
    assert result.stdout.split() == [b"portrait"]
    imported = {line.rpartition(b"|")[2].strip() for line in result.stderr.splitlines()}
    heavy = {b"torch", b"numpy", b"cv2", b"PIL", b"timm", b"huggingface_hub.hf_api"}
    assert b"birefcli.cli" in imported
    assert not heavy & imported


ENTRY = "import sys; sys.argv[0] = 'birefcli'; from birefcli.__main__ import main; main()"
SHELLS = {
    "bash": (["--norc", "--noprofile", "-i"], ""),
    "zsh": (["-f", "-i"], "autoload -Uz compinit; compinit -u; "),
}


@pytest.mark.parametrize("shell", list(SHELLS))
def test_a_shell_completes_names_and_files(shell, installed, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    words, before = SHELLS[shell]
    (tmp_path / "photographs.jpg").touch()
    (tmp_path / "pictures").mkdir()
    with Terminal([shell, *words], installed, tmp_path) as terminal:
        terminal.type(f"{before}eval \"$(birefcli --show-completion)\"; echo set''tled\n")
        terminal.waits_for("settled")
        for typed, completed in (
            ("--model portr", "--model portrait "),
            ("photogr", r"photographs\.jpg "),
            ("--model=portr", "--model=portrait "),
            ("--format=p", "--format=png "),  # and not the folder
            ("--write=mask,cu", "--write=mask,cutout "),
            ("--failed-to=photogr", r"--failed-to=photographs\.jpg "),
            ("-o x", "-o x"),
        ):
            terminal.type(f"birefcli matte {typed}\t")
            terminal.waits_for(f"birefcli matte {completed}")
            terminal.type("\x15")  # empties the line


@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish here")
def test_fish_completes_names_and_files(installed, tmp_path):
    (tmp_path / "photographs.jpg").touch()
    script = """
        birefcli --show-completion | source
        complete -C "birefcli matte --model portr"
        complete -C "birefcli matte photogr"
    """
    words = ["fish", "--no-config", "-c", script]
    result = subprocess.run(words, env=installed, cwd=tmp_path, capture_output=True, check=True)
    first, second = result.stdout.decode().splitlines()
    assert first.split("\t") == ["portrait", zoo.ZOO["portrait"].purpose]
    assert second == "photographs.jpg"


class Terminal:
    """A shell that believes a person types; what it shows, without colours and movements."""

    def __init__(self, words, environment, folder):
        mine, its = pty.openpty()
        self.file = mine
        environment = {**environment, "TERM": "dumb", "HOME": str(folder), "PS1": "$ "}
        self.process = subprocess.Popen(
            words, stdin=its, stdout=its, stderr=its, env=environment, cwd=folder,
            start_new_session=True,
        )  # fmt: skip
        os.close(its)
        self.seen = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.file)

    def type(self, text):
        os.write(self.file, text.encode())

    def shows(self, pattern):
        if select.select([self.file], [], [], 0.5)[0]:
            self.seen += os.read(self.file, 65536).decode(errors="replace")
        return re.search(pattern, self.plain())

    def waits_for(self, pattern):
        wait_for(lambda: self.shows(pattern), pattern)

    def plain(self):
        text = re.sub(r"\x1b\[[0-9;?=>]*[a-zA-Z]|\x1b[=>()][B0]?|[\r\x07]", "", self.seen)
        return re.sub(r".\x08", "", text)
