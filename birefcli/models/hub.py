"""Known models between the Hugging Face Hub and this machine: find, download, verify, remove.

The files live in the Hub library's own cache, so that other programs share them, and its
environment variables hold: HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, HF_ENDPOINT, HF_TOKEN.

The library finds, authenticates, transfers and links. Three things are done here because it does
not do them: an interrupted download goes on in the next run, a file enters the cache only when its
checksum is right, and a file that is in the cache costs no request at all.
"""

from enum import StrEnum
from pathlib import Path

from birefcli.errors import Message, ModelError, Option
from birefcli.models import checksum
from birefcli.models.cache import (
    cached,
    delete,
    digest_of,
    discard,
    other_file,
    partial_size,
    size_of,
)
from birefcli.models.download import download
from birefcli.models.zoo import Model

# huggingface_hub takes a quarter of a second to import: only functions that need it do.


class State(StrEnum):
    """What the cache holds of a model."""

    MISSING = "missing"
    PARTIAL = "partial"
    """An interrupted download; pulling it again goes on from there."""
    CACHED = "cached"
    """There, with the right size; its checksum has not been compared on this machine."""
    VERIFIED = "verified"
    """There, with the right checksum, and unchanged since that was found."""
    DAMAGED = "damaged"


def fetch(model: Model, *, offline: bool = False, progress: bool = True) -> Path:
    """Local path of the model's file, downloaded if need be; its checksum is right.

    With the file in the cache no request is made. ``progress`` shows a bar on stderr where that
    is a terminal. Raises ModelError if the file is not cached and cannot be downloaded, or is
    damaged; a damaged one has then been removed.
    """
    pointer = cached(model)
    if pointer is None:
        if offline or is_offline():
            raise _forbidden(model)
        return download(model, progress=progress)
    if digest_of(model, pointer) != model.sha256:
        kept = discard(model, pointer)
        wrong = (
            f"the file in the cache was damaged and has been removed ({pointer})"
            if kept is None
            else other_file(pointer, kept)
        )
        raise ModelError(
            f"{model.name}: {wrong}",
            hint=f"run `birefcli models pull {model.name}` to download it again",
        )
    return pointer


def _forbidden(model: Model) -> ModelError:
    pull = f"without them run `birefcli models pull {model.name}`, or use `"
    return ModelError(
        Message(
            f"{model.name}: not downloaded yet, and ",
            Option("offline"),
            " or HF_HUB_OFFLINE forbids it",
        ),
        hint=Message(pull, Option("model", "mini"), "`, which is built in"),
    )


def state(model: Model) -> State:
    """State of a model, without a request and without reading its file."""
    pointer = cached(model)
    if pointer is None:
        return State.PARTIAL if partial_size(model) else State.MISSING
    if size_of(pointer) != model.size_bytes:
        return State.DAMAGED
    match checksum.remembered(pointer):
        case None:
            return State.CACHED
        case model.sha256:
            return State.VERIFIED
        case _:
            return State.DAMAGED


def verify(model: Model) -> State:
    """As :func:`state`, after reading the whole file. ModelError if it cannot be read."""
    pointer = cached(model)
    if pointer is not None:
        checksum.forget(pointer)
        digest_of(model, pointer)
    return state(model)


def discard_damaged(model: Model) -> None:
    """Remove the cached file if it is known to be damaged, so that it is downloaded again."""
    pointer = cached(model)
    if pointer is not None and state(model) is State.DAMAGED:
        discard(model, pointer)


def remove(model: Model) -> int:
    """Take the model out of the cache, parts of downloads too. Returns the bytes freed.

    Nothing else of its repository is deleted, and nothing that lies elsewhere and is only linked.
    Raises ModelError if something of it cannot be deleted.
    """
    return delete(model)


def is_offline() -> bool:
    """Whether the environment forbids requests (HF_HUB_OFFLINE)."""
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE
