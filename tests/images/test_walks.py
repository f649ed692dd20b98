"""Which files of a folder are looked at: the one walk that all commands share."""

import os
from pathlib import Path

import pytest

from birefcli.batch.inputs import find_photos, search_photos
from birefcli.errors import NoInputError
from birefcli.images import files
from birefcli.images.files import (
    OTHER_SUFFIXES,
    PHOTO_SUFFIXES,
    SYSTEM_FOLDERS,
    left_out_below,
    left_out_text,
    walk_folder,
)
from birefcli.options import Selection
from birefcli.scoring import pairs
from birefcli.training.dataset import DataError, find_pairs


@pytest.fixture
def photos(tmp_path):
    """A folder to be filled with files of any content."""
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content does not matter")


def walked(folder, **more):
    return [path.relative_to(folder).as_posix() for path in walk_folder(folder, **more)]


def searched(*inputs, **more):
    return search_photos(Selection(tuple(map(str, inputs)), "out", **more))


@pytest.fixture
def entered(monkeypatch):
    """Names of the folders that are listed, as they are entered."""
    names = []
    scandir = os.scandir

    def listed(path):
        names.append(Path(path).name)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", listed)
    return names


# Folders that are not entered


def test_folders_of_the_system_are_not_entered_however_they_are_written(photos, entered):
    touch(photos, "a.jpg", "sub/b.jpg")
    for name in SYSTEM_FOLDERS:
        touch(photos, f"{name}/x.jpg", f"sub/{name.upper()}/x.jpg", f"{name.swapcase()}/y/x.jpg")
    touch(photos, "lost+found.jpg", "lost and found/c.jpg", "recycle/d.jpg")
    found = ["a.jpg", "lost+found.jpg", "lost and found/c.jpg", "recycle/d.jpg", "sub/b.jpg"]
    assert walked(photos) == found
    assert set(entered) == {"in", "sub", "lost and found", "recycle"}


def test_folder_of_the_system_is_entered_where_the_user_names_it(photos):
    touch(photos, "lost+found/a.jpg", "lost+found/@eaDir/b.jpg", ".hidden/c.jpg")
    assert walked(photos / "lost+found") == ["a.jpg"]
    assert [p.relative.as_posix() for p in searched(photos / ".hidden").found] == ["c.jpg"]


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("drafts", ["a.jpg", "raw/b.jpg", "x/raw/d.jpg"]),
        ("drafts/", ["a.jpg", "raw/b.jpg", "x/raw/d.jpg"]),
        ("drafts/*", ["a.jpg", "raw/b.jpg", "x/drafts/e.jpg", "x/raw/d.jpg"]),
        ("raw", ["a.jpg", "drafts/c.jpg", "x/drafts/e.jpg"]),
        ("x/raw", ["a.jpg", "drafts/c.jpg", "raw/b.jpg", "x/drafts/e.jpg"]),
        ("*/raw", ["a.jpg", "drafts/c.jpg", "raw/b.jpg", "x/drafts/e.jpg"]),
        ("x/*", ["a.jpg", "drafts/c.jpg", "raw/b.jpg"]),
        ("?", ["a.jpg", "drafts/c.jpg", "raw/b.jpg"]),
        ("[drx]*", ["a.jpg"]),
        ("*/", ["a.jpg"]),
    ],
)
def test_excluded_folder_is_not_entered(photos, entered, pattern, left):
    touch(photos, "a.jpg", "raw/b.jpg", "drafts/c.jpg", "x/raw/d.jpg", "x/drafts/e.jpg")
    found = searched(photos, exclude=(pattern,)).found
    assert [photo.relative.as_posix() for photo in found] == left
    folders = {folder for name in left for folder in Path("in", name).parents}
    assert sorted(entered) == sorted(folder.name for folder in folders if folder.name)


def test_pattern_of_files_leaves_their_folder_open(photos):
    touch(photos, "raw/a.jpg", "raw/a.png", "raw/deep/b.png")
    found = searched(photos, exclude=("raw/*.jpg",)).found
    assert [photo.relative.as_posix() for photo in found] == ["raw/a.png", "raw/deep/b.png"]


@pytest.mark.parametrize("name", ["lost+found", "shut", ".Trashes", "out"])
def test_folder_that_is_left_out_need_not_be_readable(photos, monkeypatch, name):
    touch(photos, "a.jpg", f"{name}/b.jpg")
    scandir, stat = os.scandir, Path.stat

    def refuse(path):
        if Path(path).name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    def refuse_inside(path, **more):
        if path.parent.name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **more)

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(Path, "stat", refuse_inside)
    search = search_photos(
        Selection((str(photos),), str(photos / "out"), exclude=("shut", "other"))
    )
    assert [photo.relative.as_posix() for photo in search.found] == ["a.jpg"]
    assert search.failed == []


def test_very_deep_folder_is_walked_to_its_end(tmp_path):
    deep, here = 1500, os.getcwd()  # noqa: PTH109 - it is gone back to
    os.chdir(tmp_path)
    try:
        for _ in range(deep):
            os.mkdir("d")  # noqa: PTH102 - one by one: the whole path is long
            os.chdir("d")
        Path("a.jpg").touch()
        os.chdir(tmp_path)
        (path,) = walk_folder(Path("d"))
        assert len(path.parts) == deep + 1
    finally:
        os.chdir(tmp_path)
        for _ in range(deep):
            if not Path("d/d").exists():
                break
            os.rename("d/d", "e")  # noqa: PTH104 - so that it can be removed again
            for file in Path("d").iterdir():
                file.unlink()
            os.rmdir("d")  # noqa: PTH106
            os.rename("e", "d")  # noqa: PTH104
        os.chdir(here)


# Pictures of other kinds


def test_no_suffix_is_both_tried_and_left_out():
    assert not PHOTO_SUFFIXES & OTHER_SUFFIXES
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in OTHER_SUFFIXES)


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({".nef": 1}, "1 file of other kind left out: 1 .nef; develop or convert it first"),
        (
            {".psd": 1, ".nef": 2},
            "3 files of other kinds left out: 2 .nef, 1 .psd; develop or convert them first",
        ),
        ({".b": 1, ".a": 1}, "2 files of other kinds left out: 1 .a, 1 .b; develop"),
    ],
)
def test_what_is_left_out_is_told_most_first(counts, told):
    assert left_out_text(counts).startswith(told)


def test_pictures_of_other_kinds_are_counted_once_by_suffix(photos):
    touch(photos, "a.jpg", "b.NEF", "sub/c.nef", "d.psd", "e.jxl", "f.CR3", "g.svg", "h.dng")
    touch(photos, "notes.txt", "film.mp4", ".h.nef", ".hidden/i.nef", "@eaDir/b.NEF/t.nef", "nef")
    counts = {".cr3": 1, ".dng": 1, ".jxl": 1, ".nef": 2, ".psd": 1, ".svg": 1}
    assert searched(photos).left_out == counts
    assert searched(photos, photos / "sub", photos).left_out == counts
    assert searched(photos, recursive=False).left_out == {**counts, ".nef": 1}


def test_what_the_user_asks_for_or_not_is_not_counted(photos):
    touch(photos, "a.jpg", "b.nef", "c.nef", "raw/d.nef", "e.psd")
    assert searched(photos, exclude=("b.*", "raw")).left_out == {".nef": 1, ".psd": 1}
    assert searched(photos, include=("*.jpg",)).left_out == {}
    asked = searched(photos, include=("*.nef",))
    assert (len(asked.found), asked.left_out) == (3, {})
    assert len(searched(photos / "b.nef").found) == 1


def test_folder_of_other_kinds_alone_says_so(photos):
    touch(photos, "a.nef", "sub/b.nef", "c.psd")
    told = "3 files of other kinds left out: 2 .nef, 1 .psd; develop or convert them first"
    with pytest.raises(NoInputError, match=told) as error:
        find_photos(Selection((str(photos),), "out"))
    assert str(error.value).startswith(f"no photo found in {photos}; ")
    assert left_out_below(photos) == f"; {told}"
    with pytest.raises(NoInputError, match=told):
        find_photos(Selection((str(photos),), "-", include=("*.png",), products=True))
    with pytest.raises(NoInputError, match=told):
        find_photos(Selection((str(photos),), "out", exclude=("x",)))


def test_score_and_train_say_what_they_left_out(photos):
    touch(photos, "im/a.nef", "im/b.nef", "gt/.keep")
    with pytest.raises(DataError) as error:
        find_pairs([photos])
    told = f"{photos / 'im'}: no photo in it; 2 files of other kinds left out: 2 .nef"
    assert any(str(fault).startswith(told) for fault in error.value.faults)
    with pytest.raises(NoInputError, match=r"no picture found in .*; 2 files of other kinds"):
        pairs.match(pairs.Sources(photos / "im", photos))


def test_walks_of_all_commands_are_this_one():
    root = Path(files.__file__).parents[1]
    others = [
        path
        for path in sorted(root.rglob("*.py"))
        if path.parent.name not in ("system", "models")  # which know nothing of photos
        and any(word in path.read_text(encoding="utf-8") for word in ("os.walk(", ".rglob("))
    ]
    assert others == []
