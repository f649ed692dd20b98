"""Two Ray workers of this machine against two processes: ``ray.py PHOTOS [--rounds N]``.

Each turn does a folder by ``--on ray``, on a cluster of two nodes of a CPU each, and by ``--device
cpu,cpu``. Told are, between a tenth of a run's photos and nine, photos a second and the workers'
processor seconds a photo: the medians of both ways, and their ratios. Where others want the
processor, only the second says something: Linux shares it among sessions, of which Ray has more.
Ray gives its processes a low priority (niceness 15); the cluster here is told not to.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parents[2]
sys.path[0] = str(HERE / "tests")  # in the place of this folder, where ray is this file

from ray_cluster import ray_cluster  # noqa: E402

WAYS = {"ray": ("--on", "ray"), "cpu,cpu": ("--device", "cpu,cpu")}
MARK = "BENCHMARK_OF_RAY"
"""A variable of the workers, which are found by it."""


def worker_seconds() -> float:
    """Processor time of all workers of a run."""
    ticks = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ours = f"{MARK}={os.getpid()}".encode() in (process / "environ").read_bytes()
            if ours and b"spawn_main" in (process / "cmdline").read_bytes():
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        except OSError:  # it has ended, or is another's
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


def measured(
    photos: Path, more: tuple[str, ...], environment: dict[str, str]
) -> tuple[float, float]:
    """Photos a second of one run, and processor seconds a photo, in the middle of it."""
    count = len(list(photos.iterdir()))
    first, last = count // 10, count * 9 // 10
    marks: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as out:
        words = [sys.executable, "-m", "birefcli", "matte", str(photos), "-o", out, "--json", "-q"]
        how = {"stdout": subprocess.PIPE, "start_new_session": True}
        with subprocess.Popen([*words, *more], env=environment, **how) as run:
            assert run.stdout is not None
            for number, line in enumerate(run.stdout, 1):
                if "summary" not in json.loads(line) and number in (first, last):
                    marks.append((time.perf_counter(), worker_seconds()))
    if run.returncode:
        sys.exit(f"{' '.join(more)}: exit code {run.returncode}")
    (start, before), (end, after) = marks
    return (last - first) / (end - start), (after - before) / (last - first)


def main() -> None:
    """Take turns, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="mini")
    given = parser.parse_args()
    own = {**os.environ, "PYTHONPATH": str(HERE), MARK: str(os.getpid())}
    own["RAY_worker_niceness"] = "0"
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    with ray_cluster(own) as cluster:
        cluster.add()
        cluster.add()
        for turn in range(given.rounds):
            for name, words in WAYS.items():
                more = (*words, "--model", given.model)
                found = measured(given.photos.resolve(), more, {**own, **cluster.environment})
                print(
                    f"{turn + 1}: {name:8} {found[0]:6.2f} photos/s, {found[1]:.4f} s", flush=True
                )
                taken[name].append(found)
    medians = {
        name: [statistics.median(each[i] for each in found) for i in (0, 1)]
        for name, found in taken.items()
    }
    for name, (rate, seconds) in medians.items():
        print(f"{name:8} {rate:6.2f} photos/s, {seconds:.4f} s a photo, median of {given.rounds}")
    rate, seconds = (medians["ray"][i] / medians["cpu,cpu"][i] for i in (0, 1))
    print(f"ray / cpu,cpu: {rate:.3f} of photos/s, {seconds:.3f} of processor seconds a photo")


if __name__ == "__main__":
    main()
