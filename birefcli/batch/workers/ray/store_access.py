"""The stores that a run reads and writes, and whether a machine of the cluster may do both."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from birefcli.batch.freshness import Decision
from birefcli.batch.stores import StoredPhoto, StoredProduct
from birefcli.batch.targets import Job
from birefcli.errors import DeviceError, NoInputError, OutputError, UsageError
from birefcli.system.object_store import store_for
from birefcli.system.object_url import ObjectUrl

HINT = "workers have the environment of ray start on their machine: set endpoint and keys there"


@dataclass(frozen=True)
class StoreAccess:
    """What workers must be able to do, by prefixes; no photo is named."""

    read: tuple[ObjectUrl, ...] = ()
    """One of each bucket that has photos."""
    written: tuple[ObjectUrl, ...] = ()
    """One of each kind of product."""

    def check(self) -> None:
        """See that this machine's own credentials will do; nothing is left behind.

        Raises DeviceError (without the package for stores), NoInputError, OutputError.
        """
        try:
            for url in self.read:
                _check_readable(url)
            for url in self.written:
                _check_writable(url)
        except UsageError as error:
            raise DeviceError(error.message) from None


def _check_readable(url: ObjectUrl) -> None:
    try:
        store_for(url).check_readable(url.key)
    except OSError as error:
        text = f"{url}: cannot be read: {error.strerror or error}"
        raise NoInputError(text, hint=HINT) from None


def _check_writable(url: ObjectUrl) -> None:
    try:
        store_for(url).check_writable(url.key)
    except OSError as error:
        text = f"{url}: cannot be written: {error.strerror or error}"
        raise OutputError(text, hint=HINT) from None


def access_needed(todo: Sequence[Decision]) -> StoreAccess:
    """What the workers of a run need of stores."""
    read: dict[tuple[str, str], ObjectUrl] = {}
    for decision in todo:
        source, relative = decision.job.source, decision.job.relative
        if isinstance(source, StoredPhoto):
            read.setdefault((source.url.scheme, source.url.bucket), _prefix(source.url, relative))
    written = dict.fromkeys(url for decision in todo[:1] for url in _outputs(decision.job))
    return StoreAccess(tuple(read.values()), tuple(written))


def _outputs(job: Job) -> Iterator[ObjectUrl]:
    for target in job.targets.values():
        if isinstance(target, StoredProduct):
            yield _prefix(target.url, job.relative)


def _prefix(url: ObjectUrl, relative: Path) -> ObjectUrl:
    """The prefix of an object that all are below, by its photo's path there."""
    folder = url.key.removesuffix(url.name)
    below = relative.parent.as_posix()
    return url.at(folder if below == "." else folder.removesuffix(f"{below}/"))
