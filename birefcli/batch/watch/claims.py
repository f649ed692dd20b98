"""To whom each place belongs while photos come and go: a run refuses two that want one place as a
whole, a watch refuses the second."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from birefcli.batch.output import ANOTHER
from birefcli.batch.places import LocalFile, stamp_at
from birefcli.batch.targets import Job, SharedFile
from birefcli.errors import Message, Option
from birefcli.system.name_folding import NameIndex
from birefcli.system.paths import is_folder


@dataclass(frozen=True)
class _Claim:
    """Whose a place is, and what it is to that one."""

    owner: str
    """A photo's label."""
    product: bool
    """Whether a product is written there; else it is a photo."""


class Claims:
    """Targets and photos of a watch."""

    def __init__(self) -> None:
        self._index: NameIndex[_Claim] = NameIndex()
        self._keys: dict[str, list[tuple[str, _Claim]]] = {}
        self._refused: dict[str, str] = {}
        """Photos that want what another has, or a file that all need, and which that is."""
        self._shared: Mapping[str, SharedFile] = {}
        self._shared_index: NameIndex[SharedFile] = NameIndex()

    def reserve(self, shared: Mapping[str, SharedFile]) -> list[str]:
        """These files all photos need, each by its keys, in place of those before.

        Returns photos that were refused for one that is needed no more.
        """
        if shared is self._shared:
            return []
        before = {file.label for file in self._shared.values()}
        gone = before - {file.label for file in shared.values()}
        self._shared, self._shared_index = shared, NameIndex()
        for key, file in shared.items():
            self._shared_index.add(key, file)
        return self._free(gone)

    def take(self, jobs: Iterable[Job]) -> tuple[list[Job], list[tuple[Job, Message]]]:
        """Jobs that have their targets for themselves, and the others with the reason.

        Of several that come at once and want one target, the one whose product is there already is
        first: so it was before a restart.
        """
        jobs = list(jobs)
        wanted: dict[str, list[Job]] = {}
        for job in jobs:
            for key in _target_keys(job):
                wanted.setdefault(key.casefold(), []).append(job)
        rivals = {job.label: job for near in wanted.values() if len(near) > 1 for job in near}
        later = {label for label, job in rivals.items() if not _is_done(job)}
        taken, refused = [], []
        for job in sorted(jobs, key=lambda job: job.label in later):
            reason = self._trouble(job)
            if reason is None:
                self._add(job)
                taken.append(job)
            else:
                refused.append((job, reason))
        return taken, refused

    def give_up(self, label: str) -> list[str]:
        """A photo has gone: returns those that it was in the way of."""
        for key, claim in self._keys.pop(label, ()):
            self._index.remove(key, claim)
        self._refused.pop(label, None)
        return self._free({label})

    def _free(self, owners: Container[str]) -> list[str]:
        """Photos that were refused for what these had."""
        waiting = [other for other, owner in self._refused.items() if owner in owners]
        for other in waiting:
            del self._refused[other]
        return waiting

    def _add(self, job: Job) -> None:
        if job.label in self._keys:
            return
        claims = [(key, _Claim(job.label, product=True)) for key in _target_keys(job)]
        claims += [(key, _Claim(job.label, product=False)) for key in job.source.keys]
        self._keys[job.label] = claims
        for key, claim in claims:
            self._index.add(key, claim)

    def _trouble(self, job: Job) -> Message | None:
        """Why a photo cannot be done beside those that are there."""
        own = set(job.source.keys)
        for target in job.targets.values():
            key = target.key
            if isinstance(target, LocalFile) and is_folder(target.path):
                return Message(f"{target} is a folder; ", ANOTHER)
            if key in own:
                return Message("would be overwritten by its own result; ", ANOTHER)
            if key is None:
                continue
            if (shared := self._shared_index.find(key)) is not None:
                self._refused[job.label] = shared[1].label
                text = f"its result would overwrite {shared[1].label}, {shared[1].what}; "
                return Message(text, ANOTHER)
            if (found := self._others(key, job)) is not None:
                return self._collision(job, found, f"{target}")
        for key in own:
            found = self._others(key, job)
            if found is not None and found.product:
                self._refused[job.label] = found.owner
                return Message(f"would be overwritten by the result of {found.owner}; ", ANOTHER)
        return None

    def _others(self, key: str, job: Job) -> _Claim | None:
        found = self._index.find(key)
        return None if found is None or found[1].owner == job.label else found[1]

    def _collision(self, job: Job, found: _Claim, target: str) -> Message:
        self._refused[job.label] = found.owner
        if not found.product:
            return Message(f"its result would overwrite {found.owner}; ", ANOTHER)
        way = Message("use ", Option("name", "'{name}'"), ", or another name")
        return Message(f"{target} is the result of {found.owner}; ", way)


def _target_keys(job: Job) -> list[str]:
    return [key for target in job.targets.values() if (key := target.key) is not None]


def _is_done(job: Job) -> bool:
    """Whether what is at the targets was made of this photo as it is."""
    try:
        made = [stamp_at(target) for target in job.targets.values()]
    except (OSError, MemoryError):
        return False
    return all(s is not None and (s.size, s.mtime_ns) == job.source.state() for s in made)
