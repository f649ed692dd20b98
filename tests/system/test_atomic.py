"""Files that appear whole or not at all."""

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
