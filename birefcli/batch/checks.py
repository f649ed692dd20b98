"""Files that a run needs or writes beside its photos and products: nothing may take their place."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from birefcli.batch.lists import could_be_failures
from birefcli.batch.targets import Job, index_targets
from birefcli.errors import OutputError
from birefcli.images.files import entry_key
from birefcli.models.locate import locate
from birefcli.options import BatchOptions
from birefcli.system import atomic
from birefcli.system.object_url import ObjectUrl
from birefcli.system.paths import is_file, is_folder

if TYPE_CHECKING:
    from birefcli.products.background import Background


def files_read(
    options: BatchOptions, background: "Background | None"
) -> dict[Path | ObjectUrl, str]:
    """Files and objects that every photo of a run needs, and what they are."""
    weights = locate(options.model.name)
    places = (weights.path, weights.url)
    read = {place: "the weights" for place in places if place is not None}
    if background is None:
        return read
    from birefcli.products.background import files_of

    return read | dict.fromkeys(files_of(background), "a background")


def check_failed_to(file: Path, jobs: list[Job], read: Iterable[Path | ObjectUrl]) -> None:
    """See that the list of failed photos can be written, and replaces nothing but such a list.

    ``read``: what the run reads beside its photos. Raises OutputError.
    """

    def wrong(text: str) -> OutputError:
        return OutputError(text, option="failed_to", value=file)

    used = index_targets(jobs)
    for job in jobs:
        for key in job.source.keys:
            used.add(key, job)
    if used.find(entry_key(file)) is not None:
        raise wrong("is one of the photos or results; name another file")
    if entry_key(file) in {entry_key(path) for path in read if isinstance(path, Path)}:
        raise wrong("is read by this run; name another file")
    if is_folder(file):
        raise wrong("is a folder; name a file")
    try:
        if is_file(file) and not could_be_failures(file):
            raise wrong("is there and is no list of failed photos; name another file")
        atomic.check_writes(file)
    except OSError as error:
        raise wrong(f"cannot be written: {error.strerror}") from None
