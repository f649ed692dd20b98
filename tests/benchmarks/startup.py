"""From the command to the first matte: ``python tests/benchmarks/startup.py [--against CHECKOUT]``.

Starts ``birefcli matte`` on one photo, again and again, and measures until the photo's line of JSON
arrives. With another checkout of birefcli (``git worktree add ../before COMMIT``) both take turns,
and the ratio of their medians is told. ``--cold`` drops the weights from the disk cache before each
run (Linux only), and ``--imports`` lists what is slow to import.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from birefcli.models import zoo
from birefcli.models.cache import cached

HERE = Path(__file__).parents[2]


def words(model: str, out: str, *, importtime: bool = False) -> list[str]:
    """Spell a run over one sample photo; its input is small, for what is measured is the start."""
    photo = str(HERE / "samples" / "grace_hopper.jpg")
    python = [sys.executable, *(["-X", "importtime"] if importtime else []), "-m", "birefcli"]
    return [*python, "matte", photo, "-o", out, "-m", model, "-q", "--json", "--size", "64"]


def first_matte(checkout: Path, model: str) -> float:
    """Seconds from the start of the process until its first photo is told to be written."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    with tempfile.TemporaryDirectory() as out:
        started = time.perf_counter()
        process = subprocess.Popen(
            words(model, out), cwd=checkout, env=environment, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - started
        process.communicate()
    if b'"written"' not in line:
        raise SystemExit(f"{checkout}: no photo was written: {line.decode()}")
    return seconds


def evict(model: str) -> None:
    """Drop the weights from the disk cache."""
    if zoo.is_file(model):
        path = Path(model)
    else:
        known = zoo.lookup(model)
        local = zoo.MINI_FILE if known.bundled else cached(known)
        assert local is not None, f"{model} is not on this machine"
        path = local
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def slow_imports(model: str, count: int) -> None:
    """Tell which modules take longest, with all that they import."""
    with tempfile.TemporaryDirectory() as out:
        result = subprocess.run(
            words(model, out, importtime=True), capture_output=True, check=True, text=True
        )
    found = re.findall(r"^import time: +\d+ \| +(\d+) \|( +)(\S+)$", result.stderr, re.M)
    for microseconds, _, name in sorted(found, key=lambda row: -int(row[0]))[:count]:
        print(f"{int(microseconds) / 1e6:7.3f} s  {name}")


def main() -> None:
    """Measure, and tell medians and their spread."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--against", type=Path, help="another checkout, which takes turns")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--imports", type=int, metavar="N", default=0)
    arguments = parser.parse_args()
    checkouts = [HERE] + ([arguments.against.resolve()] if arguments.against else [])
    times: dict[Path, list[float]] = {checkout: [] for checkout in checkouts}
    for turn in range(arguments.repeat + 1):
        for checkout in checkouts:
            if arguments.cold:
                evict(arguments.model)
            seconds = first_matte(checkout, arguments.model)
            if turn:  # the first turn compiles bytecode and fills the disk cache
                times[checkout].append(seconds)
    medians = [statistics.median(times[checkout]) for checkout in checkouts]
    for checkout, median in zip(checkouts, medians, strict=True):
        spread = f"{min(times[checkout]):.2f} to {max(times[checkout]):.2f}"
        print(f"{median:.2f} s ({spread}, {arguments.repeat} runs)  {checkout}")
    if arguments.against:
        print(f"ratio {medians[1] / medians[0]:.2f}")
    if arguments.imports:
        slow_imports(arguments.model, arguments.imports)


if __name__ == "__main__":
    main()
