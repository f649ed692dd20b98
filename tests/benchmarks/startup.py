"""One photo, from the command to its end: ``python tests/benchmarks/startup.py``.

Runs ``birefcli matte`` on one photo, again and again, in turns with ``python -c "import torch"``,
and tells what it takes beyond that, in seconds and processor seconds. With ``--against CHECKOUT``
(``git worktree add ../before COMMIT``) that takes turns too, and the ratio of their medians is
told. ``--phases`` tells where the time goes. ``--help-pages`` measures the processor time of every
command's ``--help`` instead, in turns with that of a bare Typer program. ``--cold`` drops the
weights from the disk cache before each run (Linux only), and ``--imports`` lists what is slow to
import.

Bytecode is kept as at a user's, whatever ``PYTHONDONTWRITEBYTECODE`` says: in a folder of its own.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from same_output_commands import HELP

HERE = Path(__file__).parents[2]


BARE = '''
import typer

app = typer.Typer()


@app.command()
def hello(name: str = "you") -> None:
    """Say hello."""
    print(name)


app()
'''
"""The least that a program with Typer is."""
PHASES = HERE / "tests" / "benchmarks" / "startup_phases.py"


class Taken(NamedTuple):
    """What a process took, in seconds."""

    wall: float
    cpu: float
    """Of all processors."""


@dataclass(frozen=True)
class Contender:
    """A command that takes turns with others."""

    name: str
    checkout: Path
    words: list[str]


def environment(checkout: Path) -> dict[str, str]:
    """Variables with which Python imports this checkout, and keeps the bytecode of what it does."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    cache = Path(tempfile.gettempdir()) / f"birefcli-startup-{os.getuid()}"
    return {**kept, "PYTHONPATH": str(checkout), "PYTHONPYCACHEPREFIX": str(cache)}


def matte(model: str, out: str) -> list[str]:
    """Spell a run over one sample photo."""
    photo = str(HERE / "samples" / "grace_hopper.jpg")
    return ["matte", photo, "-o", out, "-m", model, "-q", "--existing", "overwrite"]


def take(contender: Contender) -> Taken:
    """Start a process and wait for its end."""
    started = time.perf_counter()
    process = subprocess.Popen(
        contender.words,
        cwd=contender.checkout,
        env=environment(contender.checkout),
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)  # it is waited for already
    if status:
        raise SystemExit(f"{contender.name}: ended with {process.returncode}")
    return Taken(wall, usage.ru_utime + usage.ru_stime)


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
        python = [sys.executable, "-X", "importtime", "-m", "birefcli"]
        words = [*python, *matte(model, f"{out}/x.png")]
        result = subprocess.run(
            words, cwd=HERE, env=environment(HERE), capture_output=True, check=True, text=True
        )
    found = re.findall(r"^import time: +\d+ \| +(\d+) \|( +)(\S+)$", result.stderr, re.M)
    for microseconds, _, name in sorted(found, key=lambda row: -int(row[0]))[:count]:
        print(f"{int(microseconds) / 1e6:7.3f} s  {name}")


def phases(model: str, repeat: int) -> None:
    """Tell where the time of a run goes: medians of each phase."""
    with tempfile.TemporaryDirectory() as out:
        words = matte(model, f"{out}/x.png")
        runs = [_phases_once(words) for _ in range(repeat + 1)]
    for phase in runs[-1]:
        wall, cpu = (statistics.median(run[phase][i] for run in runs[1:]) for i in range(2))
        print(f"{wall:7.3f} s {cpu:7.3f} s CPU  {phase}")


def _phases_once(words: list[str]) -> dict[str, list[float]]:
    python = [sys.executable, str(PHASES), str(time.monotonic())]
    result = subprocess.run(
        [*python, *words], cwd=HERE, env=environment(HERE), capture_output=True, check=True
    )
    found: dict[str, list[float]] = json.loads(result.stdout)
    return found


def tell_matte(checkouts: list[Path], arguments: argparse.Namespace) -> None:
    """Tell what one photo takes beyond importing torch, and the ratio of two checkouts."""
    torch = Contender("import torch", HERE, [sys.executable, "-c", "import torch"])
    with tempfile.TemporaryDirectory() as out:
        words = [sys.executable, "-m", "birefcli", *matte(arguments.model, f"{out}/x.png")]
        contenders = [torch, *(Contender(str(each), each, words) for each in checkouts)]
        taken: dict[str, list[Taken]] = {contender.name: [] for contender in contenders}
        for turn in range(arguments.repeat + 1):
            for contender in contenders:
                if arguments.cold and contender is not torch:
                    evict(arguments.model)
                seconds = take(contender)
                if turn:  # the first turn compiles bytecode and fills the disk cache
                    taken[contender.name].append(seconds)
    medians = {name: _median(each) for name, each in taken.items()}
    for name, median in medians.items():
        walls = [each.wall for each in taken[name]]
        spread = f"{min(walls):.2f} to {max(walls):.2f}, {arguments.repeat} runs"
        more = "" if name == torch.name else f", {_beyond(median, medians[torch.name])}"
        print(f"{median.wall:.2f} s ({spread}), {median.cpu:.2f} s CPU{more}  {name}")
    if len(checkouts) > 1:
        ours, theirs = (medians[str(checkout)] for checkout in checkouts)
        print(f"ratio {theirs.wall / ours.wall:.2f}, of CPU {theirs.cpu / ours.cpu:.2f}")


def _median(taken: Iterable[Taken]) -> Taken:
    walls, cpus = zip(*taken, strict=True)
    return Taken(statistics.median(walls), statistics.median(cpus))


def _beyond(taken: Taken, torch: Taken) -> str:
    return f"{taken.wall - torch.wall:+.2f} s and {taken.cpu - torch.cpu:+.2f} s CPU to torch's"


def tell_help(checkouts: list[Path], repeat: int) -> None:
    """Tell the processor time of each command's ``--help``, as shares of a bare Typer program's."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "bare.py"
        program.write_text(BARE, encoding="utf-8")
        bare = Contender("bare", HERE, [sys.executable, str(program), "--help"])
        for command in HELP:
            python = [sys.executable, "-m", "birefcli", *command.split(), "--help"]
            contenders = [bare, *(Contender(str(each), each, python) for each in checkouts)]
            taken: dict[str, list[float]] = {contender.name: [] for contender in contenders}
            for turn in range(repeat + 1):
                for contender in contenders:
                    cpu = take(contender).cpu
                    if turn:  # the first turn compiles bytecode and fills the disk cache
                        taken[contender.name].append(cpu)
            base, *ours = (statistics.median(seconds) for seconds in taken.values())
            shown = "  ".join(f"{median:.3f} s (×{median / base:.2f})" for median in ours)
            print(f"{command or 'birefcli':<14}  bare {base:.3f} s  {shown}", flush=True)


def main() -> None:
    """Measure, and tell medians and their spread."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--against", type=Path, help="another checkout, which takes turns")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--phases", action="store_true", help="where the time goes")
    parser.add_argument("--help-pages", action="store_true", help="--help of every command instead")
    parser.add_argument("--imports", type=int, metavar="N", default=0)
    arguments = parser.parse_args()
    checkouts = [HERE] + ([arguments.against.resolve()] if arguments.against else [])
    if arguments.help_pages:
        tell_help(checkouts, arguments.repeat)
    else:
        tell_matte(checkouts, arguments)
    if arguments.phases:
        phases(arguments.model, arguments.repeat)
    if arguments.imports:
        slow_imports(arguments.model, arguments.imports)


if __name__ == "__main__":
    main()
