"""Which disk a folder is on."""

import os
import subprocess
from pathlib import Path

import pytest

from birefcli.system.mounts import MountedFolder, mount_point, network_type

TABLE = """\
22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
30 22 0:26 / /proc rw - proc proc rw
40 22 0:45 / {root}/nas rw,relatime shared:3 - nfs4 server:/photos rw,vers=4.2
41 22 0:46 / {root}/a\\040b rw - cifs //server/share rw
42 40 0:47 / {root}/nas/local rw - ext4 /dev/sdb1 rw
43 22 0:48 / {root}/twice rw - ext4 /dev/sdc1 rw
44 43 0:49 / {root}/twice rw master:1 - fuse.sshfs host: rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("nas", "nfs4"),
        ("nas/deep/er", "nfs4"),
        ("nasty", None),
        ("nas/local", None),
        ("nas/local/x", None),
        ("a b/c", "cifs"),
        ("twice", "fuse.sshfs"),
        ("", None),
    ],
)
def test_a_folder_on_a_network_is_told_by_its_mount(tmp_path, folder, kind):
    table = tmp_path / "mountinfo"
    root = Path(os.path.realpath(tmp_path))
    table.write_text(TABLE.format(root=root))
    assert network_type(root / folder, table) == kind


def test_where_the_system_has_no_table_nothing_is_told(tmp_path):
    assert network_type(tmp_path, tmp_path / "none") is None


def test_a_table_that_is_odd_is_survived(tmp_path):
    table = tmp_path / "mountinfo"
    table.write_bytes(b"\n- \nx - y\n1 2 3 4 /\xff - nfs a b\n")
    assert network_type(tmp_path, table) is None


def test_a_folder_of_this_machine_is_on_no_network(tmp_path):
    assert network_type(tmp_path) is None


def test_a_mount_point_is_one_of_the_parents(tmp_path):
    point = mount_point(tmp_path)
    assert os.path.ismount(point)
    assert point in (Path(os.path.realpath(tmp_path)), *Path(os.path.realpath(tmp_path)).parents)


def test_a_folder_that_goes_and_comes_back_is_told(tmp_path):
    (tmp_path / "a").mkdir()
    folder = MountedFolder(tmp_path / "a")
    assert folder.trouble() is None
    assert not folder.is_another()
    (tmp_path / "a").rename(tmp_path / "b")
    assert folder.trouble() == "No such file or directory"
    (tmp_path / "a").write_text("")
    assert folder.trouble() == "Not a directory"
    (tmp_path / "a").unlink()
    (tmp_path / "b").rename(tmp_path / "a")
    assert folder.trouble() is None
    assert not folder.is_another()
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "a").mkdir()
    assert folder.trouble() is None
    assert folder.is_another()
    assert not folder.is_another()


def test_a_folder_that_goes_between_two_questions_is_another(tmp_path):
    (tmp_path / "a").mkdir()
    folder = MountedFolder(tmp_path / "a")
    assert folder.trouble() is None
    (tmp_path / "a").rename(tmp_path / "b")
    assert folder.is_another()
    assert folder.trouble() == "No such file or directory"
    (tmp_path / "b").rename(tmp_path / "a")
    assert folder.trouble() is None
    assert folder.is_another()
    assert not folder.is_another()


def test_what_an_unmounted_disk_hid_is_not_taken_for_it(small_disk):
    (small_disk / "x").mkdir()
    folder = MountedFolder(small_disk)
    inner = MountedFolder(small_disk / "x")
    held = os.open(small_disk, os.O_RDONLY)  # as a lock does: its number goes to no other disk
    subprocess.run(["umount", "-l", small_disk], check=True)
    try:
        assert folder.trouble() == f"the disk at {os.path.realpath(small_disk)} is not mounted"
        assert inner.trouble() == "No such file or directory"
        (small_disk / "x").mkdir()
        assert inner.trouble() == f"the disk at {os.path.realpath(small_disk)} is not mounted"
    finally:
        again = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", small_disk]
        subprocess.run(again, check=True)
    assert folder.trouble() is None
    assert folder.is_another()
    os.close(held)


def test_a_disk_that_is_mounted_later_is_taken(tmp_path, small_disk, remount):
    point = small_disk / "later"
    point.mkdir()
    folder = MountedFolder(point)
    words = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", point]
    subprocess.run(words, check=True)
    try:
        assert folder.trouble() is None
        assert folder.is_another()
    finally:
        subprocess.run(["umount", "-l", point], check=True)
    assert folder.trouble() is not None
