"""Weights in an object store, and their copies on this machine.

A copy lies in ``$XDG_CACHE_HOME/birefcli/weights`` (``~/.cache`` where that is not set) with the
size and the ETag of the object beside it: once an object has others, it is downloaded again. An
interrupted download goes on where it stopped, also in the next run.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from birefcli.errors import Message, ModelError, Option, UsageError
from birefcli.models import checksum
from birefcli.models.files import MAX_FILE
from birefcli.models.zoo import FILE_SUFFIXES
from birefcli.system.atomic import replace_file
from birefcli.system.object_store import ObjectEntry, store_for
from birefcli.system.object_url import ObjectUrl, parse_url
from birefcli.system.paths import expanded, is_file
from birefcli.system.prefetch import prefetch

CHUNK = 8 << 20  # bytes of a request
AHEAD = 4  # requests at once
HEADROOM = 16_000_000  # bytes to leave free on the disk beside a download
NOTE = "object.json"

_current: dict[ObjectUrl, Path] = {}
"""Copies that this process has compared with their objects: one run has one network."""


def parse_weights(text: str, *, option: str) -> ObjectUrl:
    """The object that a model's URL names. Raises UsageError where it can be no weights file."""
    try:
        url = parse_url(text)
    except ValueError as error:
        raise UsageError(str(error), option=option, value=text) from None
    if url.is_prefix or not url.key.lower().endswith(FILE_SUFFIXES):
        kinds = ", ".join(FILE_SUFFIXES)
        wrong = f"is no weights file by its name ({kinds}); name the object itself"
        raise UsageError(wrong, option=option, value=text)
    return url


def copy_of(url: ObjectUrl) -> Path | None:
    """The copy of an object on this machine, current or not; None without one."""
    path = _path(url)
    return path if _noted(path) is not None and is_file(path) else None


def fetch(url: ObjectUrl, *, offline: bool = False, progress: bool = True) -> Path:
    """A current copy of an object; ``offline`` takes what there is, and asks nobody.

    ``progress`` shows a bar on stderr where that is a terminal. Raises ModelError.
    """
    path = _unasked(url, offline=offline)
    if path is not None:
        return path
    for last in (False, True):
        try:
            _current[url] = _fetched(url, progress=progress)
            break
        except OSError as error:
            if last or error.errno != errno.ESTALE:  # replaced while it was downloaded
                raise ModelError(f"{url}: {_reason(error, url)}") from error
    return _current[url]


class Glance(NamedTuple):
    """What is known of an object without downloading it."""

    path: Path | None
    """Of its copy on this machine; None where there is none that is current."""
    size: int
    """Bytes of the object; 0 where it was not asked for."""


def glance(url: ObjectUrl, *, offline: bool = False) -> Glance:
    """See by one small request what :func:`fetch` would have to do. Raises ModelError."""
    path = _unasked(url, offline=offline)
    if path is not None:
        return Glance(path, 0)
    try:
        entry = store_for(url).head(url.key)
    except OSError as error:
        raise ModelError(f"{url}: {_reason(error, url)}") from error
    return Glance(_path(url) if _is_current(_path(url), entry) else None, entry.size)


def _unasked(url: ObjectUrl, *, offline: bool) -> Path | None:
    """The copy that is taken without a question to the store. Raises ModelError."""
    if url in _current and is_file(_current[url]):
        return _current[url]
    path = copy_of(url)
    if offline and path is None:
        why = Message(f"{url}: not downloaded yet, and ", Option("offline"), " forbids it")
        raise ModelError(why, hint="run once without it")
    return path if offline else None


def _reason(error: OSError, url: ObjectUrl) -> str:
    told = error.strerror or str(error)
    if error.filename is None or str(error.filename).startswith(f"{url.scheme}://"):
        return told
    return f"the cache cannot be written ({told}: {error.filename})"


def _fetched(url: ObjectUrl, *, progress: bool) -> Path:
    """A copy that is current, downloaded if need be. Raises OSError, ModelError."""
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    path = _path(url)
    entry = store_for(url).head(url.key)
    if _is_current(path, entry):
        return path
    if entry.size > MAX_FILE:
        text = f"no weights file: it has {entry.size / 1e9:.0f} GB, and none has more than 8"
        raise ModelError(f"{url}: {text}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(path.parent / ".lock"):  # no two processes download the same
        if not _is_current(path, entry):
            _download(url, entry, path, progress=progress)
    return path


def _download(url: ObjectUrl, entry: ObjectEntry, path: Path, *, progress: bool) -> None:
    """Download into a part file, from where the last one stopped; then move it into place."""
    part = path.parent / f"{_digest(entry.etag)}-{entry.size}.part"
    for other in path.parent.glob("*.part"):  # of what the object was before
        if other != part:
            other.unlink()
    if not is_file(part) or part.stat().st_size > entry.size or not entry.etag:
        part.unlink(missing_ok=True)
        part.touch()
    have = part.stat().st_size
    free = shutil.disk_usage(part.parent).free
    if free < entry.size - have + HEADROOM:
        raise ModelError(
            f"{url}: no space for its {entry.size / 1e6:.0f} MB in {path.parent}, "
            f"{free / 1e6:.0f} MB are free",
            hint="free some, or set XDG_CACHE_HOME to another disk",
        )
    with part.open("ab") as file, contextlib.closing(_chunks(url, entry, have)) as chunks:
        _append(file, chunks, url, entry.size, progress=progress)
    digest = checksum.measure_sha256(part)
    checksum.forget(part)
    _note_of(path).unlink(missing_ok=True)
    part.replace(path)
    replace_file(_note_of(path), json.dumps(_described(url, entry)).encode())
    checksum.trust(path, digest)


def _chunks(url: ObjectUrl, entry: ObjectEntry, have: int) -> Generator[bytes, None, None]:
    """The rest of an object, some requests ahead. Raises OSError."""
    store = store_for(url)
    read = partial(store.read_range, url.key, length=CHUNK, if_match=entry.etag)
    with ThreadPoolExecutor(AHEAD) as pool:
        for found in prefetch(pool, read, range(have, entry.size, CHUNK), AHEAD):
            yield found.result()


def _append(
    file: BinaryIO, chunks: Iterator[bytes], url: ObjectUrl, size: int, *, progress: bool
) -> None:
    from birefcli.models.download import progress_bar

    name = url.key.rpartition("/")[2]
    with progress_bar(name, size, file.tell(), progress=progress) as bar:
        for chunk in chunks:
            file.write(chunk)
            bar.update(len(chunk))
    if file.tell() != size:
        raise OSError(errno.ESTALE, f"gave {file.tell()} bytes of {size}", str(url))


# What is known of copies


def _path(url: ObjectUrl) -> Path:
    """Where the copy of an object is; it has the object's name, by whose end weights are known."""
    base = expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    name = url.key.rpartition("/")[2]
    return base / "birefcli" / "weights" / _digest(str(url)) / name


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _note_of(path: Path) -> Path:
    return path.parent / NOTE


def _described(url: ObjectUrl, entry: ObjectEntry) -> dict[str, str | int]:
    return {"url": str(url), "etag": entry.etag, "size": entry.size, "time": entry.modified_ns}


def _noted(path: Path) -> dict[str, str | int] | None:
    try:
        noted = json.loads(_note_of(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return noted if isinstance(noted, dict) else None


def _is_current(path: Path, entry: ObjectEntry) -> bool:
    """Whether a copy is of an object as it is now."""
    noted = _noted(path)
    if noted is None or not is_file(path) or path.stat().st_size != entry.size:
        return False
    if entry.etag:
        return noted.get("etag") == entry.etag
    return noted.get("time") == entry.modified_ns
