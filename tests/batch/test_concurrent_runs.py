"""Runs that share a folder, and pipes that are slow at either end."""

import io
import json
import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import TIMEOUT, picture
from PIL import Image
from test_batch_faults import many, others, summary, whole

pytestmark = pytest.mark.slow


def pairs_of_runs(start, tmp_path, times: int, count: int) -> None:
    """Two runs at once on one output folder, in which some results are missing each time."""
    chance = random.Random(times)
    out = tmp_path / "out"
    words = ("matte", many(tmp_path / "in", count), "-o", out, "--json", "--threads", 2)
    for number in range(times):
        for name in sorted(whole(out))[:: chance.randrange(1, 4)]:
            (out / name).unlink()
        here = whole(out)
        lock = (("--lock", "none"), ("--lock", "wait"), ())[number % 3]
        runs = [start(*words, *lock)]
        time.sleep(chance.uniform(0, 0.3))
        runs.append(start(*words, *lock))
        ended = [(*run.communicate(timeout=TIMEOUT), run.returncode) for run in runs]
        codes = sorted(code for *_, code in ended)
        said = b"".join(stderr for _, stderr, _ in ended).decode()
        # Without an option whoever comes second leaves, unless the first has ended by then.
        assert codes in ([[0, 0]] if lock else [[0, 0], [0, 75]]), said
        assert len(whole(out)) == count
        assert others(out) == []
        written = sum(summary(stdout)["written"] for stdout, _, code in ended if code == 0)
        assert written >= count - len(here)
        if lock != ("--lock", "none"):
            assert written == count - len(here)


def test_fifty_pairs_of_runs_at_once_do_no_harm(start, tmp_path):
    pairs_of_runs(start, tmp_path, 50, 20)


def test_a_pipe_may_be_slow_at_both_ends(environment):
    noise = np.random.RandomState(0).randint(0, 256, (300, 400, 3)).astype(np.uint8)
    photo = io.BytesIO()
    Image.fromarray(noise).save(photo, "PNG")
    data = photo.getvalue()
    source, feed = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "birefcli", "matte", "-", "-o", "-"],
        **{"stdin": source, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE},
        env=environment,
    )
    os.close(source)
    with os.fdopen(feed, "wb", buffering=0) as pipe:
        for at in range(0, len(data), 30_000):
            pipe.write(data[at : at + 30_000])
            time.sleep(0.02)
    assert process.stdout is not None
    out = bytearray()
    while part := process.stdout.read(20_000):
        out += part
        time.sleep(0.01)
    _, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, stderr.decode()
    with Image.open(io.BytesIO(out)) as image:
        image.load()
        assert image.size == (400, 300)


def test_json_lines_wait_for_a_slow_reader(start, tmp_path):
    process = start("matte", many(tmp_path / "in", 40), "-o", tmp_path / "out", "--json")
    lines = []
    assert process.stdout is not None
    while line := process.stdout.readline():
        lines.append(json.loads(line))
        time.sleep(0.02)
    assert process.wait(timeout=TIMEOUT) == 0
    assert len(lines) == 41
    assert lines[-1]["summary"]["written"] == 40


def test_a_photo_that_is_rewritten_again_and_again_is_whole_or_fails_by_name(start, tmp_path):
    folder = many(tmp_path / "in", 2)
    (folder / "000.jpg").unlink()
    (folder / "001.jpg").unlink()
    kinds = [picture(800, 600, seed) for seed in range(2)]
    kinds[0].save(folder / "a.png")
    process = start("matte", folder, "-o", tmp_path / "out", "--json")
    while process.poll() is None:
        for kind in kinds:
            kind.save(folder / "a.png")
    stdout, stderr = process.communicate(timeout=TIMEOUT)
    line = json.loads(stdout.splitlines()[0])
    assert process.returncode in (0, 1), stderr.decode()
    assert line["status"] == ("failed" if process.returncode else "written")
    assert "a bug" not in (line["error"] or "")
    assert len(whole(tmp_path / "out")) == 1 - process.returncode
