"""A value that an option cannot have is refused in one shape, whichever option it is."""

import re

import pytest
import typer.main
from PIL import Image

from birefcli.cli.app import app

COMMANDS = typer.main.get_command(app).commands
WRONG = "?!"
LINES = {
    "matte": "matte a.jpg -o o",
    "watch": "watch in -o o",
    "serve": "serve",
    "bench": "bench a.jpg",
    "doctor": "doctor --no-measure",
    "score": "score a.jpg b.png",
    "sheet": "sheet a.jpg -o s.png",
    "export": "export mini -o o.onnx",
    "train": "train in -o o.safetensors",
}
NEEDED = {
    "--align": "--canvas 9x9",
    "score --size": "--model mini",
    "score --batch": "--model mini",
    "score --device": "--model mini",
}
"""What must be there for an option to count."""
FREE = re.compile(r"PATH|PHOTOS|FILE|FOLDER|DIR|TEMPLATE|GLOB|WHAT|ADDRESS|LIST --model")
"""Options whose value may be any text, a name of something; that it is unfit is found later."""
SHAPE = re.compile(r"birefcli: (\S+) \?!: (give|choose from|name) .*[^;.]\n")


def valued_options(name):
    for option in COMMANDS[name].params:
        if option.param_type_name == "option" and not option.is_flag:
            free = FREE.search(f"{option.metavar} {option.opts[0]}")
            if free is None or option.opts[0] == "--report":
                yield option.opts[0]


def test_most_options_are_tried():
    assert sum(len(list(valued_options(name))) for name in LINES) > 120


@pytest.mark.parametrize("name", list(LINES))
def test_a_wrong_value_is_answered_in_one_shape(ended, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    Image.new("RGB", (9, 9)).save("a.jpg")
    Image.new("L", (9, 9)).save("b.png")
    for option in valued_options(name):
        needed = NEEDED.get(f"{name} {option}", NEEDED.get(option, ""))
        code, said = ended(*LINES[name].split(), *needed.split(), option, WRONG)
        found = SHAPE.fullmatch(said)
        assert found is not None, said
        assert (code, found[1]) == (2, option)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "matte a.jpg -o o --connections 9999",
            "--connections 9999: give a whole number from 1 to",
        ),
        ("matte a.jpg -o o --quality 101", "--quality 101: give a whole number from 1 to 100"),
        ("serve --port -1", "--port -1: give a whole number from 0 to 65535"),
        ("watch in -o o --every 0", "--every 0: give a number from 0.1 to 86400"),
        ("bench --price 0", "--price 0: give what this machine costs an hour in USD, above 0"),
        ("matte a.jpg -o o --max-megapixels -1", "--max-megapixels -1: give a number above 0"),
        ("train in -o o.safetensors --size 40", "--size 40: give a multiple of 32, from 32 to"),
        (
            "matte a.jpg -o o --existing overwite",
            "--existing overwite: choose from update, skip,"
            " overwrite, error; did you mean overwrite?",
        ),
        (
            "matte a.jpg -o o --preset sqare",
            "--preset sqare: choose from square, amazon, google,"
            " id-us, id-35x45; did you mean square?",
        ),
        (
            "matte a.jpg -o o --write mask,cutuot",
            "--write cutuot: choose from cutout, mask,"
            " composite, foreground, trimap; did you mean cutout?",
        ),
        (
            "matte a.jpg -o o --device gpu",
            "--device gpu: choose from auto, cpu, cuda, cuda:N, mps,"
            " all; did you mean auto, which takes the GPU where there is one?",
        ),
        (
            "doctor --device 1",
            "--device 1: choose from auto, cpu, cuda, cuda:N, mps; did you mean cuda:1?",
        ),
        ("train in b s3://c/d -o o", "s3://c/d: is in an object store; name a file or folder"),
        ("train in -o o --validate a --validate s3://c/d", "--validate s3://c/d: is in an object"),
    ],
)
def test_a_value_out_of_range_is_answered_in_the_same_shape(
    ended, tmp_path, monkeypatch, words, said
):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (9, 9)).save("a.jpg")
    (tmp_path / "in").mkdir()
    assert ended(*words.split())[0] == 2
    assert ended(*words.split())[1].startswith(f"birefcli: {said}")


def test_a_wrong_value_of_a_variable_is_called_by_its_name(ended, monkeypatch):
    for name, value, wanted in (
        ("DRY_RUN", "perhaps", "give 1 or 0"),
        ("WORKERS", "all", "give a whole number from 1"),
        ("LOCK", "maybe", "choose from leave, wait, none"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(f"BIREFCLI_{name}", value)
            code, said = ended("matte", "a.jpg", "-o", "o")
        assert (code, said) == (2, f"birefcli: BIREFCLI_{name}={value}: {wanted}\n")
