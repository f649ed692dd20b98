"""Which photos, which targets, and how a file comes to be: found, planned, written atomically."""

import contextlib
import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path

from birefcli import record
from birefcli.errors import NoInputError, OutputError, UsageError
from birefcli.options import SUFFIXES, Format, Product, Selection

PHOTO_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".tif", ".tiff", ".bmp"),
        *(".gif", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".avif"),
    }
)
"""Names that are tried when a folder is searched, lower case."""

PART = ".birefcli-"
"""How the name of a file that is being written begins."""
PART_END = ".part"
STALE = 24 * 3600.0  # seconds after which a part file is nobody's, whatever its process number says

PIPE = "-"
OWN = "made by birefcli"  # why a product of an earlier run is no photo of this one


@dataclass(frozen=True)
class Found:
    """A photo, and the path it keeps below the output folder. ``source`` None is stdin."""

    source: Path | None
    relative: Path


@dataclass(frozen=True)
class Job:
    """One photo and where its products go. ``source`` None is stdin, a target None stdout."""

    source: Path | None
    targets: Mapping[Product, Path | None]
    relative: Path

    @property
    def label(self) -> str:
        """How the photo is called in messages; no two photos of a run are called the same."""
        if self.source is None:
            return PIPE
        # A file called - is another photo than what comes through stdin.
        return f"./{PIPE}" if str(self.source) == PIPE else str(self.source)


@dataclass
class Search:
    """What a search came upon; ``skipped`` and ``failed`` are (path, reason)."""

    found: list[Found] = field(default_factory=list)
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    """What is no photo."""
    failed: list[tuple[Path, str]] = field(default_factory=list)
    """What may be photos and could not be looked at."""


def find(selection: Selection) -> Search:
    """Find every photo the user named, in order, each once.

    Folders are walked in name order, hidden files and the output folder left out; files named by
    the user are always taken, and one that is not there fails alone. Raises NoInputError when
    nothing was found.
    """
    search = Search()
    skip = _output_folder(selection)
    for name in selection.inputs:
        if name == PIPE:
            search.found.append(Found(None, Path("stdin")))
            continue
        path = Path(name)
        if is_folder(path):
            _walk(path, selection, skip, search)
        else:
            search.found.append(Found(path, Path(path.name)))
    search.found.extend(_listed(name) for name in selection.listed)
    search.found = list(_once(search.found))
    if not search.found:
        raise NoInputError(_nothing(selection, search))
    return search


def _output_folder(selection: Selection) -> Path | None:
    """The output folder where it is another than every input folder, to be left out of a walk."""
    if selection.output == PIPE:
        return None
    out = _real(Path(selection.output))
    return None if any(_real(Path(i)) == out for i in selection.inputs if i != PIPE) else out


def is_folder(path: Path) -> bool:
    """Whether a path leads to a folder, whatever its name is."""
    # Path.is_dir raises where a name is too long, or lies in a folder that may not be read.
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _listed(name: str) -> Found:
    """A photo of a list, under its own path below the output folder, without leaving it.

    Like rsync, what stands before ``/./`` is not part of that path.
    """
    root, mark, below = name.partition("/./")
    path = Path(name)
    parts = Path(below if mark else root).parts
    kept = [part for part in parts if part not in (path.anchor, os.pardir, os.curdir)]
    return Found(path, Path(*kept))


def listed_as(job: Job) -> str:
    """Name a photo so that a list of such names gives it the same target again."""
    source, relative = str(job.source), str(job.relative)
    root = source.removesuffix(relative)
    if root.endswith(("/", os.sep)):
        return f"{root}./{relative}"
    return source if os.path.isabs(source) else f"./{source}"  # noqa: PTH117 - text, not a path


def _nothing(selection: Selection, search: Search) -> str:
    what = "cutout or mask" if selection.products else "photo"
    where = ", ".join(selection.inputs) or "the list"
    unfit = search.failed + search.skipped
    if not unfit:
        filters = {"--include": selection.include, "--exclude": selection.exclude}
        given = [option for option, patterns in filters.items() if patterns]
        if given and not selection.products:
            return f"no {what} found in {where} that fits {' and '.join(given)}"
        named = "a file that is named itself is tried whatever its name"
        return f"no {what} found in {where}; {named}"
    more = f", and {len(unfit) - 1} more" if len(unfit) > 1 else ""
    return f"no {what} found in {where}; skipped {unfit[0][0]}: {unfit[0][1]}{more}"


def _once(found: Iterable[Found]) -> Iterator[Found]:
    seen: set[str] = set()
    for photo in found:
        key = PIPE if photo.source is None else place(photo.source)
        if key not in seen:
            seen.add(key)
            yield photo


def _walk(root: Path, selection: Selection, skip: Path | None, search: Search) -> None:
    walked: set[tuple[int, int]] = set()

    def unreadable(error: OSError) -> None:
        search.failed.append((Path(error.filename), error.strerror or str(error)))

    for folder, folders, names in os.walk(root, onerror=unreadable, followlinks=True):
        here = Path(folder)
        try:
            status = here.stat()
        except OSError as error:  # it has just gone
            unreadable(error)
            folders.clear()
            continue
        if (status.st_dev, status.st_ino) in walked:  # a symlink led back
            folders.clear()
            continue
        walked.add((status.st_dev, status.st_ino))
        folders[:] = sorted(
            name
            for name in folders
            if selection.recursive
            and not name.startswith(".")
            and (skip is None or _real(here / name) != skip)
        )
        for name in sorted(names):
            path = here / name
            if not _wanted(path.relative_to(root), selection):
                continue
            try:
                reason = _unfit(path)
            except OSError as error:
                unreadable(error)
                continue
            if reason is None and not selection.products and _is_product(path):
                reason = OWN
            if reason is None:
                search.found.append(Found(path, path.relative_to(root)))
            else:
                search.skipped.append((path, reason))


def _wanted(relative: Path, selection: Selection) -> bool:
    """Whether a file of a folder is to be tried, by its name."""
    if relative.name.startswith("."):
        return False
    names = (relative.name, relative.as_posix())
    if any(fnmatch(name, pattern) for name in names for pattern in selection.exclude):
        return False
    if selection.include:
        return any(fnmatch(name, pattern) for name in names for pattern in selection.include)
    return relative.suffix.lower() in PHOTO_SUFFIXES


def _unfit(path: Path) -> str | None:
    """Why a file of a folder is no photo, before anything opens it (opening a pipe would wait).

    Raises OSError where that cannot be said.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if path.is_symlink() and error.errno in (errno.ENOENT, errno.ELOOP):
            return "a symbolic link to nothing"
        raise
    return None if stat.S_ISREG(mode) else "not a regular file"


def _is_stdin(target: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(0), target.stat())
    except OSError:
        return False


def _is_product(path: Path) -> bool:
    """Whether a file was written by an earlier run, and is no photo of the next one.

    Wherever this run writes: folders of cutouts and composites may lie among the photos.
    """
    try:
        return record.look(path).record is not None
    except OSError:
        return False


def plan(
    found: list[Found],
    selection: Selection,
    products: tuple[Product, ...],
    format_: Format,
) -> list[Job]:
    """Every target before any work.

    Raises OutputError where two photos want one target or a target is one of the photos, and
    UsageError where the output is one file but the work is not.
    """
    if selection.output == PIPE or names_a_file(selection):
        return [_single(found, selection, products)]
    jobs = [_job(photo, selection, products, format_) for photo in found]
    _refuse_collisions(jobs)
    return jobs


def without_missing(found: list[Found]) -> tuple[list[Found], list[tuple[Found, str]]]:
    """Part the photos that are there from those that are not, with the reason.

    Raises NoInputError when none is there.
    """
    there: list[Found] = []
    missing: list[tuple[Found, str]] = []
    for photo in found:
        reason = None if photo.source is None else _absence(photo.source)
        if reason is None:
            there.append(photo)
        else:
            missing.append((photo, reason))
    if missing and not there:
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise NoInputError(f"{missing[0][0].source}: {missing[0][1]}{more}")
    return there, missing


def _absence(path: Path) -> str | None:
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            return "is a folder, and lists name photos; name it on the command line"
    except OSError as error:
        return f"{error.strerror or error}{_hint(path)}"
    except ValueError as error:
        return str(error)
    return None


def _hint(path: Path) -> str:
    """What may have been meant by a name under which no file is."""
    if re.match(r"(?!file:)[a-z][a-z0-9]+:/", str(path), re.IGNORECASE):
        return "; photos are read from files, not from addresses: download it first"
    if re.match(r"#\s", str(path)):
        return "; every line of a list is a name, there are no comments"
    return ""


def output_folder(selection: Selection) -> Path:
    """The folder that ``--output`` names, or that the file it names lies in."""
    out = Path(selection.output)
    return out.parent if names_a_file(selection) else out


def names_a_file(selection: Selection) -> bool:
    """Whether ``--output`` is the name of a picture and not of a folder."""
    out = Path(selection.output)
    return (
        selection.output != PIPE
        and out.suffix.lower() in SUFFIXES
        and not is_folder(out)
        and not selection.output.endswith(("/", os.sep))
    )


def _single(found: list[Found], selection: Selection, products: tuple[Product, ...]) -> Job:
    shown = selection.output
    if len(found) != 1 or any(is_folder(Path(i)) for i in selection.inputs if i != PIPE):
        raise UsageError(f"--output {shown} is one file: give one photo, or name a folder")
    if len(products) != 1:
        raise UsageError(f"--output {shown} is one file: --write one product, or name a folder")
    target = None if selection.output == PIPE else Path(selection.output)
    job = Job(found[0].source, {products[0]: target}, found[0].relative)
    _refuse_collisions([job])
    return job


def _job(photo: Found, selection: Selection, products: tuple[Product, ...], format_: Format) -> Job:
    out = Path(selection.output)
    stem = selection.name.replace("{stem}", photo.relative.stem)
    stem = stem.replace("{name}", photo.relative.name) if "{name}" in selection.name else stem
    place = photo.relative.parent / (stem + format_.suffix)
    targets = {p: (out / p.value if len(products) > 1 else out) / place for p in products}
    return Job(photo.source, targets, photo.relative)


def _refuse_collisions(jobs: list[Job]) -> None:
    taken: dict[str, Job] = {}
    for job in jobs:
        for target in job.targets.values():
            if target is None:
                continue
            other = taken.setdefault(place(target), job)
            if other is not job:
                alike = other.relative.name == job.relative.name
                way = "run them separately" if alike else "use --name '{name}'"
                raise OutputError(
                    f"{other.label} and {job.label} would both be written to {target}; {way}"
                )
    for job in jobs:
        if job.source is None:
            continue
        at = _real(job.source) if job.source.is_symlink() else job.source
        for key in (place(job.source), place(at)):
            if key in taken:
                raise OutputError(
                    f"{job.label} would be overwritten by the result of {taken[key].label};"
                    " choose another --output"
                )


def place(path: Path) -> str:
    """Name a file by its folder without links, and its name: equal for equal directory entries."""
    return str(_real_folder(path.parent.absolute()) / path.name)


@lru_cache(maxsize=4096)
def _real_folder(folder: Path) -> Path:
    # Resolving 100,000 paths one by one takes minutes, their folders a moment.
    return _real(folder)


def _real(path: Path) -> Path:
    # Path.resolve raises RuntimeError for a link that leads to itself, before Python 3.13.
    return Path(os.path.realpath(path))


def check_output(jobs: list[Job], selection: Selection, *, make: bool = True) -> list[Path]:
    """See that the output can be written; ``make`` its folder. Raises OutputError.

    Returns the folders that were made, innermost first.
    """
    if selection.output == PIPE:
        return []
    folder = output_folder(selection)
    made = [f for f in (folder, *folder.parents) if make and not is_folder(f)]
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
            probe(folder)
    except FileExistsError:
        raise OutputError(f"{folder}: is a file, not a folder; choose another --output") from None
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from None
    for job in jobs:
        for target in job.targets.values():
            if target is not None and job.source is None and _is_stdin(target):
                raise OutputError(f"{target}: is the photo on stdin; choose another --output")
            if target is not None and is_folder(target):
                raise OutputError(f"{target}: is a folder where {job.label} is to be written")
    return made


def take_back(made: Iterable[Path]) -> None:
    """Remove those of the folders into which nothing came."""
    for folder in made:
        with contextlib.suppress(OSError):  # it holds something
            folder.rmdir()


def probe(folder: Path) -> None:
    """See that files can be made in a folder. Raises OSError."""
    part = folder / _part_name()
    part.touch()
    part.unlink()


def _part_name() -> str:
    # Short, whatever the target's name is: that may already be as long as names can be.
    return f"{PART}{os.getpid()}-{secrets.token_hex(4)}{PART_END}"


_writing: set[Path] = set()


def write_atomically(target: Path, data: bytes) -> None:
    """Write a file so that readers see the old one or the whole new one. Raises OSError.

    What is no regular file (``/dev/null``, a pipe) is written into, and not replaced.
    """
    if target.exists() and not target.is_file():
        target.write_bytes(data)
        return
    part = target.parent / _part_name()
    _writing.add(part)
    try:
        # An ordinary open: mkstemp would leave the result readable by its owner alone.
        with part.open("xb") as file:
            file.write(data)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        _writing.discard(part)


def drop_unfinished() -> None:
    """Remove the part files of writes in flight, for a process about to end without waiting."""
    for part in list(_writing):
        part.unlink(missing_ok=True)


def clear_stale(folders: Iterable[Path]) -> int:
    """Remove part files that a killed run left in these folders; returns how many."""
    cleared = 0
    for folder in folders:
        try:
            parts = [Path(e.path) for e in os.scandir(folder) if _is_part(e.name)]
        except OSError:
            continue  # not there yet, or not ours to read
        for part in parts:
            if _is_stale(part):
                with contextlib.suppress(OSError):  # somebody else's
                    part.unlink()
                    cleared += 1
    return cleared


def _is_part(name: str) -> bool:
    return name.startswith(PART) and name.endswith(PART_END)


def _is_stale(part: Path) -> bool:
    """Whether nobody is writing a part file any more: its process is gone, or a day has passed."""
    number = part.name.removeprefix(PART).partition("-")[0]
    try:
        old = time.time() - part.stat().st_mtime > STALE
        # Signal 0 asks only on POSIX; on Windows it would be Ctrl-C.
        if os.name == "posix" and number.isdecimal() and not old:
            os.kill(int(number), 0)  # asks whether it lives; another machine's may seem dead
            return False
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return old
