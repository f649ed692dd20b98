"""What ``--model`` is given, in every command that has one."""

import os
import shutil

import pytest
from conftest import picture
from support import Encoded

from birefcli.errors import ExitCode

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")


def pipe(path):
    os.mkfifo(path)


def endless(path):
    path.symlink_to("/dev/zero")


def sparse(path):
    with path.open("wb") as file:
        file.truncate(100 << 30)


def several(path):
    path.mkdir()
    for name in ("a.pth", "b.pth"):
        (path / name).touch()


def behind_a_file(path):
    path.parent.rmdir()
    path.parent.touch()


def in_a_circle(path):
    path.symlink_to(path.name)


KINDS = [pipe, endless, sparse, several, behind_a_file, in_a_circle]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "words",
    [
        ("matte", "a.jpg", "-o", "out", "--model"),
        ("matte", "a.jpg", "-o", "out", "--dry-run", "--model"),
        ("bench", "a.jpg", "--count", "1", "--model"),
        ("score", "a.jpg", "a.png", "--model"),
        ("train", "photos", "-o", "w.safetensors", "--from"),
    ],
    ids=["matte", "dry run", "bench", "score", "train"],
)
def test_what_is_no_weights_file_ends_a_command_with_4_and_one_line(inside, tmp_path, kind, words):
    picture().save(tmp_path / "a.jpg")
    for folder in ("odd", "photos/im", "photos/gt"):
        (tmp_path / folder).mkdir(parents=True)
    mask = picture().convert("L")
    for target in ("a.png", *(f"photos/gt/{i}.png" for i in range(4))):
        mask.save(tmp_path / target)
    for number in range(4):
        picture().save(tmp_path / "photos" / "im" / f"{number}.jpg")
    path = tmp_path / "odd" / "a.pth"
    kind(path)
    done = inside(*words, path, cwd=tmp_path)
    told = done.stderr.decode()
    assert done.returncode == ExitCode.MODEL, told
    assert told.startswith("birefcli: "), told
    assert told.count("\n") == 1, told
    assert "a.pth" in told


def test_folder_that_holds_one_weights_file_is_a_model(inside, tiny_weights, tmp_path):
    picture().save(tmp_path / "a.jpg")
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "config.json").write_text("{}")
    shutil.copy(tiny_weights, tmp_path / "net" / "model.safetensors")
    for name, more in (("net", ["--model", "net"]), ("variable", [])):
        variable = {} if more else {"BIREFCLI_MODEL": "net/"}
        done = inside("matte", "a.jpg", "-o", name + ".png", *more, cwd=tmp_path, **variable)
        assert done.returncode == 0, done.stderr
    made = [Encoded((tmp_path / name).read_bytes()) for name in ("net.png", "variable.png")]
    assert made[0] == made[1]
