"""What lies at the targets of all photos, and so what is to be done about each.

Files are looked at one by one. In a store one listing says which products are there, and one small
read what each of them was made with.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from birefcli.batch import stores
from birefcli.batch.fingerprints import Fingerprints
from birefcli.batch.freshness import Decision, decide
from birefcli.batch.places import Target
from birefcli.batch.stores import StoredProduct
from birefcli.batch.targets import Job
from birefcli.options import Existing, Precision
from birefcli.system.object_store import ObjectEntry, store_for
from birefcli.system.object_url import ObjectUrl

FEW = 3  # photos whose products are asked for one by one: a listing is not worth it


def decide_all(
    jobs: list[Job], existing: Existing, fingerprints: Fingerprints, precision: Precision
) -> list[Decision]:
    """What is to be done about each photo, in their order. Raises OutputError."""

    def decide_one(job: Job) -> Decision:
        return decide(job, existing, fingerprints(job), precision)

    prefixes = _prefixes(jobs)
    if not prefixes:
        return [decide_one(job) for job in jobs]
    # Of a few photos, the prefix may be that of a million others.
    there = _listed(jobs, prefixes) if len(jobs) > FEW else None
    known = jobs if there is None else (_informed(job, there) for job in jobs)
    return list(stores.in_order(decide_one, known))


def _products(jobs: Iterable[Job]) -> Iterable[StoredProduct]:
    targets = (target for job in jobs for target in job.targets.values())
    return (target for target in targets if isinstance(target, StoredProduct))


def _prefixes(jobs: list[Job]) -> set[ObjectUrl]:
    """The longest prefix of all products in each bucket: all of a run have one output."""
    common: dict[ObjectUrl, str] = {}
    for target in _products(jobs):
        bucket = target.url.at("")
        folder = target.url.key.rpartition("/")[0]
        folder = f"{folder}/" if folder else ""
        common[bucket] = _common(common.get(bucket, folder), folder)
    return {bucket.at(prefix) for bucket, prefix in common.items()}


def _common(one: str, other: str) -> str:
    """The longest folder that two folders, which end in a slash, are in."""
    while not other.startswith(one):
        folder = one.removesuffix("/").rpartition("/")[0]
        one = f"{folder}/" if folder else ""
    return one


def _listed(jobs: list[Job], prefixes: Iterable[ObjectUrl]) -> dict[ObjectUrl, ObjectEntry]:
    """What is there of all products. Raises OutputError."""
    wanted = {target.url for target in _products(jobs)}
    found = {}
    for prefix in prefixes:
        with stores.listing(prefix):
            for entry in store_for(prefix).list(prefix.key, _pass_over):
                url = prefix.at(entry.key)
                if url in wanted:
                    found[url] = entry
    return found


def _pass_over(error: OSError) -> None:
    """A folder that holds a name which is no path holds other people's objects: no product does."""


def _informed(job: Job, there: Mapping[ObjectUrl, ObjectEntry]) -> Job:
    """A job whose products know what is there; without a listing, they ask for it themselves."""

    def informed(target: Target) -> Target:
        if not isinstance(target, StoredProduct):
            return target
        return replace(target, entry=there.get(target.url), is_listed=True)

    return replace(job, targets={kind: informed(t) for kind, t in job.targets.items()})
