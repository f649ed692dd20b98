"""What an unknown option or command is answered with."""

import shlex
import sys

import pytest
import typer.main
from PIL import Image

from birefcli import values
from birefcli.cli import suggest, synonyms
from birefcli.cli.app import app
from birefcli.cli.usage_errors import explain
from birefcli.options import DEVICES, Compress, Existing, Precision, Product, Shadow, check_device

ROOT = typer.main.get_command(app)
COMMANDS = ROOT.commands
PHRASES = sorted({phrase for meant in synonyms.OPTIONS.values() for phrase in meant})


def names_of(command):
    return {name for p in command.params for name in (*p.opts, *p.secondary_opts)}


def takes(command, phrase):
    return set(suggest.options_of(phrase)) <= names_of(command)


@pytest.mark.parametrize("phrase", PHRASES)
def test_every_option_that_is_meant_exists(phrase):
    assert suggest.options_of(phrase)
    assert any(takes(command, phrase) for command in (ROOT, *COMMANDS.values()))


@pytest.mark.parametrize("phrase", [p for p in PHRASES if len(p.split()) == 2])
def test_every_value_that_is_meant_is_one(phrase):
    option, value = phrase.split()
    kinds = {"--write": Product, "--existing": Existing, "--precision": Precision}
    kinds |= {"--shadow": Shadow, "--compress": Compress}
    if option == "--device":
        check_device(value, DEVICES)
    elif option == "--format":
        assert values.file_format(value) is not None
    else:
        assert value in {member.value for member in kinds[option]}


@pytest.mark.parametrize("name", [n for n in COMMANDS if n != "models"])
def test_what_is_suggested_is_an_option_of_the_command(name):
    command = COMMANDS[name]
    context = command.context_class(command, info_name=name)
    known = names_of(command)
    for word in synonyms.OPTIONS:
        if f"--{word}" in known or f"-{word}" in known:
            continue
        said = suggest.explain_option(context, f"--{word}")
        assert set(suggest.options_of(said)) <= known
        assert "--debug" not in said


def test_every_command_that_is_meant_exists():
    for word, meant in synonyms.COMMANDS.items():
        first, *rest = meant.split()
        assert first in COMMANDS or first in {*names_of(ROOT), "--help"}, word
        assert all(name in COMMANDS[first].commands for name in rest), word
    assert set(synonyms.COMMANDS) & set(COMMANDS) == set()
    assert set(synonyms.COMMAND_OPTIONS.values()) <= set(COMMANDS)
    for commands in synonyms.EXPLAINED.values():
        assert set(commands) <= set(COMMANDS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("matte --bg white", "--bg is no option; did you mean --background? See birefcli matte"),
        ("matte --fit 9", "did you mean --canvas and --fill?"),
        ("matte -j4", "-j is no option; OMP_NUM_THREADS=4 birefcli matte sets the network's"),
        ("watch --workers 4", "OMP_NUM_THREADS=4 birefcli watch sets the network's cores, --thr"),
        ("score --jobs 4", "did you mean --threads?"),
        ("matte --no-exif", "did you mean --no-metadata?"),
        ("matte a.jpg -o o --workers 4", "--workers does nothing without --on ray; on this"),
        ("matte --watch", "did you mean birefcli watch?"),
        ("matte --cuda", "did you mean --device cuda?"),
        ("matte --force", "did you mean --existing overwrite?"),
        ("train --force", "did you mean --restart?"),
        ("train --weights x", "did you mean --from?"),
        ("matte --overwite", "did you mean --existing overwrite?"),
        ("matte --alpha", "did you mean --write mask?"),
        ("matte --jpg", "did you mean --format jpg?"),
        ("matte --resume", "; the same command goes on where it stopped; see"),
        ("matte --oput x", "did you mean --output?"),
        ("matte --debgu", "did you mean --debug?"),
        ("matte --zebra", "--zebra is no option; see birefcli matte --help-all"),
        ("matte --dug", "--dug is no option; see"),
        ("matte --dbg", "did you mean --background?"),
        ("--model mini a.jpg", "--model is no option; did you mean birefcli matte --model?"),
        ("models --json", "--json is no option; did you mean birefcli models list --json?"),
        ("rembg a.jpg", "rembg is no command; did you mean matte?"),
        ("photos/", "did you mean birefcli matte photos/ -o cutouts/?"),
        ("a.JPG", "did you mean birefcli matte a.JPG -o cutouts/?"),
        ("there", "did you mean birefcli matte there -o cutouts/?"),
        ("'my photo.jpg'", "did you mean birefcli matte 'my photo.jpg' -o cutouts/?"),
        ("photos/ -o out/ --crop", "mean birefcli matte photos/ -o out/ --crop? See"),
        ("a.jpg --crop", "did you mean birefcli matte a.jpg --crop -o cutouts/?"),
        ("help matte", "did you mean birefcli matte --help?"),
        ("help", "did you mean --help?"),
        ("completion", "did you mean --install-completion?"),
        ("-V", "did you mean --version?"),
        ("man", "man is no command; did you mean man birefcli?"),
        ("matte help", "say where the results go; or did you mean --help?"),
        (
            "train a -o b --gpus 2",
            "--gpus is no option; torchrun -m birefcli train trains on several GPUs",
        ),
        ("matte --gpus 2", "did you mean --device all?"),
        ("bench --gpus 2", "; it uses one device, as by --device cuda:1; see"),
        ("matte --gpu", "; the GPU is taken where there is one, without an option; see"),
        ("matte --white", "did you mean --write composite --background white?"),
        ("bench --overwrite", "--overwrite is no option; see birefcli bench"),
        (
            "serve --workers 2",
            "; one server drives one device: start one for each, behind a proxy; see",
        ),
        ("watch --once", "; birefcli matte does the photos that are there, and ends; see"),
        ("watch --dry-run", "; birefcli matte, with the same option, shows what there is to do"),
        ("matte --every 3", "did you mean birefcli watch?"),
        ("matte -a x", "; edges are matted where it helps, without an option; see"),
        ("matte x -r", "; folders are walked without an option; see"),
        ("doctor x y", "x is one word too many; see birefcli doctor --help"),
        ("models ls", "did you mean list?"),
        ("trian", "did you mean train?"),
        ("models pul", "did you mean pull?"),
        ("models xyz", "xyz is no command; see birefcli models --help"),
        ("xyz", "xyz is no command; see birefcli --help"),
    ],
)
def test_a_wrong_word_is_answered_with_what_is_meant(ended, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (9, 9)).save("a.jpg")
    (tmp_path / "there").mkdir()
    code, told = ended(*shlex.split(words))
    assert (code, told.count("\n")) == (2, 1), told
    assert said in told


def test_a_photo_that_is_read_as_options_is_one_of_the_commands_own_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("-dash.jpg", "-door.jpg"):
        (tmp_path / name).touch()
    monkeypatch.setattr(sys, "argv", ["another program", "-door.jpg"])
    with pytest.raises(Exception, match=r"(?i)no such option") as refused:
        typer.main.get_command(app).main(["matte", "-dash.jpg"], standalone_mode=False)
    assert "the file -dash.jpg is called ./-dash.jpg here" in explain(refused.value)
