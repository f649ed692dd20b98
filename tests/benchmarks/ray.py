"""Two Ray workers of this machine against two processes: ``ray.py PHOTOS [--rounds N]``.

Each turn does a folder by ``--on ray``, on a cluster of two nodes of a CPU each, and by ``--device
cpu,cpu``. Told are photos a second from the first tenth of a run's photos to its last, without its
start, the medians of both, and their ratio. Ray gives its processes a low priority (niceness 15),
which counts where others want the processor; the cluster here is told not to.
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


def rate(photos: Path, more: tuple[str, ...], environment: dict[str, str]) -> float:
    """Photos a second of one run, without its start."""
    with tempfile.TemporaryDirectory() as out:
        words = [sys.executable, "-m", "birefcli", "matte", str(photos), "-o", out, "--json", "-q"]
        # Linux shares the processor among sessions: the workers of both ways are in one of theirs.
        how = {"stdout": subprocess.PIPE, "start_new_session": True}
        with subprocess.Popen([*words, *more], env=environment, **how) as run:
            assert run.stdout is not None
            told = [(json.loads(line), time.perf_counter()) for line in run.stdout]
    if run.returncode:
        sys.exit(f"{' '.join(more)}: exit code {run.returncode}")
    times = [at for line, at in told if line.get("status") == "written"]
    start = len(times) // 10
    return (len(times) - 1 - start) / (times[-1] - times[start])


def main() -> None:
    """Take turns, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="mini")
    given = parser.parse_args()
    own = {**os.environ, "PYTHONPATH": str(HERE), "RAY_worker_niceness": "0"}
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    with ray_cluster(own) as cluster:
        cluster.add()
        cluster.add()
        for turn in range(given.rounds):
            for name, words in WAYS.items():
                more = (*words, "--model", given.model)
                found = rate(given.photos.resolve(), more, {**own, **cluster.environment})
                print(f"{turn + 1}: {name:8} {found:6.2f} photos/s", flush=True)
                rates[name].append(found)
    medians = {name: statistics.median(each) for name, each in rates.items()}
    for name, found in medians.items():
        print(f"{name:8} {found:6.2f} photos/s, median of {given.rounds}")
    print(f"ray / cpu,cpu: {medians['ray'] / medians['cpu,cpu']:.3f}")


if __name__ == "__main__":
    main()
