"""One batch in parts, for machines that know nothing of each other: which photo is whose.

A photo's shard is a matter of its target's name alone: not of the order of a listing, of other
photos, or of when a machine looked. So every photo is in exactly one of the parts.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from birefcli.errors import UsageError
from birefcli.options import Selection, Shard
from birefcli.system.name_folding import LOOSE

MOST = 100_000
"""Parts of a batch: more are a slip of the hand."""
AUTO = "auto"


@dataclass(frozen=True)
class _Scheduler:
    """The variables in which a scheduler tells a task its number, and how many there are."""

    index: str
    count: str | None = None
    """None: it does not tell, or only by the highest number."""
    least: str | None = None
    """The variable of the lowest number; without one that is ``first``."""
    step: str | None = None
    most: str | None = None
    """The variable of the highest number."""
    first: int = 0

    def told(self, variables: Mapping[str, str]) -> tuple[int, int | None] | None:
        """Number from 0, and count; None where it does not speak."""
        index = _number(variables, self.index)
        if index is None:
            return None
        least = _number(variables, self.least)
        least = self.first if least is None else least
        step = _number(variables, self.step) or 1
        count, most = _number(variables, self.count), _number(variables, self.most)
        if count is None and most is not None:
            count = (most - least) // step + 1
        return (index - least) // step, count


SCHEDULERS = (
    _Scheduler(
        "SLURM_ARRAY_TASK_ID",
        "SLURM_ARRAY_TASK_COUNT",
        "SLURM_ARRAY_TASK_MIN",
        "SLURM_ARRAY_TASK_STEP",
        "SLURM_ARRAY_TASK_MAX",
    ),
    _Scheduler("SLURM_PROCID", "SLURM_NTASKS"),
    _Scheduler("JOB_COMPLETION_INDEX"),  # Kubernetes
    _Scheduler("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"),
    _Scheduler("BATCH_TASK_INDEX", "BATCH_TASK_COUNT"),  # Google Cloud Batch
    _Scheduler("CLOUD_RUN_TASK_INDEX", "CLOUD_RUN_TASK_COUNT"),
    _Scheduler("PBS_ARRAY_INDEX"),
    _Scheduler(
        "SGE_TASK_ID",
        least="SGE_TASK_FIRST",
        step="SGE_TASK_STEPSIZE",
        most="SGE_TASK_LAST",
        first=1,
    ),
)
"""Those whose variables are read, in this order."""
UNDEFINED = "undefined"
"""The number of a task of Grid Engine that is none of an array."""
ALONE = "1"
"""Tasks of a job in which ``SLURM_PROCID`` says nothing: every job of Slurm has a first one."""
REPEAT = "to repeat a part write its number and the count, like 3/8"


def parse_shard(text: str, variables: Mapping[str, str]) -> Shard:
    """Read ``3/8``, ``auto``, or ``auto/8`` where the scheduler tells the number alone.

    ``variables``: of the environment. Raises UsageError.
    """

    def wrong(why: str) -> UsageError:
        return UsageError(why, option="shard", value=text)

    found = re.fullmatch(r"(auto|[0-9]{1,9})(?:/([0-9]{1,9}))?", text.strip())
    if found is None or (found[1] != AUTO and found[2] is None):
        raise wrong("give a number from 0 and a count like 3/8, auto, or auto/8")
    count = None if found[2] is None else int(found[2])
    if found[1] == AUTO:
        shard = _told(variables, count)
        if isinstance(shard, str):
            raise wrong(shard)
    else:
        shard = Shard(int(found[1]), count or 0)
    if not 1 <= shard.count <= MOST:
        raise wrong(f"{shard.count} parts{_by(shard)}: give a count from 1 to {MOST}")
    if not 0 <= shard.index < shard.count:
        parts = f"{shard.count} parts are numbered 0 to {shard.count - 1}"
        raise wrong(f"number {shard.index}{_by(shard)} is none of them: {parts}")
    return shard


def _by(shard: Shard) -> str:
    return f" (by {shard.told_by})" if shard.told_by else ""


def _told(variables: Mapping[str, str], count: int | None) -> Shard | str:
    """What the first scheduler says that says anything; a text where that is not enough."""
    for scheduler in SCHEDULERS:
        told = scheduler.told(variables)
        if told is None or _is_alone(scheduler, variables):
            continue
        index, whole = told
        if count is not None and whole is not None and count != whole:
            return f"{scheduler.count} says {whole} parts; {REPEAT}"
        if whole is not None and _is_excerpt(scheduler, variables, whole):
            return f"the tasks of {scheduler.index} are some of an array's; {REPEAT}"
        if count is None and whole is None:
            return f"{scheduler.index} tells the number and not the count; give auto/COUNT"
        return Shard(index, count or whole or 0, scheduler.index)
    names = ", ".join(scheduler.index for scheduler in SCHEDULERS)
    for scheduler in SCHEDULERS:
        value = variables.get(scheduler.index, UNDEFINED)
        if value not in ("", UNDEFINED) and _number(variables, scheduler.index) is None:
            return f"{scheduler.index}={value} is no number; give a number and a count like 3/8"
    return f"no scheduler's variable is set ({names}); give a number and a count like 3/8"


def _is_excerpt(scheduler: _Scheduler, variables: Mapping[str, str], whole: int) -> bool:
    """Whether an array leaves out numbers, as one does that repeats some tasks of another."""
    least = _number(variables, scheduler.least)
    most = _number(variables, scheduler.most)
    if least is None or most is None:
        return False
    step = _number(variables, scheduler.step) or 1
    return (most - least) // step + 1 != whole or (whole == 1 and least > 1)


def _is_alone(scheduler: _Scheduler, variables: Mapping[str, str]) -> bool:
    return scheduler.index == "SLURM_PROCID" and variables.get("SLURM_NTASKS", ALONE) == ALONE


def _number(variables: Mapping[str, str], name: str | None) -> int | None:
    """A variable's number; None where it is not set, or none (SGE says ``undefined``)."""
    text = variables.get(name or "", "").strip()
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else None


def holds(selection: Selection, relative: Path) -> bool:
    """Whether a photo is in the part that is taken; ``relative``: below the folder it is in.

    By SHA-256 of its target's path below the output, without extension and in one case: names that
    some disk takes for one share a shard, which refuses them as a whole run does.
    """
    shard = selection.shard
    if shard is None or shard.count == 1:
        return True
    target = f"{relative.parent.as_posix()}/{selection.target_name(relative)}"
    name = LOOSE(target).encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.sha256(name).digest(), "big") % shard.count == shard.index


def described(shard: Shard, here: int, elsewhere: int) -> str:
    """Say which part of how many photos it is: ``shard 3/8 (SLURM_PROCID): 125 of 1000 photos``."""
    told = f" ({shard.told_by})" if shard.told_by else ""
    return f"shard {shard}{told}: {here} of {here + elsewhere} photos"
