"""What is left when a batch is killed, or its disk is full or locked while it runs.

A named pipe among the photos, to which nobody writes, keeps a run from its end however fast the
machine is.
"""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import TIMEOUT, picture, wait_for
from PIL import Image

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")


def many(folder: Path, count: int, size: tuple[int, int] = (120, 90)) -> Path:
    """A folder of photos under many names, all the same file."""
    folder.mkdir()
    picture(*size).save(folder / "000.jpg")
    for i in range(1, count):
        (folder / f"{i:03d}.jpg").hardlink_to(folder / "000.jpg")
    return folder


def whole(out: Path) -> set[str]:
    """Names of the results in a folder, every one of which decodes to its last pixel."""
    names = {path.name for path in out.glob("*.png")}
    for name in names:
        with Image.open(out / name) as image:
            image.load()
    return names


def others(out: Path) -> list[str]:
    """Names of what lies in a folder and is no result."""
    return [path.name for path in out.iterdir() if path.suffix != ".png"]


def summary(output: bytes) -> dict[str, Any]:
    counts: dict[str, Any] = json.loads(output.splitlines()[-1])["summary"]
    return counts


def gate(folder: Path) -> Path:
    """A photo that does not come before somebody writes it."""
    os.mkfifo(folder / "gate")
    return folder / "gate"


def kill_somewhere(process: "subprocess.Popen[bytes]", photos: int, moment: float) -> None:
    """Kill a run, which has not ended, some time after so many photos."""
    assert process.stdout is not None
    for _ in range(photos):
        assert process.stdout.readline()
    time.sleep(moment)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def finish(inside, words: tuple[object, ...], out: Path, count: int) -> None:
    """Run once more: it does exactly what is missing, and nothing else is left."""
    there = whole(out)
    result = inside(*words)
    assert result.returncode == 0, result.stderr.decode()
    counts = summary(result.stdout)
    assert (counts["written"], counts["current"]) == (count - len(there), len(there))
    assert len(whole(out)) == count
    assert others(out) == []


def kill_often(inside, start, tmp_path: Path, times: int, count: int) -> None:
    """Kill a run at random moments, with a tenth of its results taken away before each."""
    chance = random.Random(times)
    out = tmp_path / "out"
    words = ("matte", many(tmp_path / "in", count), "-o", out, "--json", "--threads", 3)
    pipe = gate(tmp_path)
    for number in range(times):
        for name in sorted(whole(out))[:: 10 if number % 2 else 3]:
            (out / name).unlink()
        before = whole(out)
        photos = chance.randrange(1, count // 4)
        kill_somewhere(start(*words, pipe), photos, chance.uniform(0, 0.05))
        assert whole(out) >= before
    finish(inside, words, out, count)


def test_killed_run_leaves_whole_files_and_the_next_does_the_rest(inside, start, tmp_path):
    kill_often(inside, start, tmp_path, 2, 12)


@pytest.mark.slow
def test_run_killed_fifty_times_leaves_whole_files_every_time(inside, start, tmp_path):
    kill_often(inside, start, tmp_path, 50, 400)


def test_disk_that_fills_up_stops_the_run_and_the_next_does_the_rest(
    inside, small_disk, remount, tmp_path
):
    out = small_disk / "out"
    words = ("matte", many(tmp_path / "in", 8, (460, 340)), "-o", out, "--json")
    result = inside(*words)
    assert result.returncode == 5, result.stderr.decode()
    made, counts = whole(out), summary(result.stdout)
    assert 0 < len(made) == counts["written"] < 8
    assert counts["failed"] >= 1
    assert counts["written"] + counts["failed"] + counts["pending"] == 8
    assert others(out) == []
    said = result.stderr.decode()
    assert f"{tmp_path / 'in'}/" in said
    assert f"No space left on device ({out}/" in said
    remount(small_disk, "size=64m")
    finish(inside, words, out, 8)


def held_after_one(
    start, tmp_path: Path, photos: Path, out: Path, **how: Any
) -> "tuple[subprocess.Popen[bytes], Path]":
    """A run that has written one photo and waits for the next, and what it waits for."""
    pipe = gate(tmp_path)
    words = (photos / "000.jpg", pipe, photos, "-o", out, "--json", "--threads", 2)
    process = start("matte", *words, **how)
    wait_for((out / "000.png").exists, "the first photo")
    return process, pipe


def let_go(process: "subprocess.Popen[bytes]", pipe: Path, photos: Path) -> tuple[bytes, bytes]:
    """Write the photo that a run waits for: what it then says until it ends."""
    pipe.write_bytes((photos / "000.jpg").read_bytes())
    return process.communicate(timeout=TIMEOUT)


@pytest.mark.slow  # a second way to what a quick test holds
def test_disk_that_turns_read_only_stops_the_run_and_the_next_does_the_rest(
    inside, start, small_disk, remount, tmp_path
):
    remount(small_disk, "size=64m")
    out = small_disk / "out"
    photos = many(tmp_path / "in", 80)
    words = ("matte", photos, "-o", out, "--json")
    process, pipe = held_after_one(start, tmp_path, photos, out)

    def turned() -> bool:
        try:  # refused while a file is open for writing
            remount(small_disk, "ro")
        except subprocess.CalledProcessError:
            return False
        return True

    wait_for(turned, "a disk's turning read-only")
    written, said = let_go(process, pipe, photos)
    assert process.returncode == 5, said
    made, counts = whole(out), summary(written)
    assert 0 < len(made) == counts["written"] < 80
    assert f"Read-only file system ({out}/" in said.decode()
    remount(small_disk, "rw")
    finish(inside, words, out, 80)


@pytest.mark.slow
def test_folder_that_is_locked_stops_the_run_and_the_next_does_the_rest(
    inside, start, as_user, tmp_path
):
    out = tmp_path / "out"
    photos = many(tmp_path / "in", 80)
    words = ("matte", photos, "-o", out, "--json")
    process, pipe = held_after_one(start, tmp_path, photos, out, within=as_user)
    out.chmod(0o500)
    written, said = let_go(process, pipe, photos)
    out.chmod(0o755)
    assert process.returncode == 5, said
    made, counts = whole(out), summary(written)
    assert 0 < len(made) == counts["written"] < 80
    assert counts["failed"] < 20, "it stopped"
    assert f"Permission denied ({out}/" in said.decode()
    finish(inside, words, out, 80)
