"""Products of ours that are named where photos are meant."""

import os

import pytest
from conftest import picture
from support import stamped_png

from birefcli.batch.inputs import search_photos
from birefcli.batch.named_products import MOST, note_of_products
from birefcli.options import Selection


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A photo, three cutouts, a mask, a page of a sheet and a pipe, in the current folder."""
    monkeypatch.chdir(tmp_path)
    picture().save("photo.png")
    for name, product in {
        "a": "cutout", "b": "cutout", "c": "cutout", "mask": "mask", "page": "sheet",
    }.items():  # fmt: skip
        (tmp_path / f"{name}.png").write_bytes(stamped_png(product=product))
    os.mkfifo("pipe.png")
    return tmp_path


def note(*inputs, listed=()):
    return note_of_products(search_photos(Selection(inputs, "out", listed=listed)).found)


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        (("a.png",), "a.png: a cutout that birefcli made; name its photo instead, if that was"),
        (("page.png",), "page.png: a contact sheet that birefcli made"),
        (
            ("photo.png", "mask.png"),
            "1 of the named photos is a mask that birefcli made (mask.png)",
        ),
        (
            ("b.png", "a.png"),
            "2 of the named photos are cutouts that birefcli made (b.png …): name",
        ),
        (("photo.png", "c.png", "mask.png"), "2 of the named photos are products that birefcli"),
    ],
)
def test_named_products_are_told_as_what_they_are(folder, listed, told):
    assert note(listed=listed).startswith(told)
    assert note(*listed).startswith(told), "as it is without a list"


def test_photos_pipes_and_what_is_not_there_are_nothing_to_tell(folder):
    assert note(listed=("photo.png", "pipe.png", "gone.png")) is None
    assert note("photo.png", "-") is None


def test_products_in_a_folder_are_left_out_and_no_matter_of_this(folder):
    assert note(".") is None


def test_few_of_a_long_list_are_looked_at(folder, monkeypatch):
    for number in range(MOST + 1):
        os.link("photo.png", f"{number}.png")
    photos = tuple(f"{number}.png" for number in range(MOST + 1))
    assert note(listed=(*photos, "a.png")) is None
    told = note(listed=("a.png", *photos))
    assert told.startswith(f"1 of the first {MOST} named photos is a cutout")


def test_it_is_said_once_before_the_work_and_the_work_is_done(command, tiny_weights, folder):
    words = ("--files-from", "-", "-o", "out", "-m", tiny_weights)
    result = command("matte", *words, stdin=b"a.png\nb.png\nphoto.png\n")
    assert result.returncode == 0, result.stderr
    said = result.stderr.decode().splitlines()
    assert said[0].startswith("2 of the named photos are cutouts that birefcli made (a.png …)")
    assert sum("that birefcli made" in line for line in said) == 1
    assert len(list((folder / "out").iterdir())) == 3
