"""Where products go: every target before any work, and collisions."""

import contextlib
import glob
import os
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from birefcli.batch.inputs import FoundPhoto
from birefcli.batch.output import ANOTHER, Output, output_of
from birefcli.batch.places import PIPE, LocalFile, Source, Stdin, Target
from birefcli.errors import Message, Option, OutputError, UsageError
from birefcli.images.files import entry_key
from birefcli.options import Format, Product, Selection
from birefcli.system.name_folding import NameIndex
from birefcli.system.object_url import ObjectUrl
from birefcli.system.paths import is_folder, real_path


@dataclass(frozen=True)
class Job:
    """One photo and where its products go."""

    source: Source
    targets: Mapping[Product, Target]
    relative: Path

    @property
    def label(self) -> str:
        """How the photo is called in messages; no two photos of a run are called the same."""
        return self.source.label


def _is_stdin(target: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(0), target.stat())
    except OSError:
        return False


def plan_targets(
    found: list[FoundPhoto],
    selection: Selection,
    products: tuple[Product, ...],
    format_: Format,
) -> list[Job]:
    """Every target before any work.

    Raises OutputError where two photos want one target or a target is one of the photos, and
    UsageError where the output is one file but the work is not.
    """
    output = output_of(selection)
    if output.is_one:
        return [_single(found, selection, output, products)]
    jobs = [plan_job(photo, selection, products, format_) for photo in found]
    _refuse_collisions(jobs, selection)
    return jobs


def _single(
    found: list[FoundPhoto], selection: Selection, output: Output, products: tuple[Product, ...]
) -> Job:
    shown = selection.output
    folders = any(is_folder(Path(i)) for i in selection.inputs if i != PIPE)
    if len(found) != 1 or folders or found[0].searched:
        raise UsageError(
            Message(Option("output", shown), " is one file: give one photo, or name a folder")
        )
    if len(products) != 1:
        raise UsageError(
            Message(
                Option("output", shown),
                " is one file: ",
                Option("write"),
                " one product, or name a folder",
            )
        )
    job = Job(found[0].source, {products[0]: output.target()}, found[0].relative)
    _refuse_collisions([job], selection)
    return job


def plan_job(
    photo: FoundPhoto, selection: Selection, products: tuple[Product, ...], format_: Format
) -> Job:
    """Where the products of one photo go in the output folder, whatever is there."""
    place = photo.relative.parent / (selection.target_name(photo.relative) + format_.suffix)
    several = len(products) > 1
    places = {p: Path(p.value) / place if several else place for p in products}
    output = output_of(selection)
    targets = {p: output.target_below(at) for p, at in places.items()}
    return Job(photo.source, targets, photo.relative)


def index_targets(jobs: list[Job]) -> NameIndex[Job]:
    """Every target that is a file. Raises OutputError where two photos have one."""
    index: NameIndex[Job] = NameIndex()
    for job in jobs:
        for target in job.targets.values():
            key = target.key
            if key is None:
                continue
            found = index.find(key)
            if found is None:
                index.add(key, job)
            elif found[1] is not job:
                raise _collision(found[1], job, target, one_name=found[0] == key)
    return index


def _collision(other: Job, job: Job, target: Target, *, one_name: bool) -> OutputError:
    alike = other.relative.name == job.relative.name
    text = f"{other.label} and {job.label} would both be written to {target}"
    way = "run them separately" if alike else Message("use ", Option("name", "'{name}'"))
    if not one_name:
        text += ": its disk takes their names for one"
        way = "rename one of them"
    elif lying := next((each for each in (other, job) if target.key in each.source.keys), None):
        text += ", which may be a result that was edited"
        left_out = _excluding(glob.escape(lying.relative.name))
        way = Message(ANOTHER, ", or leave it out with ", left_out)
    return OutputError(text, hint=way)


def _refuse_collisions(jobs: list[Job], selection: Selection) -> None:
    index = index_targets(jobs)
    for job in jobs:
        for key in job.source.keys:
            if (found := index.find(key)) is not None:
                raise OutputError(
                    f"{job.label} would be overwritten by the result of {found[1].label}",
                    hint=ANOTHER if found[1] is job else _if_edited(job, selection),
                )


def _if_edited(job: Job, selection: Selection) -> Message:
    """The ways out where a photo may be a result that somebody edited, and that lost its stamp."""
    template = replace(selection, name=glob.escape(selection.name))
    all_results = template.target_name(Path("*"))
    named_as_photos = all_results == "*"
    own = glob.escape(job.relative.name if named_as_photos else job.relative.suffix)
    left_out = _excluding(own if named_as_photos else all_results + own)
    return Message(
        "if it is a result that was edited, leave it out with ", left_out, "; or ", ANOTHER
    )


def _excluding(pattern: str) -> Option:
    """The option as a shell takes it."""
    return Option("exclude", shlex.quote(pattern))


class SharedFile(NamedTuple):
    """A file or an object that is read, and that no product may replace."""

    label: str
    what: str
    """Like ``the weights``."""


def refuse_overwriting(
    jobs: list[Job], read: Mapping[str, SharedFile], elsewhere: Iterable[str] = ()
) -> None:
    """See that no result takes the place of a file that the run, or another part of it, reads.

    ``read``: by key; ``elsewhere``: keys of photos in other shards. Raises OutputError.
    """
    others = {key: SharedFile(key, "a photo of another shard") for key in elsewhere}
    if not read and not others:
        return
    index = index_targets(jobs)
    for key, file in (*read.items(), *others.items()):
        if (found := index.find(key)) is not None:
            raise OutputError(
                f"{file.label}: {file.what} would be overwritten by the result of {found[1].label}",
                hint=ANOTHER,
            )


def keys_of(path: Path | ObjectUrl) -> set[str]:
    """What a target's key must not be, so that no product takes the place of this."""
    if isinstance(path, ObjectUrl):
        return {str(path)}
    return {entry_key(path), entry_key(real_path(path))}


def check_output(jobs: list[Job], selection: Selection, *, make: bool = True) -> list[Path]:
    """See that the output can be written; ``make`` its folder. Raises OutputError.

    Returns the folders that were made, innermost first.
    """
    made = output_of(selection).prepare(make=make)
    for job in jobs:
        for target in job.targets.values():
            if not isinstance(target, LocalFile):
                continue
            if isinstance(job.source, Stdin) and _is_stdin(target.path):
                raise OutputError(f"{target}: is the photo on stdin", hint=ANOTHER)
            if is_folder(target.path):
                raise OutputError(f"{target}: is a folder where {job.label} is to be written")
    return made


def remove_empty(made: Iterable[Path]) -> None:
    """Remove those of the folders into which nothing came."""
    for folder in made:
        with contextlib.suppress(OSError):  # it holds something
            folder.rmdir()
