"""``birefcli watch`` as a real process, beside those who write its photos."""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import picture, wait_for
from PIL import Image

from birefcli.errors import ExitCode

QUICK = ("--every", 0.2, "--settle", 0.4)


def jpeg(seed=0, side=64):
    data = io.BytesIO()
    picture(side, side, seed=seed).save(data, "JPEG", quality=95)
    return data.getvalue()


class Watching:
    """A watch that runs, and what it has said so far."""

    def __init__(self, process):
        self.process = process
        self.lines, self.said = [], []
        self._threads = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((process.stdout, self.lines), (process.stderr, self.said))
        ]
        for thread in self._threads:
            thread.start()

    @staticmethod
    def _read(stream, lines):
        rest = b""
        with contextlib.suppress(ValueError, OSError):  # closed by whoever waits for the end
            while chunk := os.read(stream.fileno(), 1 << 16):
                *whole, rest = (rest + chunk).split(b"\n")
                lines.extend(line.decode() for line in whole)

    @property
    def outcomes(self):
        """(name, status) of every photo."""
        objects = [json.loads(line) for line in list(self.lines)]
        return [(Path(o["input"]).name, o["status"]) for o in objects if "input" in o]

    def written(self):
        return [name for name, status in self.outcomes if status == "written"]

    def tells(self, text):
        return any(text in line for line in list(self.said))

    def end(self, number=signal.SIGTERM):
        """Its exit code and its summary."""
        self.process.send_signal(number)
        code = self.process.wait(300)
        for thread in self._threads:
            thread.join(60)
        summaries = [json.loads(line) for line in self.lines if line.startswith('{"summary"')]
        assert len(summaries) <= 1
        return code, summaries[0]["summary"] if summaries else None


@pytest.fixture
def begin(start, tmp_path):
    """Start a watch of ``in``, and wait until it looks."""
    (tmp_path / "in").mkdir(exist_ok=True)

    def watch(*words, json_lines=True, **more):
        told = ("--json",) if json_lines else ()
        folders = (tmp_path / "in", "-o", tmp_path / "out")
        watching = Watching(start("watch", *folders, *told, *QUICK, *words, **more))
        if "--quiet" not in words:
            wait_for(lambda: watching.tells("watching ") or watching.process.poll() is not None)
        return watching

    return watch


def parts_left(folder):
    return [p for p in folder.rglob("*") if p.name.startswith(".birefcli-")]


# Those who write photos


def appended(path, data, pieces, pause):
    """Write a file in pieces."""
    step = -(-len(data) // pieces)
    with path.open("wb") as file:
        for start in range(0, len(data), step):
            file.write(data[start : start + step])
            file.flush()
            time.sleep(pause)


def opened_and_waited_for(path, data, pause):
    with path.open("wb") as file:
        time.sleep(pause)
        file.write(data)


def renamed(path, data):
    part = path.with_name(f".{path.name}.tmp")
    part.write_bytes(data)
    part.rename(path)


def copied_with_old_times(path, data, pause):
    """As cp -p does: the old time comes last; here it is there in between as well."""
    for end in (len(data) // 2, len(data)):
        path.write_bytes(data[:end])
        os.utime(path, (1e9, 1e9))
        time.sleep(pause)


def each_once(watching, folder, *, pieces, pause):
    """Photos come in every way; each is done once, and none fails."""
    writers = [
        threading.Thread(target=appended, args=(folder / "a.jpg", jpeg(1), pieces, pause)),
        threading.Thread(
            target=opened_and_waited_for, args=(folder / "b.jpg", jpeg(2), pieces * pause)
        ),
        threading.Thread(target=renamed, args=(folder / "c.jpg", jpeg(3))),
        threading.Thread(
            target=copied_with_old_times, args=(folder / "d.jpg", jpeg(4), pieces * pause / 2)
        ),
    ]
    for writer in writers:
        writer.start()
    inner = folder / "x" / "y"
    inner.mkdir(parents=True)
    (inner / "e.jpg").write_bytes(jpeg(5))
    for writer in writers:
        writer.join()
    wait_for(lambda: len(watching.written()) == 5, "five photos")
    away = folder.parent / "away"
    (folder / "x").rename(away)
    time.sleep(1.0)
    away.rename(folder / "x")
    (folder / "f.jpg").write_bytes(jpeg(6))
    wait_for(lambda: "f.jpg" in watching.written())
    code, summary = watching.end()
    assert code == ExitCode.TERMINATED
    assert summary["exit_code"] == 143
    assert summary["failed"] == 0
    counted = Counter(watching.outcomes)
    assert {name for name, _ in counted} == {f"{letter}.jpg" for letter in "abcdef"}
    assert all(counted[name, "written"] == 1 for name, _ in counted), counted
    assert not parts_left(folder.parent)


@pytest.mark.parametrize(
    "events", [pytest.param("--events", marks=pytest.mark.slow), "--no-events"]
)
def test_each_photo_is_done_once_however_it_is_written(begin, tmp_path, events):
    if events == "--events":
        pytest.importorskip("watchfiles")
    each_once(begin(events), tmp_path / "in", pieces=8, pause=0.15)
    for product in (tmp_path / "out").rglob("*.png"):
        with Image.open(product) as image:
            assert image.size == (64, 64)
            image.load()


@pytest.mark.slow
@pytest.mark.parametrize("events", ["--events", "--no-events"])
def test_a_photo_that_is_written_for_ten_seconds_is_done_once(begin, tmp_path, events):
    watching = begin(events, "--every", 5, "--settle", 2)
    each_once(watching, tmp_path / "in", pieces=20, pause=0.5)


def test_events_wake_it_long_before_it_would_look(begin, tmp_path):
    pytest.importorskip("watchfiles")
    watching = begin("--every", 86_400)
    deep = tmp_path / "in" / "x"
    deep.mkdir()
    (deep / "a.jpg").write_bytes(jpeg())
    wait_for(lambda: watching.written() == ["a.jpg"])
    assert watching.tells("and when files change")
    watching.end()


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_photos_at_once_are_done_once_each(begin, tmp_path, count):
    watching = begin("--no-events")
    data = jpeg(side=16)
    for number in range(count):
        (tmp_path / "in" / f"{number}.jpg").write_bytes(data)
    wait_for(lambda: len(watching.written()) >= count)
    _, summary = watching.end()
    assert Counter(watching.written()) == {f"{n}.jpg": 1 for n in range(count)}
    assert summary["written"] == count


def test_after_a_kill_the_rest_is_done_and_nothing_twice(begin, tmp_path):
    names = {f"{n}.jpg" for n in range(40)}
    for number, name in enumerate(sorted(names)):
        (tmp_path / "in" / name).write_bytes(jpeg(number))
    first = begin("--no-events", "--threads", 1)
    wait_for(lambda: len(first.written()) >= 3)
    first.process.kill()
    first.process.wait(300)
    second = begin("--no-events")
    wait_for(lambda: {name for name, _ in second.outcomes} == names)
    code, _ = second.end(signal.SIGINT)
    assert code == ExitCode.INTERRUPTED
    assert {status for _, status in second.outcomes} <= {"written", "current"}
    assert not set(first.written()) & set(second.written())
    assert len(list((tmp_path / "out").glob("*.png"))) == 40
    assert not parts_left(tmp_path)


# What it says, and how it ends


def test_a_log_names_each_photo_and_failures_and_nothing_else(begin, tmp_path):
    (tmp_path / "in" / "a.jpg").write_bytes(jpeg())
    watching = begin("--no-events", json_lines=False)
    wait_for(lambda: watching.tells("written"))
    (tmp_path / "in" / "a.png").write_bytes(jpeg())
    wait_for(lambda: watching.tells("is the result of"))
    code, _ = watching.end()
    folder, out = tmp_path / "in", tmp_path / "out"
    assert code == ExitCode.TERMINATED
    assert watching.lines == []
    flags = r" \(flagged: [a-z, ]+\)$"  # of a network that nobody trained: any
    assert [re.sub(flags, "", line) for line in watching.said[:3]] == [
        f"watching {folder}: looks every 0.2 s",
        f"{folder}/a.jpg: written -> {out}/a.png",
        f"{folder}/a.png: {out}/a.png is the result of {folder}/a.jpg; use --name '{{name}}',"
        " or another name",
    ]
    assert watching.said[3].startswith("terminated: 1 written, 1 failed in")
    assert len(watching.said) == 4


@pytest.mark.slow
def test_quiet_says_failures_only(begin, tmp_path):
    (tmp_path / "in" / "a.jpg").write_bytes(jpeg())
    watching = begin("--no-events", "--quiet", json_lines=False)
    wait_for((tmp_path / "out" / "a.png").exists)
    (tmp_path / "in" / "a.png").write_bytes(jpeg())
    wait_for(lambda: watching.said)
    watching.end()
    assert len(watching.said) == 1
    assert "a.png" in watching.said[0]


@pytest.mark.slow
def test_every_detail_tells_what_it_waits_for(begin, tmp_path):
    (tmp_path / "in" / "a.jpg").write_bytes(jpeg()[:200])
    watching = begin("--no-events", "--verbose", "--idle", 0.5)
    wait_for(lambda: watching.tells("a.jpg: not yet: "))
    wait_for(lambda: watching.tells("no photo for 0.5 s: the model is let go"))
    (tmp_path / "in" / "b.jpg").write_bytes(jpeg())
    wait_for(lambda: watching.written() == ["b.jpg"])
    assert watching.tells("the model is loaded again")
    _, summary = watching.end()
    assert (summary["failed"], summary["pending"]) == (0, 1)


def test_nobody_else_writes_to_its_output_while_it_lives(begin, tmp_path, command):
    (tmp_path / "in" / "a.jpg").write_bytes(jpeg())
    watching = begin("--settle", 86_400)  # it need load nothing
    words = (tmp_path / "in", "-o", tmp_path / "out")
    for other in ("watch", "matte"):
        result = command(other, *words)
        assert result.returncode == ExitCode.BUSY, other
        assert b"another run is writing here" in result.stderr
    watching.end()
    assert command("matte", *words).returncode == ExitCode.OK


def test_it_ends_soon_while_it_works_and_leaves_nothing_half(begin, tmp_path):
    for number in range(200):
        (tmp_path / "in" / f"{number}.jpg").write_bytes(jpeg(number % 7))
    watching = begin("--no-events", "--threads", 1)
    wait_for(lambda: watching.written())
    code, summary = watching.end()
    assert code == ExitCode.TERMINATED
    assert summary["interrupted"]
    assert summary["written"] == len(watching.written()) == len(list((tmp_path / "out").iterdir()))
    assert summary["written"] + summary["pending"] == 200
    assert not parts_left(tmp_path)


@pytest.mark.slow
def test_a_full_disk_is_waited_for(begin, tmp_path, small_disk):
    (tmp_path / "out").symlink_to(small_disk)
    filler = small_disk / "filler"
    with contextlib.suppress(OSError):
        filler.write_bytes(b"x" * 2_000_000)
    (tmp_path / "in" / "a.jpg").write_bytes(jpeg(side=300))
    watching = begin("--no-events")
    wait_for(lambda: watching.tells("No space left on device"))
    filler.unlink()
    wait_for(lambda: watching.written() == ["a.jpg"])
    assert sum("No space left" in line for line in watching.said) == 1
    wait_for(lambda: watching.tells("can be written again"))
    _, summary = watching.end()
    assert (summary["written"], summary["failed"]) == (1, 0)


def test_a_disk_that_is_unmounted_is_waited_for_and_what_it_hid_stays_empty(
    start, tmp_path, small_disk
):
    (small_disk / "in").mkdir()
    (small_disk / "in" / "a.jpg").write_bytes(jpeg())
    words = (small_disk / "in", "-o", small_disk / "out", "--json", "--no-events", *QUICK)
    watching = Watching(start("watch", *words))
    wait_for(lambda: watching.written() == ["a.jpg"])
    subprocess.run(["umount", "-l", small_disk], check=True)
    try:
        wait_for(lambda: watching.tells("waits until it is there again"))
        time.sleep(1.0)
        assert list(small_disk.iterdir()) == []
    finally:
        again = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", small_disk]
        subprocess.run(again, check=True)
    code, _ = watching.end()
    assert code == ExitCode.TERMINATED


LIMITED = 'echo 3 > /proc/sys/user/max_inotify_watches && exec "$@"'


@pytest.mark.slow
def test_at_the_systems_limit_of_watches_it_looks_on(start, tmp_path):
    pytest.importorskip("watchfiles")
    within = ("unshare", "--user", "--map-root-user", "sh", "-c", LIMITED, "sh")
    if shutil.which("unshare") is None or subprocess.run([*within, "true"], check=False).returncode:
        pytest.skip("no limit of its own can be set here")
    for number in range(9):
        (tmp_path / "in" / f"{number}").mkdir(parents=True)
    words = ("watch", tmp_path / "in", "-o", tmp_path / "out", "--json", *QUICK)
    watching = Watching(start(*words, within=within))
    wait_for(lambda: watching.tells("no file events: OS file watch limit reached; looks every"))
    (tmp_path / "in" / "3" / "a.jpg").write_bytes(jpeg())
    wait_for(lambda: watching.written() == ["a.jpg"])
    watching.end()
    assert len(watching.said) == 4


def test_services_are_told_when_it_watches_and_when_it_ends(start, tmp_path):
    import socket

    (tmp_path / "in").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "n"))
        told.settimeout(300)
        words = ("watch", tmp_path / "in", "-o", tmp_path / "out", *QUICK)
        watching = Watching(start(*words, NOTIFY_SOCKET=str(tmp_path / "n")))
        assert told.recv(100) == b"READY=1"
        watching.end()
        assert told.recv(100) == b"STOPPING=1"


# What is refused


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ((), 2, "no folder named; see birefcli watch --help"),
        (("in",), 2, "say where the results go: --output FOLDER"),
        (("-", "-o", "out"), 2, "stdin (-) cannot be watched; name folders"),
        (("in", "-o", "-"), 2, "--output -: photos come and go: name a folder"),
        (("in", "-o", "a.png"), 2, "--output a.png: photos come and go: name a folder"),
        (
            ("in", "-o", "out", "--existing", "error"),
            2,
            "--existing error: choose from update, skip",
        ),
        (("in", "-o", "out", "--dry-run"), 2, "--dry-run is no option"),
        (("in", "-o", "out", "--files-from", "x"), 2, "--files-from is no option"),
        (("in", "-o", "out", "--every", "0"), 2, "--every 0: give a number from 0.1"),
        (("in", "-o", "out", "--idle", "x"), 2, "--idle x: give none or seconds"),
        (("in", "-o", "out", "--idle", "-1"), 2, "--idle"),
        (("gone", "-o", "out"), 3, "gone: no such folder"),
        (("a.jpg", "-o", "out"), 3, "a.jpg: is a file"),
        (("in", "in", "-o", "out"), 2, "in and in hold the same photos"),
        (("in", "-o", "out", "-m", "nobody"), 4, "nobody"),
    ],
)
def test_a_wrong_command_line_is_refused_in_one_line(
    ended, tmp_path, monkeypatch, words, code, text
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "a.jpg").write_bytes(jpeg())
    left, said = ended("watch", *words)
    assert (left, said.count("\n")) == (code, 1), said
    assert text in said
    assert not (tmp_path / "out").exists()


def test_objects_of_a_store_are_watched_like_files(start, bucket, tmp_path):
    bucket.put("in/a.jpg", jpeg(1))
    words = ("watch", f"{bucket.url}/in", "-o", f"{bucket.url}/in/out", "--json", *QUICK)
    watching = Watching(start(*words, **bucket.variables))
    wait_for(lambda: watching.written() == ["a.jpg"])
    bucket.put("in/x/b.jpg", jpeg(2))
    wait_for(lambda: watching.written() == ["a.jpg", "b.jpg"])
    bucket.put("in/cut.png", bucket.get("in/out/a.png"))  # a product is no photo
    bucket.put("in/a.jpg", jpeg(1))  # the same bytes are the same photo
    bucket.put("in/x/b.jpg", jpeg(3))
    wait_for(lambda: len(watching.written()) == 3)
    bucket.put("in/c.jpg", b"none")
    bucket.put("in/d.jpg", jpeg(4))
    wait_for(lambda: len(watching.written()) == 4)
    _, summary = watching.end()
    assert watching.written() == ["a.jpg", "b.jpg", "b.jpg", "d.jpg"]
    assert (summary["failed"], summary["pending"]) == (0, 1)  # c.jpg may become a photo yet
    made = [name for name in bucket.names() if name.startswith("in/out/")]
    assert made == ["in/out/a.png", "in/out/d.png", "in/out/x/b.png"]
    assert watching.said[0].endswith(f"no file events: {bucket.url}/in/ is in a store")


def test_a_store_that_is_not_there_is_told_before_anything_is_made(command, bucket, tmp_path):
    words = ("watch", f"{bucket.url}-gone/in", "-o", tmp_path / "out")
    result = command(*words, **bucket.variables)
    assert result.returncode == ExitCode.NO_INPUT
    assert result.stderr.decode().count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_variables_set_its_options_as_those_of_matte(begin, tmp_path):
    (tmp_path / "in" / "a.jpg").write_bytes(jpeg())
    watching = begin(BIREFCLI_WRITE="mask", BIREFCLI_EVENTS="0", BIREFCLI_PROGRESS="0")
    wait_for(lambda: watching.written())
    watching.end()
    assert watching.said[0].endswith("looks every 0.2 s")
    with Image.open(tmp_path / "out" / "a.png") as mask:
        assert mask.mode == "L"
    shutil.rmtree(tmp_path / "out")
