"""What a path leads to, on every Python alike."""

import errno
import os
from pathlib import Path

import pytest

from birefcli.system import paths


@pytest.fixture
def home(monkeypatch):
    """Where ``~`` is."""
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("USERPROFILE", "/home/me")
    return "/home/me"


@pytest.fixture
def folder(tmp_path):
    """A folder with a file, a folder, and links to nothing and to itself."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


NOWHERE = ["none", "none/x", "gone"]
BLOCKED = ["loop", "loop/x", "file/x", "n" * 300, "/".join(["d" * 200] * 25), "a\0b"]


def test_what_is_there_is_told_apart(folder):
    kinds = {"file": (True, False), "folder": (False, True), ".": (False, True)}
    for name, (file, inner) in kinds.items():
        path = folder / name
        assert (paths.is_file(path), paths.is_folder(path), paths.exists(path)) == (
            file,
            inner,
            True,
        )
        assert paths.obstacle(path) is None
    assert paths.is_link(folder / "gone")
    assert paths.is_link(folder / "loop")
    assert not paths.is_link(folder / "file")
    assert paths.names_in(folder) == ["file", "folder", "gone", "loop"]


@pytest.mark.parametrize("name", NOWHERE + BLOCKED)
def test_nothing_is_raised_for_what_is_not_there_or_cannot_be_looked_at(folder, name):
    path = folder / name
    assert not any(ask(path) for ask in (paths.is_file, paths.is_folder, paths.exists))
    assert paths.names_in(path) == []
    assert paths.is_link(path) == (name in ("gone", "loop"))
    assert isinstance(paths.real_path(path), Path)
    assert isinstance(paths.absolute(path), Path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_absence_of_what_something_else_is_says_so(folder):
    os.mkfifo(folder / "pipe")
    assert paths.absence(folder / "pipe") == "is a named pipe, not a regular file"
    assert paths.absence(Path(os.devnull)) == "is a device, not a regular file"
    assert paths.absence(folder / "file", "folder") == "is a file, and no folder"
    assert paths.absence(folder / "file" / "x") == os.strerror(errno.ENOTDIR)


@pytest.mark.parametrize("name", NOWHERE)
def test_absence_of_nothing_else_is_plain(folder, name):
    assert paths.obstacle(folder / name) is None
    assert paths.absence(folder / name, "list") == "no such list"


@pytest.mark.parametrize("name", BLOCKED)
def test_what_is_in_the_way_is_told_in_the_systems_words(folder, name):
    told = paths.obstacle(folder / name)
    assert told
    assert paths.absence(folder / name) == told


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE, errno.ENAMETOOLONG])
def test_any_failure_of_the_system_is_an_answer(folder, monkeypatch, code):
    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "stat", fail)
    monkeypatch.setattr(Path, "lstat", fail)
    monkeypatch.setattr(os, "listdir", fail)
    path = folder / "file"
    for ask in (paths.is_file, paths.is_folder, paths.exists, paths.is_link, paths.names_in):
        assert not ask(path)
    assert paths.obstacle(path) == os.strerror(code)


def test_folder_that_cannot_be_listed_is_an_obstacle(folder, monkeypatch):
    def fail(_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "scandir", fail)
    assert paths.obstacle(folder / "folder") == "Permission denied"
    assert paths.obstacle(folder / "file") is None


@pytest.mark.skipif(os.name != "posix", reason="a working folder cannot be deleted here")
def test_deleted_working_folder_raises_nothing(folder, monkeypatch):
    monkeypatch.chdir(folder / "folder")
    (folder / "folder").rmdir()
    for ask in (paths.real_path, paths.absolute):
        assert ask(Path("a.jpg")) == Path("a.jpg")
        assert ask(folder / "file") == folder / "file"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("~", "/home/me"),
        ("~/out", "/home/me/out"),
        ("~/out/", "/home/me/out/"),
        ("~/a b/é.png", "/home/me/a b/é.png"),
        ("./~/out", "./~/out"),
        ("out/~/x", "out/~/x"),
        ("~nobody-of-this-name/x", "~nobody-of-this-name/x"),
        ("~a.jpg", "~a.jpg"),
        ("a~/x", "a~/x"),
        ("-", "-"),
        ("", ""),
        ("blur:20", "blur:20"),
    ],
)
def test_home_is_expanded_as_a_shell_does(home, text, meant):
    assert paths.with_home(text) == meant
    assert paths.expanded(text) == Path(meant)


def test_home_of_somebody_else_is_expanded():
    pwd = pytest.importorskip("pwd")
    root = pwd.getpwuid(0)
    assert paths.with_home(f"~{root.pw_name}/x") == os.path.join(root.pw_dir, "x")  # noqa: PTH118


def test_named_file_is_what_it_is_called_where_it_is_there(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert paths.named("~/a.jpg") == "/home/me/a.jpg"
    (tmp_path / "~").mkdir()
    (tmp_path / "~" / "a.jpg").touch()
    assert paths.named("~/a.jpg") == "~/a.jpg"
    assert paths.named("~/b.jpg") == "/home/me/b.jpg"
    assert paths.named("a.jpg") == "a.jpg"
