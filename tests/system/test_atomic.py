"""Files that appear whole or not at all."""

import os
import subprocess
import sys
import time

import pytest

from birefcli.system import atomic


def test_what_a_library_writes_replaces_the_old_file_at_the_end(tmp_path):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with atomic.replacing(target) as part:
        assert part.parent == tmp_path
        part.write_bytes(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_write_that_fails_leaves_the_old_file_and_no_part(tmp_path):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def fail():
        with atomic.replacing(target) as part:
            part.write_bytes(b"ha")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_process_that_ends_at_once_takes_its_part_files_with_it(tmp_path):

    def write():
        with atomic.replacing(tmp_path / "a.bin") as part:
            part.write_bytes(b"ha")
            atomic.drop_unfinished()

    with pytest.raises(FileNotFoundError):
        write()
    assert list(tmp_path.iterdir()) == []


def gone() -> int:
    """Number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def part_named(folder, name, *, days=0.0):
    path = folder / f"{atomic.PART}{name}{atomic.PART_END}"
    path.write_bytes(b"ha")
    then = time.time() - days * 24 * 3600
    os.utime(path, (then, then))
    return path


def test_the_name_of_a_part_file_says_which_machine_and_process_write_it(tmp_path):
    with atomic.replacing(tmp_path / "a.bin") as part:
        part.write_bytes(b"ha")
        host, pid, _ = part.name.removeprefix(atomic.PART).split("-")
        assert (host, int(pid)) == (atomic._host(), os.getpid())
        assert atomic.clear_stale([tmp_path]) == 0, "it is being written"


@pytest.mark.skipif(os.name != "posix", reason="whether a process lives is asked on POSIX alone")
def test_parts_of_a_process_that_has_gone_are_cleared_and_no_others(tmp_path):
    number = gone()
    ours = part_named(tmp_path, f"{atomic._host()}-{number}-0a")
    unnamed = part_named(tmp_path, f"{number}-0b")  # of a version that did not name machines
    alive = part_named(tmp_path, f"{atomic._host()}-{os.getpid()}-0c")
    other = part_named(tmp_path, f"another.machine-{number}-0d")
    assert atomic.clear_stale([tmp_path]) == 2
    assert [p.exists() for p in (ours, unnamed, alive, other)] == [False, False, True, True]


def test_parts_of_another_machine_are_cleared_after_a_day(tmp_path):
    young = part_named(tmp_path, f"another.machine-{os.getpid()}-0a", days=0.9)
    old = part_named(tmp_path, f"another.machine-{os.getpid()}-0b", days=1.1)
    assert atomic.clear_stale([tmp_path]) == 1
    assert young.exists()
    assert not old.exists()


@pytest.mark.parametrize("name", ["Büro PC-3", "a" * 200, ""])
def test_odd_names_of_machines_make_good_names_of_files(tmp_path, monkeypatch, name):
    atomic._host.cache_clear()
    monkeypatch.setattr("platform.node", lambda: name)
    atomic.write_file(tmp_path / "a.bin", b"new")
    assert len(atomic.part_name().split("-")) == 4
    assert len(atomic.part_name()) < 80
    atomic._host.cache_clear()
