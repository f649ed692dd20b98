"""A look finds what a search finds, and tells when it changes."""

import os
import shutil
from pathlib import Path

import pytest

from birefcli.batch.inputs import search_photos
from birefcli.batch.watch.folder_look import FolderLook
from birefcli.options import Selection, Shard


def put(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        *("in/a.jpg", "in/B.JPG", "in/.hidden.jpg", "in/._a.jpg", "in/notes.txt", "in/raw.nef"),
        *("in/x/c.png", "in/x/deep/d.webp", "in/.git/e.jpg", "in/@eaDir/f.jpg", "in/raw/g.jpg"),
        *("in/out/h.jpg", "in/x/-dash.jpg", "in/x/space name.jpg", "in/x/ümlaut.tif"),
        *("elsewhere/i.jpg", "in/x.jpg/j.jpg"),
    ):
        put(tmp_path / name)
    (tmp_path / "in" / "link.jpg").symlink_to(tmp_path / "elsewhere" / "i.jpg")
    (tmp_path / "in" / "nothing.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "x" / "loop").symlink_to(tmp_path / "in")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "in" / "pipe.jpg")
    return tmp_path


@pytest.mark.parametrize("root", ["in", "in/", ".", "./in", "in/x/..", "absolute"])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"recursive": False},
        {"include": ("*.png", "x/*")},
        {"exclude": ("raw", "c*")},
        {"exclude": ("raw/*",)},
        {"shard": Shard(1, 3)},
    ],
)
def test_a_look_finds_what_a_search_finds(tree, root, more):
    root = str(tree / "in") if root == "absolute" else root
    selection = Selection((root,), "in/out", **more)
    look = FolderLook(Path(root), selection)
    found = search_photos(selection).found
    assert sorted(label for label, _ in look()) == sorted(p.source.label for p in found)
    places = {p.source: p.relative for p in found}
    assert places == {p.source: p.relative for p in (look.photo(label) for label, _ in look())}


@pytest.mark.parametrize("root", ["in", ".", "absolute"])
def test_a_list_of_what_was_found_gives_the_same_photos_the_same_places(tree, root):
    root = str(tree / "in") if root == "absolute" else root
    selection = Selection((root,), "in/out")
    look = FolderLook(Path(root), selection)
    photos = [look.photo(label) for label, _ in look()]
    lines = tuple(p.source.listed_as(p.relative) for p in photos)
    assert search_photos(Selection((), "in/out", listed=lines)).found == photos


def state(look, name):
    return dict(look())[name]


def test_a_version_changes_with_size_time_and_status(tree):
    look = FolderLook(Path("in"), Selection(("in",), "out"))
    photo = tree / "in" / "a.jpg"
    first = state(look, "in/a.jpg")
    assert state(look, "in/a.jpg") == first
    times = photo.stat()
    photo.write_text("y")
    os.utime(photo, ns=(times.st_atime_ns, times.st_mtime_ns))  # as cp -p does
    second = state(look, "in/a.jpg")
    assert second != first
    photo.write_text("yy")
    assert state(look, "in/a.jpg") != second


def test_photos_that_come_and_go_are_seen(tree):
    look = FolderLook(Path("in"), Selection(("in",), "out"))
    before = dict(look())
    put(tree / "in" / "new" / "deep" / "n.jpg")
    (tree / "in" / "a.jpg").unlink()
    after = dict(look())
    assert set(after) - set(before) == {"in/new/deep/n.jpg"}
    assert set(before) - set(after) == {"in/a.jpg"}


def test_a_folder_that_is_not_there_is_an_error_and_not_an_empty_one(tree):
    look = FolderLook(Path("in"), Selection(("in",), "out"))
    before = dict(look())
    (tree / "in").rename(tree / "away")
    with pytest.raises(OSError, match="No such file"):
        list(look())
    (tree / "away").rename(tree / "in")
    assert dict(look()) == before
    shutil.rmtree(tree / "in")
    put(tree / "in" / "a.jpg")
    assert list(dict(look())) == ["in/a.jpg"]


def test_pictures_of_other_kinds_are_counted_once(tree):
    look = FolderLook(Path("in"), Selection(("in",), "out"))
    list(look())
    list(look())
    assert dict(look.others) == {".nef": 1}


def test_a_folder_that_may_not_be_read_is_named(tree, monkeypatch):
    scandir = os.scandir

    def refused(path):
        if Path(path).name == "x":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    look = FolderLook(Path("in"), Selection(("in",), "out"))
    assert "in/a.jpg" in dict(look())
    assert look.unreadable == {"in/x": "Permission denied"}
