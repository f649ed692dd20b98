"""Whole runs in turns with another checkout: ``batch.py PHOTOS --against CHECKOUT``.

Each turn starts ``birefcli matte`` on a folder, with its default product, in a process
of its own. The first turn of each side warms the disk's cache and does not count. Told are the
medians of wall and processor time, start and end of Python included, and their ratios.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parents[2]


def run(checkout: Path, photos: Path, more: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of one run."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    with tempfile.TemporaryDirectory() as out:
        words = [sys.executable, "-m", "birefcli", "matte", str(photos.resolve()), "-o", out, "-q"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        subprocess.run([*words, *more], env=environment, cwd=out, check=True)
        wall = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, used


def main() -> None:
    """Take turns, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--against", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="mini")
    given = parser.parse_args()
    sides = {"before": given.against.resolve(), "ours": HERE}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for turn in range(given.rounds + 1):
        for name, checkout in sides.items():
            seconds = run(checkout, given.photos, ["--model", given.model])
            if turn:
                taken[name].append(seconds)
    medians = {
        name: [statistics.median(each[i] for each in times) for i in (0, 1)]
        for name, times in taken.items()
    }
    for name, (wall, used) in medians.items():
        print(f"{name:7} {wall:6.2f} s, {used:6.2f} s of CPU, median of {given.rounds}")
    wall, used = (medians["before"][i] / medians["ours"][i] for i in (0, 1))
    print(f"before / ours: {wall:.2f} of wall time, {used:.2f} of CPU time")


if __name__ == "__main__":
    main()
