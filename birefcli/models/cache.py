"""What the Hugging Face Hub library's cache on this machine holds of a model.

People link weights of their own into the cache, and whole folders of it to other disks. So nothing
is deleted by where a link leads: an entry lies where its folder really is, and only what lies in
the repository's own folders is deleted.
"""

import contextlib
import os
import re
import stat
from pathlib import Path

from birefcli.errors import ModelError
from birefcli.models import checksum
from birefcli.models.zoo import Model
from birefcli.system.paths import is_file, is_folder, is_link, names_in, real_path

SHA256 = re.compile("[0-9a-f]{64}")


def cache_folder() -> Path:
    """The Hub library's cache: the folder to copy to a machine without network."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def cached(model: Model) -> Path | None:
    """The model's file in the cache, or None. Makes no request and reads no content.

    Any snapshot that holds this very file will do: other programs may have fetched it under
    another revision.
    """
    return next(iter(pointers(model)), None)


# Entries, and what they lead to


def repo_folder(model: Model) -> Path:
    """Folder of a model's repository in the cache, which may not be there."""
    # The cache's published layout: a folder with blobs, refs and snapshots for each repository.
    return cache_folder() / f"models--{str(model.repo).replace('/', '--')}"


def snapshot_of(model: Model, pointer: Path) -> Path:
    """Folder of the revision that an entry belongs to."""
    depth = len(Path(model.filename).parts)
    return pointer.parents[depth - 1]


def pointers(model: Model) -> list[Path]:
    """Entries of the cache that lead to the model's file, the pinned revision's first."""
    snapshots = repo_folder(model) / "snapshots"
    entries = (snapshots / name / model.filename for name in names_in(snapshots))
    found = [p for p in entries if is_file(p) and not _is_another_version(model, p)]
    return sorted(found, key=lambda pointer: snapshot_of(model, pointer).name != model.revision)


def blob_of(pointer: Path) -> Path:
    """What the entry links to: one step only, because the blob may itself be a shared link."""
    if not is_link(pointer):
        return pointer
    return Path(os.path.normpath(pointer.parent / pointer.readlink()))


def _is_another_version(model: Model, pointer: Path) -> bool:
    """Whether the entry is a file that was never meant to be this one; other programs' business.

    The Hub names blobs of large files by their SHA-256.
    """
    name = blob_of(pointer).name
    if SHA256.fullmatch(name):
        return name != model.sha256
    pinned = snapshot_of(model, pointer).name == model.revision
    return not pinned and size_of(pointer) != model.size_bytes


def partial_files(model: Model) -> list[Path]:
    """Parts of downloads that were interrupted."""
    blobs = repo_folder(model) / "blobs"
    whole = re.compile(rf"{model.sha256}.*\.incomplete")
    return [blobs / name for name in names_in(blobs) if whole.fullmatch(name)]


def partial_size(model: Model) -> int:
    """Bytes of :func:`partial_files`."""
    return sum(map(size_of, partial_files(model)))


def size_of(path: Path) -> int:
    """Bytes of a file; 0 where that cannot be said."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0


def digest_of(model: Model, pointer: Path) -> str:
    """SHA-256 (hex) of the file an entry leads to. Raises ModelError where it cannot be read."""
    try:
        return checksum.sha256_of(pointer)
    except OSError as error:
        raise ModelError(
            f"{model.name}: {pointer} cannot be read ({error.strerror})",
            hint="check its permissions, or delete it and run again",
        ) from error


# Deleting


def discard(model: Model, pointer: Path) -> Path | None:
    """Take a file that is not the model's out of the cache, with every entry that leads to it.

    Returns the file where it is left: it lies outside the repository's own blobs, and somebody has
    linked it. Raises ModelError.
    """
    checksum.forget(pointer)
    blob, real = blob_of(pointer), real_path(pointer)
    same = [other for other in pointers(model) if real_path(other) == real]
    for entry in dict.fromkeys((pointer, *same)):
        _unlink(model, _own_entry(model, entry))
    if is_own_blob(model, blob):
        _unlink(model, blob)
    return real if is_file(real) else None


def other_file(pointer: Path, kept: Path) -> str:
    """What to say where :func:`discard` leaves a file."""
    return f"{pointer} led to another file ({kept}); that is left, and the link removed"


def delete(model: Model) -> int:
    """Take the model's file out of the cache, and parts of downloads. Returns the bytes freed.

    Entries go, and blobs that no other entry needs; folders where they are then empty. Raises
    ModelError.
    """
    found = pointers(model)
    freed = sum(_freed_by_unlinking(model, part) for part in partial_files(model))
    blobs = {blob_of(pointer) for pointer in found if is_link(pointer)}
    for pointer in found:
        checksum.forget(pointer)
    for entry in dict.fromkeys(_own_entry(model, pointer) for pointer in found):
        freed += _freed_by_unlinking(model, entry)
    kept = _linked_blobs(model)
    for blob in blobs:
        if is_own_blob(model, blob) and real_path(blob.parent) / blob.name not in kept:
            freed += _freed_by_unlinking(model, blob)
    _remove_empty_folders(model)
    return freed


def is_own_blob(model: Model, path: Path) -> bool:
    """Whether a path is an entry of the repository's own folder of blobs.

    Where that folder is a link to one elsewhere, which others may share, only the entry that the
    Hub calls by the model's checksum is.
    """
    blobs = real_path(repo_folder(model) / "blobs")
    inside = real_path(repo_folder(model)) in blobs.parents
    return real_path(path.parent) == blobs and (inside or path.name == model.sha256)


def _own_entry(model: Model, pointer: Path) -> Path:
    """What to unlink so that an entry is gone: itself, or the link that brings in its folder.

    Raises ModelError where neither lies in the repository's own folder.
    """
    repo = repo_folder(model)
    snapshots = repo / "snapshots"
    for path in (pointer, *pointer.parents):
        if path == snapshots:
            break
        if (path == pointer or is_link(path)) and real_path(repo) in real_path(path.parent).parents:
            return path
    raise ModelError(
        f"{model.name}: {pointer} lies outside the cache ({real_path(pointer)}), and is left",
        hint=f"remove {snapshots}, which is a link, then run again",
    )


def _linked_blobs(model: Model) -> set[Path]:
    """What the links in the repository's snapshots lead to."""
    links: set[Path] = set()
    for folder, folders, names in os.walk(repo_folder(model) / "snapshots"):
        paths = (Path(folder, name) for name in (*folders, *names))
        blobs = (blob_of(path) for path in paths if is_link(path))
        links.update(real_path(blob.parent) / blob.name for blob in blobs)
    return links


def _freed_by_unlinking(model: Model, path: Path) -> int:
    """Unlink a file or a link; bytes that this frees. Raises ModelError."""
    status = path.lstat()
    _unlink(model, path)
    return status.st_size if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 else 0


def _unlink(model: Model, path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(
            f"{model.name}: not all of it could be deleted ({path}: {error.strerror})",
            hint=f"check the permissions of {repo_folder(model)}",
        ) from error


def _remove_empty_folders(model: Model) -> None:
    """Remove snapshots that hold nothing, what names them, and then the folders around them."""
    repo = repo_folder(model)
    snapshots, refs, absent = repo / "snapshots", repo / "refs", repo / ".no_exist"
    for name in names_in(snapshots):
        _remove_if_empty(snapshots / name)
    left = names_in(snapshots)
    for ref in _files_below(refs):
        with contextlib.suppress(OSError, ValueError):
            if ref.read_text(encoding="ascii").strip() not in left:
                ref.unlink()  # the Hub library takes a cache for damaged that lacks a named one
    for marker in _files_below(absent):
        if size_of(marker) == 0 and marker.relative_to(absent).parts[0] not in left:
            with contextlib.suppress(OSError):
                marker.unlink()
    for folder in (refs, absent, snapshots, repo / "blobs", repo):
        _remove_if_empty(folder)


def _files_below(folder: Path) -> list[Path]:
    return [Path(here, name) for here, _, names in os.walk(folder) for name in names]


def _remove_if_empty(folder: Path) -> None:
    """Remove a folder in which there are none but empty folders; a link stays."""
    if is_link(folder) or not is_folder(folder):
        return
    for name in names_in(folder):
        _remove_if_empty(folder / name)
    with contextlib.suppress(OSError):  # something is in it
        folder.rmdir()
