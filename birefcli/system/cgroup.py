"""What the control groups of this process allow it: a container, a service, a job of a cluster.

Linux has two kinds of them, both at once on some machines: version 2 has one tree for everything,
version 1 a tree for each resource. A process lies in one group of each tree, and what any group
above it allows holds for it too. Reading them never fails: what cannot be read sets no limit.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

SYSTEM = Path("/")
NAMED = 3  # parts of a line of /proc/self/cgroup: number, resources, the group's path


@dataclass(frozen=True)
class Limits:
    """The tightest of all groups that hold a process; None where none sets one."""

    memory: int | None = None
    """Bytes."""
    cores: float | None = None
    """Processor seconds in a second."""


@dataclass(frozen=True)
class _Mount:
    """A tree of groups, or a part of one, where the file system shows it."""

    resources: frozenset[str]
    """Of version 1; none for version 2."""
    top: PurePosixPath
    """The group that ``folder`` is."""
    folder: Path


def limits(system: Path = SYSTEM) -> Limits:
    """Limits of this process; ``system``: the folder in which its /proc and /sys lie."""
    memory: list[int] = []
    cores: list[float] = []
    mounts = list(_mounts(system))
    for resources, group in _own_groups(system):
        for folder in _folders(resources, group, mounts):
            if resources:
                memory += _numbers(folder / "memory.limit_in_bytes") + _inherited(folder)
                cores += _share(
                    _numbers(folder / "cpu.cfs_quota_us"), _numbers(folder / "cpu.cfs_period_us")
                )
            else:
                # Above memory.high a process is slowed down until it is below: a limit as well.
                memory += _numbers(folder / "memory.max") + _numbers(folder / "memory.high")
                quota = _text(folder / "cpu.max").split()
                cores += _share(_number(quota[:1]), _number(quota[1:2]))
    return Limits(min(memory, default=None), min(cores, default=None))


def _own_groups(system: Path) -> Iterator[tuple[frozenset[str], PurePosixPath]]:
    """The group of this process in each tree, by the tree's resources; version 2 has none."""
    for line in _text(system / "proc/self/cgroup").splitlines():
        number, *named = line.split(":", NAMED - 1)
        if len(named) == NAMED - 1 and (named[0] or number == "0"):
            yield frozenset(filter(None, named[0].split(","))), PurePosixPath(named[1])


def _mounts(system: Path) -> Iterator[_Mount]:
    for line in _text(system / "proc/self/mountinfo").splitlines():
        place, _, kind = line.partition(" - ")
        places, kinds = place.split(), kind.split()
        if len(places) < 5 or len(kinds) < 1 or kinds[0] not in ("cgroup", "cgroup2"):
            continue
        resources = kinds[-1].split(",") if kinds[0] == "cgroup" else []
        top, folder = PurePosixPath(_plain(places[3])), _plain(places[4]).lstrip("/")
        yield _Mount(frozenset(resources), top, system / folder)


def _plain(escaped: str) -> str:
    """A path as it is: spaces and the like are octal numbers in /proc/self/mountinfo."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), escaped)


def _folders(
    resources: frozenset[str], group: PurePosixPath, mounts: list[_Mount]
) -> Iterator[Path]:
    """Folders of a group and of all above it, as far as they can be seen."""
    trees = [m for m in mounts if (m.resources >= resources if resources else not m.resources)]
    holding = [m for m in trees if ".." not in group.parts and group.is_relative_to(m.top)]
    for mount in holding:
        below = group.relative_to(mount.top)
        yield from (mount.folder / part for part in (below, *below.parents))
    if trees and not holding:
        # The path is told from a namespace's point of view, the mount from another: what is
        # mounted there is what the container was given.
        yield trees[0].folder


def _inherited(folder: Path) -> list[int]:
    """What version 1 says of the groups above, which a container may not see."""
    text = _text(folder / "memory.stat")
    return _number(re.findall(r"^hierarchical_memory_limit (\d+)$", text, re.M))


def _share(quota: list[int], period: list[int]) -> list[float]:
    return [quota[0] / period[0]] if quota and period else []


def _numbers(file: Path) -> list[int]:
    return _number(_text(file).split())


def _number(words: list[str]) -> list[int]:
    """The first word as a number above 0; nothing for ``max``, -1, or what is none."""
    word = words[0] if words else ""
    return [int(word)] if re.fullmatch(r"0*[1-9][0-9]{0,30}", word) else []


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return ""
