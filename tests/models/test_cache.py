"""The Hub library's cache, with links of the user's in it: what may be deleted, and what never."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from birefcli.errors import ModelError
from birefcli.models import cache, hub, zoo

RIGHT, WRONG = b"right" * 1000, b"wrong" * 1000
SHA = hashlib.sha256(RIGHT).hexdigest()
OTHER = hashlib.sha256(WRONG).hexdigest()
MODEL = replace(
    zoo.ZOO["lite"],
    name="tiny",
    repo="someone/tiny",
    revision="1" * 40,
    sha256=SHA,
    size_bytes=len(RIGHT),
)


class Cache:
    """A cache with one repository, and a home beside it that holds weights of the user's."""

    def __init__(self, folder: Path) -> None:
        self.home, self.hub = folder / "home", folder / "hub"
        self.repo = self.hub / "models--someone--tiny"
        self.blobs, self.snapshot = self.repo / "blobs", self.repo / "snapshots" / ("1" * 40)
        self.entry = self.snapshot / "model.safetensors"
        for each in (self.home, self.blobs, self.snapshot, self.repo / "refs"):
            each.mkdir(parents=True)
        (self.repo / "refs" / "main").write_text("1" * 40)
        self.mine = self.home / "mine.safetensors"
        self.mine.write_bytes(WRONG)

    def moved(self, folder: Path) -> Path:
        """A folder that is moved elsewhere, and linked from where it was."""
        there = self.home / folder.name
        folder.rename(there)
        folder.symlink_to(there, target_is_directory=True)
        return there


@pytest.fixture
def here(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    found = Cache(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(found.hub))
    return found


def linked(here):
    here.entry.symlink_to(here.mine)


def linked_by_a_relative_path(here):
    here.entry.symlink_to("../../../../home/mine.safetensors")


def blob_linked(here):
    (here.blobs / SHA).symlink_to(here.mine)
    here.entry.symlink_to(f"../../blobs/{SHA}")


def linked_twice(here):
    (here.home / "again").symlink_to(here.mine)
    here.entry.symlink_to(here.home / "again")


def hard_link_in_blobs(here):
    os.link(here.mine, here.blobs / SHA)
    here.entry.symlink_to(f"../../blobs/{SHA}")


def hard_link_in_the_snapshot(here):
    os.link(here.mine, here.entry)


def in_the_blobs_of_another(here):
    blobs = here.hub / "models--someone--else" / "blobs"
    blobs.mkdir(parents=True)
    here.mine.rename(blobs / SHA)
    here.mine = blobs / SHA
    here.entry.symlink_to(here.mine)


def snapshot_linked(here):
    there = here.moved(here.snapshot)
    here.mine = there / "model.safetensors"
    here.mine.write_bytes(WRONG)


def snapshot_linked_and_the_file_as_well(here):
    there = here.moved(here.snapshot)
    (there / "model.safetensors").symlink_to(here.mine)


def blobs_linked_to_a_folder_of_the_users(here):
    there = here.moved(here.blobs)
    here.mine = there / "portrait of mine"
    here.mine.write_bytes(WRONG)
    here.entry.symlink_to("../../blobs/portrait of mine")


FOREIGN = [
    linked,
    linked_by_a_relative_path,
    blob_linked,
    linked_twice,
    hard_link_in_blobs,
    hard_link_in_the_snapshot,
    in_the_blobs_of_another,
    snapshot_linked,
    snapshot_linked_and_the_file_as_well,
    blobs_linked_to_a_folder_of_the_users,
]


def another_revision(here):
    """A revision of the same repository that is none of ours."""
    newer = here.repo / "snapshots" / ("9" * 40) / "model.safetensors"
    newer.parent.mkdir(parents=True)
    (here.blobs / ("e" * 64)).write_bytes(b"newer")
    newer.symlink_to("../../blobs/" + "e" * 64)
    return newer


@pytest.mark.parametrize("layout", FOREIGN)
def test_weights_of_the_users_that_are_linked_into_the_cache_are_left(here, layout):
    layout(here)
    with pytest.raises(ModelError, match=r"tiny: .*(led to another file|damaged)"):
        hub.fetch(MODEL)
    assert here.mine.read_bytes() == WRONG
    assert not os.path.lexists(here.entry)
    assert hub.state(MODEL) is hub.State.MISSING


@pytest.mark.parametrize("layout", FOREIGN)
@pytest.mark.parametrize("others", [False, True])
def test_models_remove_leaves_them_as_well_and_other_revisions(here, layout, others):
    layout(here)
    newer = another_revision(here) if others else here.mine
    kept = newer.read_bytes()
    assert hub.remove(MODEL) == 0
    assert here.mine.read_bytes() == WRONG
    assert newer.read_bytes() == kept
    assert not os.path.lexists(here.entry)
    assert hub.state(MODEL) is hub.State.MISSING
    if not others and not here.blobs.is_symlink():
        assert not os.path.lexists(here.repo)


@pytest.mark.parametrize("linked_folder", ["none", "repo", "blobs"])
@pytest.mark.parametrize("content", [RIGHT, WRONG])
def test_what_the_library_downloaded_is_deleted_wherever_its_folders_lie(
    here, linked_folder, content
):
    (here.blobs / SHA).write_bytes(content)
    here.entry.symlink_to(f"../../blobs/{SHA}")
    if linked_folder != "none":
        here.moved(getattr(here, linked_folder))
    assert here.entry.read_bytes() == content
    if content == WRONG:
        with pytest.raises(ModelError, match="damaged and has been removed"):
            hub.fetch(MODEL)
    else:
        assert hub.remove(MODEL) == len(RIGHT)
    assert not os.path.lexists(here.blobs / SHA)
    assert not os.path.lexists(here.entry)


def test_copy_in_the_place_of_a_link_is_deleted_and_what_is_beside_it_left(here):
    here.entry.write_bytes(RIGHT)
    (here.snapshot / "notes.txt").write_text("mine")
    assert hub.remove(MODEL) == len(RIGHT)
    assert [path.name for path in here.snapshot.iterdir()] == ["notes.txt"]


def test_blob_that_another_revision_needs_is_left(here):
    (here.blobs / SHA).write_bytes(RIGHT)
    here.entry.symlink_to(f"../../blobs/{SHA}")
    other = here.repo / "snapshots" / ("9" * 40) / "renamed.safetensors"
    other.parent.mkdir()
    other.symlink_to(f"../../blobs/{SHA}")
    assert hub.remove(MODEL) == 0
    assert other.read_bytes() == RIGHT
    assert not here.entry.exists()


def test_names_of_removed_revisions_go_and_those_of_others_stay(here):
    here.entry.write_bytes(RIGHT)
    another_revision(here)
    (here.repo / "refs" / "newest").write_text("9" * 40)
    absent = here.repo / ".no_exist" / ("1" * 40) / "config.json"
    absent.parent.mkdir(parents=True)
    absent.touch()
    hub.remove(MODEL)
    assert [path.name for path in (here.repo / "refs").iterdir()] == ["newest"]
    assert not (here.repo / ".no_exist").exists()


def test_folder_of_all_snapshots_that_is_a_link_is_not_reached_through(here):
    snapshots = here.moved(here.repo / "snapshots")
    mine = snapshots / ("1" * 40) / "model.safetensors"
    mine.write_bytes(WRONG)
    for action in (hub.fetch, hub.remove):
        with pytest.raises(ModelError, match=r"lies outside the cache .*which is a link"):
            action(MODEL)
    assert mine.read_bytes() == WRONG


def in_a_file(folder):
    (folder / "file").write_bytes(b"")
    return folder / "file" / "hf"


def in_a_circle(folder):
    (folder / "circle").symlink_to("circle")
    return folder / "circle" / "hf"


def too_long(folder):
    return folder / ("x" * 300)


def forbidden(folder):
    return folder / "forbidden"


PLACES = [in_a_file, in_a_circle, too_long, forbidden]


@pytest.mark.parametrize("place", PLACES)
def test_cache_that_cannot_be_looked_into_holds_nothing(tmp_path, monkeypatch, place):
    from huggingface_hub import constants

    where = place(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(where))
    if place is forbidden:
        forbid(monkeypatch, where)
    assert cache.cached(MODEL) is None
    assert hub.state(MODEL) is hub.State.MISSING
    assert cache.partial_size(MODEL) == 0
    hub.discard_damaged(MODEL)
    assert hub.verify(MODEL) is hub.State.MISSING
    assert hub.remove(MODEL) == 0


def forbid(monkeypatch, folder):
    """Let the system refuse all that lies below a folder, as it does to others than root."""
    for name in ("stat", "lstat", "scandir", "listdir", "open", "mkdir", "readlink"):
        real = getattr(os, name)

        def refuse(path=".", *args, real=real, **more):
            if not isinstance(path, int) and Path(os.fsdecode(path)).is_relative_to(folder):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *args, **more)

        monkeypatch.setattr(os, name, refuse)
