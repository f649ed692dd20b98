"""A batch of 10,000 in which every tenth photo is bad, of every kind that inputs.md has."""

import json
import os
import threading
from collections import Counter
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
from test_batch_inputs import MADE, Case

GOOD, BAD = 9_000, 1_000
PER_FOLDER = 250  # photos
EARLY = 0.5  # of the samples of memory
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc"),
]


def makeable(cases: list[Case], folder: Path) -> list[Path]:
    """One file of each kind that this system can make."""
    made = []
    for number, case in enumerate(cases):
        suffix = Path(os.fsdecode(case.name)).suffix
        path = folder / f"{number:03d}{suffix}"
        assert case.make is not None
        try:
            assert case.possible
            case.make(path)
        except (OSError, AssertionError, AttributeError):
            continue
        if path.is_file() and not path.is_symlink():
            made.append(path)
    return made


def spread(root: Path, kinds: list[tuple[list[Path], int, str]]) -> set[str]:
    """Link files of each kind in turn into folders, the bad among the good; names of the bad."""
    bad, number = set(), 0
    for files, count, mark in kinds:
        for place, source in enumerate(islice(cycle(files), count)):
            folder = root / f"{place * len(kinds) // PER_FOLDER:03d}"
            folder.mkdir(parents=True, exist_ok=True)
            link = folder / f"{mark}{number:05d}{source.suffix}"
            link.hardlink_to(source)
            number += 1
            if mark == "bad":
                bad.add(str(link))
    return bad


class Memory:
    """Resident memory of a process, while it runs."""

    def __init__(self, pid: int) -> None:
        self.samples: list[int] = []
        self._status = Path(f"/proc/{pid}/status")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            try:
                text = self._status.read_text()
            except OSError:
                return
            if "VmRSS:" in text:
                self.samples.append(int(text.split("VmRSS:")[1].split()[0]))

    def stop(self) -> list[int]:
        self._over.set()
        self._thread.join()
        return self.samples


def outcomes(output: bytes) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    *lines, last = [json.loads(line) for line in output.splitlines()]
    return lines, last["summary"]


def states(out: Path) -> dict[Path, tuple[int, int]]:
    return {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in out.rglob("*") if p.is_file()}


def test_a_thousand_bad_photos_of_all_kinds_cost_themselves_alone(command, start, tmp_path):
    (tmp_path / "kinds").mkdir()
    good = makeable([case for case in MADE if case.status == "written"], tmp_path / "kinds")
    (tmp_path / "bad").mkdir()
    wrong = makeable([case for case in MADE if case.status == "failed"], tmp_path / "bad")
    assert min(len(good), len(wrong)) > 5
    bad = spread(tmp_path / "in", [(good, GOOD, "good"), (wrong, BAD, "bad")])
    out = tmp_path / "out"
    words = ("matte", tmp_path / "in", "-o", out, "--json", "--threads", 2, "--batch", 4)

    process = start(*words, "--failed-to", tmp_path / "failed.txt")
    memory = Memory(process.pid)
    stdout, stderr = process.communicate()
    samples = memory.stop()
    assert process.returncode == 1, stderr.decode()[-2000:]
    lines, summary = outcomes(stdout)
    assert (summary["written"], summary["failed"]) == (GOOD, BAD)
    failed = [line for line in lines if line["status"] == "failed"]
    assert {line["input"] for line in failed} == bad
    assert all(line["error"] and "a bug" not in line["error"] for line in failed)
    assert all(name in stderr.decode() for name in bad)
    listed = (tmp_path / "failed.txt").read_text().splitlines()
    assert {line.replace("/./", "/") for line in listed} == bad
    made = states(out)
    assert len(made) == GOOD
    assert Counter(path.suffix for path in made) == {".png": GOOD}
    early, late = samples[: int(len(samples) * EARLY)], samples[int(len(samples) * EARLY) :]
    # The largest photo of all may come late, and a compiler be loaded for it.
    tenths = [max(samples[i * len(samples) // 10 :][: len(samples) // 10]) for i in range(10)]
    assert max(late) < 1.15 * max(early), tenths

    again = command(*words)
    _, summary = outcomes(again.stdout)
    assert (again.returncode, summary["current"], summary["failed"]) == (1, GOOD, BAD)
    assert states(out) == made
