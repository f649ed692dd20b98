"""Whether two checkouts do the same: ``python tests/benchmarks/same_output.py BASE [NEW]``.

Runs some two hundred command lines, and a use from Python, in each of two checkouts
(``git worktree add ../before COMMIT``) over the same odd inputs, which it makes itself, and
compares exit codes, what is said, and every byte that is written. NEW is the checkout that this
file lies in, unless another is named. Exit code 1 where a file or an exit code differs; words may
differ, and are listed.

Seconds, rates and the folders in which it all happens are taken out of what is said; lines may come
in another order, as threads end when they end, and that is told. Of what ``doctor`` says only the
names of the fields count. What ``bench`` says is left out: it is nothing but times.
"""

import argparse
import difflib
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from itertools import groupby
from pathlib import Path

import same_output_inputs
from same_output_commands import Command, commands

HERE = Path(__file__).parents[2]
TIMEOUT = 600.0  # seconds that a command may take
SHOWN = 12  # lines of a difference between texts
LIBRARIES = ("torch", "numpy", "pillow", "opencv-python", "typer", "rich")
INPUTS = "inputs/untouched"
"""What the comparison of the inputs after all commands is called."""
NUMBER = r"-?[\d.]+(?:e-?\d+)?"
CHANGING = (  # what differs between two runs of one command, and what stands for it
    # How far a run is, every half a minute: only slow machines say it.
    (re.compile(r"^(\d+ of \d+( photos\b.* left.*)?|.* s a step, .* left)\n", re.M), ""),
    (re.compile(rf'("[\w ]*(?:seconds|_per_second|load|matte|save|time)": ){NUMBER}'), r"\1N"),
    (re.compile(rf"{NUMBER} (s|min|h)\b"), r"N \1"),
    (re.compile(rf"{NUMBER} (photos|steps)/s"), r"N \1/s"),
    (re.compile(r"\.birefcli-\d+-[0-9a-f]{8}\.part"), ".birefcli-N.part"),
)
PICTURES = (b"\x89PNG", b"RIFF", b"\xff\xd8", b"II*\0")


@dataclass(frozen=True)
class Result:
    """What came of a command. ``files``: digests by path of what it wrote, changed or removed."""

    code: int
    stdout: str
    stderr: str
    files: dict[str, str]
    seconds: float = 0.0


# One side


def digest(path: Path) -> str:
    """Size and SHA-256 of a file, or what else it is."""
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return f"link to {path.readlink()}"
    if not stat.S_ISREG(mode):
        return "folder" if stat.S_ISDIR(mode) else "pipe"
    content = path.read_bytes()
    return f"{len(content)} bytes, {hashlib.sha256(content).hexdigest()}"


@dataclass(frozen=True)
class Side:
    """A checkout, and the folder in which its commands run."""

    checkout: Path
    top: Path

    @property
    def work(self) -> Path:
        """Where the inputs are, and where commands start."""
        return self.top / "work"

    def environment(self, command: Command) -> dict[str, str]:
        """Nothing of the user's but the path: no options, no models, no GPU."""
        home = str(self.top / "home" / command.group)
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": str(self.checkout),
            "LANG": "C.UTF-8",
            "COLUMNS": "80",
            "CUDA_VISIBLE_DEVICES": "",
            "HF_HUB_OFFLINE": "1",
            **dict.fromkeys(("HOME", "HF_HOME", "XDG_CACHE_HOME"), home),
            **command.env,
        }

    def plain(self, said: bytes) -> str:
        """Text without what no two runs have in common."""
        text = said.decode(errors="backslashreplace")
        for folder, name in (
            (self.work, "{work}"),
            (self.top, "{top}"),
            (self.checkout, "{checkout}"),
        ):
            text = text.replace(str(folder), name)
        for pattern, instead in CHANGING:
            text = pattern.sub(instead, text)
        return text

    def digests(self, folder: Path) -> dict[str, str]:
        """Digest of every file below a folder, or what else is there; folders where empty."""
        found = {}
        for path in sorted(folder.rglob("*"), key=os.fsencode):
            if path.is_dir() and not path.is_symlink() and any(path.iterdir()):
                continue
            name = os.fsencode(path.relative_to(folder)).decode(errors="backslashreplace")
            found[name] = digest(path)
        return found


def run(side: Side, command: Command) -> Result:
    """Run one command, and see what came of it."""
    out = side.work / "out" / command.group
    out.mkdir(exist_ok=True)
    if command.before is not None:
        command.before(out)
    before = side.digests(out)
    words = [sys.executable, *command.program, *command.words]
    started = time.monotonic()
    given = os.open(side.work / command.stdin if command.stdin else os.devnull, os.O_RDONLY)
    try:
        done = subprocess.run(
            words,
            stdin=given,
            capture_output=True,
            check=False,
            cwd=side.work,
            env=side.environment(command),
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return Result(-1, "", f"took more than {TIMEOUT:.0f} seconds", {})
    finally:
        os.close(given)
    seconds = time.monotonic() - started
    after = side.digests(out)
    files = {name: after.get(name, "removed") for name in {*before, *after}}
    files = {name: files[name] for name in sorted(files) if files[name] != before.get(name)}
    stdout = done.stdout
    if stdout.startswith(PICTURES):
        digest = hashlib.sha256(stdout).hexdigest()
        files["<stdout>"], stdout = f"{len(stdout)} bytes, {digest}", b""
    said = side.plain(stdout)
    said = fields(said) if command.keys_only else said
    return Result(done.returncode, said, side.plain(done.stderr), files, round(seconds, 2))


def fields(text: str) -> str:
    """Names of the fields of JSON, one a line."""

    def walk(value: object, place: str) -> Iterator[str]:
        yield place
        for name, part in value.items() if isinstance(value, dict) else ():
            yield from walk(part, f"{place}.{name}")

    return "\n".join(walk(json.loads(text), "")) + "\n" if text.strip() else text


def run_all(side: Side, wanted: list[Command], jobs: int) -> Iterator[tuple[Command, Result]]:
    """Run commands, those of a group in order, a few groups at once; results in order."""

    def group(members: list[Command]) -> list[tuple[Command, Result]]:
        return [(command, run(side, command)) for command in members]

    side.work.mkdir(parents=True)
    same_output_inputs.make(side.work, HERE)
    made = side.digests(side.work)
    (side.work / "out").mkdir()
    groups = [list(members) for _, members in groupby(wanted, key=lambda c: c.group)]
    with ThreadPoolExecutor(jobs) as pool:
        for results in pool.map(group, groups):
            yield from results
    left = {k: v for k, v in side.digests(side.work).items() if k.partition("/")[0] != "out"}
    changed = {k: left.get(k, "removed") for k in {*made, *left} if left.get(k) != made.get(k)}
    yield Command(INPUTS, ()), Result(0, "", "", changed)


# What is known of the base


def fingerprint(checkout: Path) -> str:
    """Digest of everything that a base's results depend on."""
    known = [sys.version, platform.platform(), str(os.cpu_count())]
    known += [f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES]
    digest = hashlib.sha256("\n".join(known).encode())
    scripts = sorted(Path(__file__).parent.glob("same_output*.py"))
    inputs = [HERE / "samples", HERE / "tests" / "data" / "scores"]
    for top in (checkout / "birefcli", *inputs, *scripts):
        for path in sorted([top, *top.rglob("*")]):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(top)).encode() + path.read_bytes())
    return digest.hexdigest()[:24]


def load(cache: "Path | None") -> dict[str, Result]:
    """Results of earlier runs, by the commands' names."""
    if cache is None or not cache.is_file():
        return {}
    return {name: Result(**found) for name, found in json.loads(cache.read_text()).items()}


def store(cache: Path, results: Mapping[str, Result]) -> None:
    """Remember results for another run."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    part = cache.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps({name: asdict(result) for name, result in results.items()}))
    part.replace(cache)


# The comparison


@dataclass
class Tally:
    """Counts, and the names of the commands that differ."""

    commands: int = 0
    files: int = 0
    texts: int = 0
    other_files: int = 0
    other_codes: int = 0
    other_texts: int = 0

    def compare(self, name: str, base: Result, new: Result) -> None:
        """Count one command and print what differs in it."""
        self.commands += 1
        told = list(self._differing(base, new)) or ["same"]
        if told == ["same"] and (base.stdout, base.stderr) != (new.stdout, new.stderr):
            told = ["same, in another order"]
        print(f"{name}: {'; '.join(told)}", flush=True)
        for kind in ("stdout", "stderr"):
            before, after = getattr(base, kind), getattr(new, kind)
            alike = lines(before) == lines(after)
            self.texts += alike
            self.other_texts += not alike
            if not alike:
                print("\n".join(f"    {line}" for line in difference(kind, before, after)))

    def _differing(self, base: Result, new: Result) -> Iterator[str]:
        if base.code != new.code:
            self.other_codes += 1
            yield f"exit code {base.code}, now {new.code}"
        names = sorted({*base.files, *new.files})
        other = [name for name in names if base.files.get(name) != new.files.get(name)]
        self.files += len(names) - len(other)
        self.other_files += len(other)
        if other:
            first = other[0]
            was, now = (side.files.get(first, "not there")[:30] for side in (base, new))
            yield f"{len(other)} of {len(names)} files differ, first {first!r}: {was}, now {now}"
        kinds = [
            k for k in ("stdout", "stderr") if lines(getattr(base, k)) != lines(getattr(new, k))
        ]
        if kinds:
            yield f"{' and '.join(kinds)} in other words"

    def summary(self) -> str:
        """All counts in a few words."""
        return (
            f"{self.commands} commands: {self.files} identical files, {self.texts} identical texts;"
            f" {self.other_files} files differ, {self.other_codes} exit codes differ,"
            f" {self.other_texts} texts differ"
        )


def lines(text: str) -> list[str]:
    """Lines in an order of their own: that of threads is chance."""
    return sorted(text.splitlines())


def difference(kind: str, before: str, after: str) -> list[str]:
    """A short unified diff."""
    found = list(
        difflib.unified_diff(
            lines(before), lines(after), f"base {kind}", f"new {kind}", "", "", 0, ""
        )
    )
    more = [f"... {len(found) - SHOWN} lines more"] if len(found) > SHOWN else []
    return [*found[:SHOWN], *more]


# The command


def chosen(patterns: list[str]) -> list[Command]:
    """All commands of the groups in which one has such a name: they need each other."""
    known = commands()
    groups: set[str] = set()
    for pattern in patterns:
        found = {command.group for command in known if fnmatch(command.name, pattern)}
        if not found:
            raise SystemExit(f"no command is called {pattern}")
        groups |= found
    return [command for command in known if command.group in groups]


def results_of(
    checkout: Path, name: str, wanted: list[Command], top: Path, arguments: argparse.Namespace
) -> Iterator[tuple[str, Result]]:
    """Results of one side in a folder that is, or is called as, the other's."""
    started = time.monotonic()
    side = Side(checkout, top / "side")
    for command, result in run_all(side, wanted, arguments.jobs):
        yield command.name, result
    if arguments.keep is not None:
        (top / "side").rename(top / name)
    else:
        shutil.rmtree(top / "side")
    print(f"{name}: {time.monotonic() - started:.0f} s, {checkout}", file=sys.stderr)


def base_results(
    wanted: list[Command], top: Path, arguments: argparse.Namespace
) -> dict[str, Result]:
    """Results of the base, of an earlier run where they are known."""
    cache = None
    if arguments.cache is not None:
        cache = arguments.cache / f"{fingerprint(arguments.base)}.json"
    known = {} if arguments.keep is not None else load(cache)
    if any(command.name not in known for command in wanted):
        known |= dict(results_of(arguments.base, "base", wanted, top, arguments))
        if cache is not None:
            store(cache, known)
    return known


def read_arguments(words: "Iterable[str] | None" = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("base", type=Path, help="a checkout of what is to be kept")
    parser.add_argument("new", type=Path, nargs="?", default=HERE, help="default: this checkout")
    parser.add_argument("--only", metavar="GLOB", action="append", help="commands; repeatable")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep both trees, base and new")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="remember the base's results")
    parser.add_argument("--jobs", type=int, metavar="N", default=2, help="commands at once")
    arguments = parser.parse_args(None if words is None else list(words))
    arguments.base, arguments.new = arguments.base.resolve(), arguments.new.resolve()
    for checkout in (arguments.base, arguments.new):
        if not (checkout / "birefcli").is_dir():
            parser.error(f"{checkout}: no checkout of birefcli")
    return arguments


def main() -> None:
    """Run both sides, and tell command by command what differs."""
    arguments = read_arguments()
    wanted = chosen(arguments.only or ["*"])
    tally = Tally()
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="same-output-") as made:
        top = (arguments.keep or Path(made)).resolve()
        known = base_results(wanted, top, arguments)
        for name, result in results_of(arguments.new, "new", wanted, top, arguments):
            tally.compare(name, known[name], result)
    print(tally.summary())
    sys.exit(1 if tally.other_files or tally.other_codes else 0)


if __name__ == "__main__":
    main()
