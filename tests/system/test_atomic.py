"""Files that appear whole or not at all."""

import errno
import os
import re
import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

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


def test_a_probe_takes_the_answers_to_it_along(tmp_path):
    with atomic.probe(tmp_path) as probe:
        atomic.answer_to(probe).touch()  # by a process that has ended since
        assert len(list(tmp_path.iterdir())) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("told", ["_machine_id", "_process_namespace"])
def test_machines_and_containers_of_one_name_leave_each_others_parts_alone(
    tmp_path, monkeypatch, told
):
    monkeypatch.setattr(atomic, told, lambda: "another")
    atomic._host.cache_clear()
    theirs = part_named(tmp_path, f"{atomic._host()}-{gone()}-0a")
    monkeypatch.undo()
    atomic._host.cache_clear()
    assert atomic.clear_stale([tmp_path]) == 0
    assert theirs.exists()


@pytest.mark.parametrize("name", ["Büro PC-3", "a" * 200, ""])
def test_odd_names_of_machines_make_good_names_of_files(tmp_path, monkeypatch, name):
    atomic._host.cache_clear()
    monkeypatch.setattr("platform.node", lambda: name)
    atomic.write_file(tmp_path / "a.bin", b"new")
    assert len(atomic.part_name().split("-")) == 4
    assert len(atomic.part_name()) < 80
    atomic._host.cache_clear()


# Permissions

posix = pytest.mark.skipif(os.name != "posix", reason="permissions, pipes and devices of POSIX")


def by_bytes(target):
    atomic.replace_file(target, b"new")


def by_list(target):
    atomic.write_file(target, b"new")


def by_library(target):
    with atomic.replacing(target) as part:
        part.write_bytes(b"new")


WAYS = pytest.mark.parametrize("write", [by_bytes, by_list, by_library])


def mode_of(path):
    return path.stat().st_mode & 0o7777


@posix
@WAYS
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664, 0o400, 0o777])
def test_what_is_replaced_keeps_its_permissions_whatever_the_umask(tmp_path, write, mode):
    target = tmp_path / "a.png"
    target.write_bytes(b"old")
    target.chmod(mode)
    for umask in (0o022, 0o077):
        before = os.umask(umask)
        try:
            write(target)
        finally:
            os.umask(before)
        assert mode_of(target) == mode
    assert target.read_bytes() == b"new"


@posix
@WAYS
def test_what_is_new_has_the_permissions_that_the_umask_gives(tmp_path, write):
    for umask, mode in ((0o022, 0o644), (0o077, 0o600)):
        before = os.umask(umask)
        try:
            write(tmp_path / f"{umask}.png")
        finally:
            os.umask(before)
        assert mode_of(tmp_path / f"{umask}.png") == mode


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root gives files away")
@WAYS
def test_what_is_replaced_keeps_its_owner_where_that_may_be(tmp_path, write):
    target = tmp_path / "a.png"
    target.write_bytes(b"old")
    os.chown(target, 12, 34)
    target.chmod(0o640)
    write(target)
    assert (target.stat().st_uid, target.stat().st_gid, mode_of(target)) == (12, 34, 0o640)


@posix
@WAYS
def test_disk_without_owners_and_permissions_is_written_all_the_same(tmp_path, write, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    target = tmp_path / "a.png"
    target.write_bytes(b"old")
    target.chmod(0o640)
    monkeypatch.setattr(os, "chown", refuse)
    monkeypatch.setattr(os, "chmod", refuse)
    write(target)
    assert target.read_bytes() == b"new"


@posix
def test_private_file_is_never_readable_by_others_while_it_is_replaced(tmp_path, monkeypatch):
    target = tmp_path / "a.png"
    target.write_bytes(b"old")
    target.chmod(0o600)
    seen = []
    real = os.fdopen

    def look(descriptor, *more, **named):
        seen.append(os.fstat(descriptor).st_mode & 0o777)
        return real(descriptor, *more, **named)

    monkeypatch.setattr(os, "fdopen", look)
    atomic.replace_file(target, b"new")
    assert seen == [0o600]


@posix
@WAYS
def test_link_to_a_file_is_replaced_by_a_file_with_its_permissions(tmp_path, write):
    (tmp_path / "private.png").write_bytes(b"old")
    (tmp_path / "private.png").chmod(0o600)
    (tmp_path / "a.png").symlink_to("private.png")
    write(tmp_path / "a.png")
    assert not (tmp_path / "a.png").is_symlink()
    assert mode_of(tmp_path / "a.png") == 0o600
    assert (tmp_path / "private.png").read_bytes() == b"old"


# What is no regular file


@posix
@pytest.mark.parametrize("write", [by_bytes, by_library])
@pytest.mark.parametrize(
    "leads_to", ["pipe", "/dev/full", "/dev/null", "folder", "socket", "a.png"]
)
def test_what_is_no_regular_file_is_neither_replaced_nor_written_into(tmp_path, write, leads_to):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.png").symlink_to(leads_to)
    with socket.socket(socket.AF_UNIX) as heard:
        heard.bind(str(tmp_path / "socket"))
        for refused in (write, atomic.check_replaceable):
            with pytest.raises(OSError, match=r"not a regular file|not a file|symbolic links"):
                refused(tmp_path / "a.png")
    assert (tmp_path / "a.png").is_symlink()
    assert len(list(tmp_path.iterdir())) == 4


@posix
def test_list_into_a_pipe_waits_for_no_reader_and_for_a_slow_one(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="nobody reads from this pipe"):
        atomic.write_file(pipe, b"new")
    data, got = os.urandom(300_000), bytearray()  # more than a pipe holds

    def read(descriptor):
        while piece := os.read(descriptor, 4096):
            got.extend(piece)
            time.sleep(0.001)
        os.close(descriptor)

    descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    # From a copy on, the end of the pipe comes when the writer closes it.
    writer = threading.Thread(target=atomic.write_file, args=(pipe, data))
    writer.start()
    while not select.select([descriptor], [], [], 0.1)[0]:
        assert writer.is_alive()
    read(descriptor)
    writer.join()
    assert bytes(got) == data
    assert pipe.is_fifo()


@posix
def test_list_into_a_device_is_written_and_a_full_one_says_so():
    atomic.write_file(Path("/dev/null"), b"new")
    if Path("/dev/full").exists():
        with pytest.raises(OSError, match="No space"):
            atomic.write_file(Path("/dev/full"), b"new")
    assert Path("/dev/null").is_char_device()


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="no names of open files here")
def test_what_a_process_has_open_is_added_to_and_its_name_stays(tmp_path):
    with (tmp_path / "log").open("ab") as file:
        name = Path(f"/dev/fd/{file.fileno()}")
        (tmp_path / "log").write_bytes(b"first\n")
        atomic.check_writes(name)
        atomic.write_file(name, b"second\n")
    assert (tmp_path / "log").read_bytes() == b"first\nsecond\n"
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


# Failures

CAUSES = (errno.ENOSPC, errno.EIO, errno.EXDEV, errno.EPERM, errno.ENOSYS)


@WAYS
@pytest.mark.parametrize("number", CAUSES)
def test_rename_that_fails_leaves_the_old_file_and_its_own_cause(
    tmp_path, monkeypatch, write, number
):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    target = tmp_path / "a.png"
    target.write_bytes(b"old")
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match=re.escape(os.strerror(number))):
        write(target)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@WAYS
def test_part_file_that_cannot_be_removed_hides_no_cause(tmp_path, monkeypatch, write):
    def fail(*_, **__):
        raise OSError(errno.EIO, "first")

    def worse(*_, **__):
        raise OSError(errno.EROFS, "second")

    monkeypatch.setattr(Path, "replace", fail)
    monkeypatch.setattr(Path, "unlink", worse)
    with pytest.raises(OSError, match="first"):
        write(tmp_path / "a.png")


@WAYS
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_target_that_cannot_be_looked_at_is_not_replaced(tmp_path, monkeypatch, write, number):
    target = tmp_path / "a.png"
    target.write_bytes(b"old")
    with monkeypatch.context() as broken:
        broken.setattr(Path, "stat", lambda *_, **__: (_ for _ in ()).throw(OSError(number, "")))
        with pytest.raises(OSError, match=str(number)):
            write(target)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_look_tells_a_read_only_disk_from_a_closed_folder(tmp_path, monkeypatch):
    """As the real run does, also to root, who may write into every folder."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError):
        atomic.look_writable(tmp_path / "new")
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_flag=os.ST_RDONLY))
    with pytest.raises(OSError, match="Read-only file system"):
        atomic.look_writable(tmp_path / "new")
