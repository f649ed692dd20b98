"""From the command to the first matte: ``python tests/benchmarks/startup.py [--against CHECKOUT]``.

Starts ``birefcli matte`` on one photo, again and again, and measures until the photo's line of JSON
arrives. With another checkout of birefcli (``git worktree add ../before COMMIT``) both take turns,
and the ratio of their medians is told. ``--help-pages`` measures ``--help`` of every command
instead. ``--cold`` drops the weights from the disk cache before each run (Linux only), and
``--imports`` lists what is slow to import.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from same_output_commands import HELP

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


def help_page(checkout: Path, command: str) -> float:
    """Seconds that ``--help`` of a command takes; the command may be empty."""
    python = [sys.executable, "-m", "birefcli", *command.split(), "--help"]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    started = time.perf_counter()
    subprocess.run(python, cwd=checkout, env=environment, capture_output=True, check=True)
    return time.perf_counter() - started


def evict(model: str) -> None:
    """Drop the weights from the disk cache."""
    path = Path(model)
    if not path.is_file():
        python = [sys.executable, "-m", "birefcli", "models", "path", model]
        found = subprocess.run(python, cwd=HERE, capture_output=True, check=True, text=True)
        path = Path(found.stdout.removesuffix("\n"))
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


def turns(
    checkouts: list[Path], repeat: int, measure: Callable[[Path], float]
) -> dict[Path, list[float]]:
    """Measure all checkouts again and again, one after another."""
    times: dict[Path, list[float]] = {checkout: [] for checkout in checkouts}
    for turn in range(repeat + 1):
        for checkout in checkouts:
            seconds = measure(checkout)
            if turn:  # the first turn compiles bytecode and fills the disk cache
                times[checkout].append(seconds)
    return times


def tell_matte(checkouts: list[Path], arguments: argparse.Namespace) -> None:
    """Tell the time to the first matte, its spread, and the ratio of two checkouts."""

    def measure(checkout: Path) -> float:
        if arguments.cold:
            evict(arguments.model)
        return first_matte(checkout, arguments.model)

    times = turns(checkouts, arguments.repeat, measure)
    for checkout, seconds in times.items():
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}, {arguments.repeat} runs"
        print(f"{statistics.median(seconds):.2f} s ({spread})  {checkout}")
    if arguments.against:
        ours, theirs = map(statistics.median, times.values())
        print(f"ratio {theirs / ours:.2f}")


def tell_help(checkouts: list[Path], repeat: int) -> None:
    """Tell what ``--help`` of every command takes, and the ratio of two checkouts."""
    for command in HELP:
        times = turns(checkouts, repeat, lambda checkout: help_page(checkout, command))  # noqa: B023
        medians = [statistics.median(seconds) for seconds in times.values()]
        shown = "  ".join(f"{median:.3f} s" for median in medians)
        ratio = f"  ratio {medians[1] / medians[0]:.2f}" if len(medians) > 1 else ""
        print(f"{command or 'birefcli':<14}  {shown}{ratio}", flush=True)


def main() -> None:
    """Measure, and tell medians and their spread."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--against", type=Path, help="another checkout, which takes turns")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--help-pages", action="store_true", help="--help of every command instead")
    parser.add_argument("--imports", type=int, metavar="N", default=0)
    arguments = parser.parse_args()
    checkouts = [HERE] + ([arguments.against.resolve()] if arguments.against else [])
    if arguments.help_pages:
        tell_help(checkouts, arguments.repeat)
    else:
        tell_matte(checkouts, arguments)
    if arguments.imports:
        slow_imports(arguments.model, arguments.imports)


if __name__ == "__main__":
    main()
