"""Files that a run needs or writes beside its photos and products: nothing may take their place."""

from collections.abc import Container, Iterable
from pathlib import Path

from birefcli.batch.freshness import ELSEWHERE, Decision
from birefcli.batch.lists import could_be_failures
from birefcli.batch.targets import Job, index_targets
from birefcli.errors import OutputError
from birefcli.images.files import entry_key
from birefcli.system import atomic
from birefcli.system.paths import is_file, is_folder
from birefcli.system.regular_file import is_free


def check_failed_to(
    file: Path, jobs: list[Job], read: Container[str], *, make: bool = True
) -> None:
    """See that the list of failed photos can be written, and replaces nothing but such a list.

    ``read``: keys of what the run reads beside its photos. By looks alone where a dry run may
    ``make`` nothing. Raises OutputError.
    """

    def wrong(text: str) -> OutputError:
        return OutputError(text, option="failed_to", value=file)

    used = index_targets(jobs)
    for job in jobs:
        for key in job.source.keys:
            used.add(key, job)
    if used.find(entry_key(file)) is not None:
        raise wrong("is one of the photos or results; name another file")
    if entry_key(file) in read:
        raise wrong("is read by this run; name another file")
    if is_folder(file):
        raise wrong("is a folder; name a file")
    try:
        if is_file(file) and not is_free(file) and not could_be_failures(file):
            raise wrong("is there and is no list of failed photos; name another file")
        atomic.check_writes(file, make=make)
    except OSError as error:
        raise wrong(f"cannot be written: {error.strerror}") from None


def refuse_other_kinds(decisions: Iterable[Decision]) -> None:
    """See that no product takes the place of one of another kind: nobody asked for that.

    Raises OutputError, which names the first.
    """
    found = [decision.conflict for decision in decisions if decision.conflict is not None]
    if not found:
        return
    first = found[0]
    more = f"; {len(found) - 1:,} more like this" if len(found) > 1 else ""
    raise OutputError(f"{first.text}{more}", hint=ELSEWHERE)
