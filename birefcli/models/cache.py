"""What the Hugging Face Hub library's cache on this machine holds of a model."""

import os
import re
from pathlib import Path

from birefcli.errors import ModelError
from birefcli.models import checksum
from birefcli.models.zoo import Model
from birefcli.system.paths import is_file, is_link

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
    found = [
        pointer
        for pointer in sorted(repo_folder(model).glob(f"snapshots/*/{model.filename}"))
        if is_file(pointer) and not _is_another_version(model, pointer)
    ]
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
    return not pinned and pointer.stat().st_size != model.size_bytes


def partial_files(model: Model) -> list[Path]:
    """Parts of downloads that were interrupted."""
    return sorted(repo_folder(model).glob(f"blobs/{model.sha256}*.incomplete"))


def partial_size(model: Model) -> int:
    """Bytes of :func:`partial_files`."""
    return sum(part.stat().st_size for part in partial_files(model))


def digest_of(model: Model, pointer: Path) -> str:
    """SHA-256 (hex) of the file an entry leads to. Raises ModelError where it cannot be read."""
    try:
        return checksum.sha256_of(pointer)
    except OSError as error:
        raise ModelError(
            f"{model.name}: {pointer} cannot be read ({error.strerror})",
            hint="check its permissions, or delete it and run again",
        ) from error


def discard(model: Model, pointer: Path) -> None:
    """Remove a damaged file, and every entry that leads to it. Raises ModelError."""
    checksum.forget(pointer)
    blob = blob_of(pointer)
    same = [other for other in pointers(model) if blob_of(other) == blob]
    try:
        for path in {pointer, *same, blob}:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(
            f"{model.name}: {blob} is damaged and cannot be removed ({error.strerror})",
            hint="delete it, then run again",
        ) from error
