"""A new name, and only a new one, by each way that a system or a disk may know."""

import errno
import os

import pytest

from birefcli.system import atomic, exclusive_rename


def unknown(*_):
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.fixture(params=["flag", "link", "look"])
def way(request, monkeypatch):
    """One of them alone."""
    if request.param != "flag":
        monkeypatch.setattr(exclusive_rename, "_renameat2", lambda: None)
    if request.param == "look":
        monkeypatch.setattr(os, "link", unknown)
    return request.param


def test_only_a_name_that_nothing_has_is_taken(way, tmp_path):
    target = tmp_path / "é\n.png"
    atomic.create_file(target, b"new")
    assert target.read_bytes() == b"new"
    with pytest.raises(FileExistsError):
        atomic.create_file(target, b"newer")
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_link_to_nothing_is_replaced_and_a_folder_stays(way, tmp_path):
    link, folder = tmp_path / "link", tmp_path / "folder"
    link.symlink_to("nowhere")
    folder.mkdir()
    atomic.create_file(link, b"new")
    assert (link.is_symlink(), link.read_bytes()) == (False, b"new")
    with pytest.raises(OSError, match="is a folder"):
        atomic.create_file(folder, b"new")
    assert sorted(tmp_path.iterdir()) == [folder, link]


def test_what_a_rename_meets_is_told(way, tmp_path):
    with pytest.raises(FileNotFoundError):
        exclusive_rename.rename_to_new(tmp_path / "gone", tmp_path / "new")


def test_a_disk_that_does_not_know_the_flag_is_asked_for_a_link(tmp_path, monkeypatch):
    monkeypatch.setattr(exclusive_rename, "_renameat2", lambda: lambda *_: errno.EINVAL)
    atomic.create_file(tmp_path / "a", b"new")
    with pytest.raises(FileExistsError):
        atomic.create_file(tmp_path / "a", b"newer")
