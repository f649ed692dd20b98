"""What a run reads is not overwritten by it: weights, backgrounds, and files that it knows not."""

import os
import shutil

import pytest
from conftest import picture


@pytest.fixture
def backgrounds(tmp_path):
    """A folder of backgrounds named after the photos."""
    folder = tmp_path / "behind"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        picture(seed=7).save(folder / name)
    return folder


def refused(inside, *words):
    result = inside(*words)
    assert result.returncode == 5, result.stderr.decode()
    return result.stderr.decode()


@pytest.mark.parametrize("existing", ["update", "overwrite"])
def test_a_result_never_takes_the_place_of_a_background(
    inside, photos, backgrounds, tmp_path, existing
):
    before = {path: path.read_bytes() for path in backgrounds.iterdir()}
    words = ("--write", "composite", "--existing", existing, "--background")
    told = refused(inside, "matte", photos, "-o", backgrounds, *words, backgrounds)
    assert "a background would be overwritten by the result of" in told
    one = backgrounds / "a.png"
    assert str(one) in refused(inside, "matte", photos / "b.png", "-o", one, *words, one)
    (tmp_path / "link.png").symlink_to(one)
    refused(inside, "matte", photos / "b.png", "-o", one, *words, tmp_path / "link.png")
    assert {path: path.read_bytes() for path in backgrounds.iterdir()} == before


def test_a_result_never_takes_the_place_of_the_weights(inside, photos, tiny_weights, tmp_path):
    weights = tmp_path / "weights.png"
    shutil.copy(tiny_weights, weights)
    words = ("matte", photos / "a.jpg", "-o", weights, "--model", weights)
    assert "the weights would be overwritten" in refused(inside, *words, "--existing", "overwrite")
    assert weights.read_bytes() == tiny_weights.read_bytes()


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n" + bytes(50),
        b"notes of mine\n",
        b"a/./b\nno slash\n",
        b"./a.jpg\n/home/me/b.jpg\n",
        b"\0" * 90_000,
        b"x",
    ],
)
def test_a_list_of_failures_replaces_nothing_but_such_a_list(inside, photos, tmp_path, content):
    kept = tmp_path / "kept"
    kept.write_bytes(content)
    words = ("matte", photos, "-o", tmp_path / "out", "--failed-to", kept)
    assert "is there and is no list of failed photos" in refused(inside, *words)
    assert kept.read_bytes() == content
    assert not (tmp_path / "out").exists()


def test_a_list_of_failures_replaces_no_weights(inside, photos, tiny_weights, tmp_path):
    weights = tmp_path / "weights"
    shutil.copy(tiny_weights, weights)
    words = ("matte", photos, "-o", tmp_path / "out", "--model", weights, "--failed-to", weights)
    assert "is read by this run" in refused(inside, *words)
    assert weights.read_bytes() == tiny_weights.read_bytes()


def test_a_list_of_failures_replaces_one_of_an_earlier_run(inside, photos, tmp_path):
    failed = tmp_path / "failed"
    odd = [b"\xff.jpg", b"new\nline.jpg", b"spaces and ~.jpg"]
    for names in (odd[:1], odd[2:], odd, []):
        folder = tmp_path / "in"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(photos, folder)
        for name in names:
            (folder / os.fsdecode(name)).write_bytes(b"no photo")
        result = inside("matte", folder, "-o", tmp_path / "out", "--failed-to", failed, "--null")
        assert result.returncode == (1 if names else 0), result.stderr.decode()
        assert all(name in failed.read_bytes() for name in names)
    assert failed.read_bytes() == b""


@pytest.mark.parametrize("command_words", [("matte", "a.jpg", "-o", "out"), ("bench", "a.jpg")])
def test_an_empty_name_of_a_model_is_refused(inside, photos, command_words):
    result = inside(*command_words, "--model", "", cwd=photos)
    assert result.returncode == 2
    assert "--model: is empty: is a variable not set?" in result.stderr.decode()
