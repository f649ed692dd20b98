"""From the Hugging Face Hub into its library's cache, resumable and verified."""

import contextlib
import errno
import io
import logging
import os
import re
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from birefcli.errors import Message, ModelError, Option
from birefcli.models import checksum
from birefcli.models.cache import (
    SHA256,
    cache_folder,
    cached,
    digest_of,
    discard,
    is_own_blob,
    other_file,
    repo_folder,
)
from birefcli.models.zoo import Model
from birefcli.system.paths import exists, is_file, is_link
from birefcli.system.secrets import without_secrets

# huggingface_hub takes a quarter of a second to import: only functions that need it do.
if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata
    from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

RETRY_SECONDS = 1.0
"""Wait before a second request, and before an interrupted transfer goes on."""
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
MINI, NEEDS_NONE = Option("model", "mini"), "`, which needs no download"
_BLOB_NAME = re.compile(r"[\w-][\w.-]{0,200}", re.ASCII)
_CHUNK = 1 << 20  # bytes
_HEADROOM = 16_000_000  # bytes to leave free on the disk beside the download


def download(model: Model, *, progress: bool) -> Path:
    """Download a model's file, verify it, and return its entry in the cache. Raises ModelError."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    with quiet_hub(), _small_chunks(), _as_model_error(model):
        blob = repo_folder(model) / "blobs" / _blob_name(model)
        lock = cache_folder() / ".locks" / repo_folder(model).name / f"{blob.name}.lock"
        for folder in (blob.parent, lock.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(lock):  # the library's own lock: no two programs fetch the same file
            if cached(model) is None and not _holds(model, blob):
                _fill(model, blob, progress=progress)
        # Finds the blob in its place, and gives it the entry under which the library looks it up.
        pointer = Path(hf_hub_download(str(model.repo), model.filename, revision=model.revision))
        if not is_link(pointer) and is_file(pointer) and is_own_blob(model, blob):
            blob.unlink(missing_ok=True)  # where links are not possible the library made a copy
    if digest_of(model, pointer) != model.sha256:
        if (kept := discard(model, pointer)) is not None:
            raise ModelError(f"{model.name}: {other_file(pointer, kept)}", hint="run again")
        raise _wrong_checksum(model)
    return pointer


def _holds(model: Model, blob: Path) -> bool:
    """Whether the model's file is there without an entry: a kill can come between the two."""
    return is_file(blob) and digest_of(model, blob) == model.sha256


def _blob_name(model: Model) -> str:
    """Name of the file's blob, asked of the Hub. Raises ModelError if it is another file."""
    metadata = _metadata(model)
    if metadata.commit_hash is None or metadata.etag is None:
        raise ModelError(
            f"{model.name}: {endpoint()} does not answer like a Hugging Face Hub",
            hint=Message("check HF_ENDPOINT and the proxy, or use `", MINI, NEEDS_NONE),
        )
    other_digest = SHA256.fullmatch(metadata.etag) and metadata.etag != model.sha256
    other_size = metadata.size is not None and metadata.size != model.size_bytes
    if other_digest or other_size:
        raise ModelError(
            f"{model.name}: {model.repo} now holds another file than the one birefcli knows",
            hint=Message(
                "update birefcli, or download that file yourself and give it as ",
                Option("model", "FILE"),
            ),
        )
    if not _BLOB_NAME.fullmatch(metadata.etag):
        raise ModelError(
            f"{model.name}: {endpoint()} gives its file no name that a file can have",
            hint=Message("check HF_ENDPOINT and the proxy, or use `", MINI, NEEDS_NONE),
        )
    return metadata.etag


def _metadata(model: Model) -> "HfFileMetadata":
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    url = hf_hub_url(str(model.repo), model.filename, revision=model.revision)
    try:
        return get_hf_file_metadata(url)
    except HfHubHTTPError as error:
        if error.response.status_code < 500:
            raise
    except Exception:
        pass  # broad as in _as_model_error; the second attempt raises it
    time.sleep(RETRY_SECONDS)
    return get_hf_file_metadata(url)


def _fill(model: Model, blob: Path, *, progress: bool) -> None:
    """Download into a part file, from where the last run stopped; then move it into place."""
    assert model.size_bytes is not None
    part = blob.with_name(f"{blob.name}.incomplete")
    if is_link(part) or (exists(part) and not 0 <= _bytes_in(part) <= model.size_bytes):
        part.unlink()  # a link would have the download written into somebody's file
    have = part.stat().st_size if exists(part) else 0
    free = shutil.disk_usage(part.parent).free
    if free < model.size_bytes - have + _HEADROOM:
        raise _disk_full(model, f", {free / 1e6:.0f} MB are free")
    with progress_bar(model.name, model.size_bytes, have, progress=progress) as bar:
        _transfer(model, part, model.size_bytes, bar)
    if checksum.measure_sha256(part) != model.sha256:
        checksum.forget(part)
        part.unlink()
        raise _wrong_checksum(model)
    checksum.forget(part)
    part.replace(blob)
    # The content is known to be right: spare the first use from reading it once more.
    checksum.trust(blob, str(model.sha256))


def _bytes_in(part: Path) -> int:
    """Bytes of a part file; -1 for a pipe or a device in its place."""
    return part.stat().st_size if is_file(part) else -1


def _transfer(model: Model, part: Path, size: int, bar: "tqdm") -> None:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    url = hf_hub_url(str(model.repo), model.filename, revision=model.revision)
    while True:
        before = part.stat().st_size if exists(part) else 0
        bar.update(before - bar.n)
        try:
            with _Part(part, bar) as file:
                http_get(
                    url,
                    file,
                    resume_size=before,
                    headers=build_hf_headers(),
                    expected_size=size,
                )
        except HfHubHTTPError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            after = part.stat().st_size
            if after > size and before:
                part.unlink()  # the server sent everything, not the rest: once more from the start
            elif not before < after <= size:
                raise ModelError(
                    f"{model.name}: the download broke off at {after / 1e6:.0f} of "
                    f"{model.megabytes} MB ({_reason(error)})",
                    hint="run again to go on from there",
                ) from error
            # The library retries not every way a connection can end. Each round here has new bytes:
            # the loop ends.
            time.sleep(RETRY_SECONDS)
        else:
            return


class _Part(io.BufferedWriter):
    """The part file, appended to; what is written moves the bar."""

    def __init__(self, path: Path, bar: "tqdm") -> None:
        super().__init__(io.FileIO(path, "ab"))
        self._bar = bar

    def write(self, data: bytes) -> int:  # type: ignore[override]  # all it is given
        self._bar.update(len(data))
        return super().write(data)

    def truncate(self, size: int | None = None) -> int:
        # The server would not resume and sends everything again.
        size = super().truncate(size)
        self._bar.update(size - self._bar.n)
        return size


def progress_bar(name: str, size: int, have: int, *, progress: bool) -> "tqdm":
    """A bar on stderr of a download of ``size`` bytes, ``have`` of which are there."""
    from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

    return tqdm(
        desc=name,
        total=size,
        initial=have,
        unit="B",
        unit_scale=True,
        file=sys.stderr,
        disable=not (progress and sys.stderr.isatty()),
    )


# Settings of the Hub library, while it is used


@contextlib.contextmanager
def quiet_hub() -> Iterator[None]:
    """Silence the Hub library's bars, log and warnings, unless its own variables want them."""
    if os.environ.get("HF_DEBUG") or os.environ.get("HF_HUB_VERBOSITY"):
        yield
        return
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )
    from huggingface_hub.utils import logging as log

    level, silent = log.get_verbosity(), are_progress_bars_disabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log.set_verbosity(logging.CRITICAL)
        disable_progress_bars()
        try:
            yield
        finally:
            log.set_verbosity(level)
            if not silent:
                enable_progress_bars()


@contextlib.contextmanager
def _small_chunks() -> Iterator[None]:
    """Write every megabyte: of the library's ten, a lost connection loses what is not written."""
    from huggingface_hub import constants

    step = constants.DOWNLOAD_CHUNK_SIZE
    constants.DOWNLOAD_CHUNK_SIZE = _CHUNK
    try:
        yield
    finally:
        constants.DOWNLOAD_CHUNK_SIZE = step


@contextlib.contextmanager
def _as_model_error(model: Model) -> Iterator[None]:
    """Turn errors of transport, Hub and disk into a ModelError with a hint."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except ModelError:
        raise
    except HfHubHTTPError as error:
        raise _refused(model, error.response.status_code) from error
    except Exception as error:
        # Broad on purpose: the errors of the transport are those of requests, httpx or a fork of
        # it, depending on the library's version, and share no class that all versions have.
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            raise _disk_full(model) from error
        if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
            raise ModelError(
                f"{model.name}: the cache cannot be written ({error.strerror}: {error.filename})",
                hint="set HF_HOME to a folder that can",
            ) from error
        raise _unavailable(model, f"{endpoint()} cannot be reached ({_reason(error)})") from error


def _refused(model: Model, status: int) -> ModelError:
    if status in (401, 403):
        return ModelError(
            f"{model.name}: {endpoint()} refuses {model.repo} (HTTP {status})",
            hint=Message(
                "it may have become private or gated: check HF_TOKEN, or use `", MINI, NEEDS_NONE
            ),
        )
    if status == 404:
        return ModelError(
            f"{model.name}: {endpoint()} has no {model.repo} with revision {model.revision} "
            "(HTTP 404)",
            hint=Message("check HF_ENDPOINT, update birefcli, or use `", MINI, "`"),
        )
    return _unavailable(model, f"{endpoint()} does not serve it now (HTTP {status})")


def _unavailable(model: Model, why: str) -> ModelError:
    return ModelError(
        f"{model.name}: not downloaded yet, and {why}",
        hint=Message(
            f"download it where there is a network (`birefcli models pull {model.name}`), or use `",
            MINI,
            "`, which is built in",
        ),
    )


def _wrong_checksum(model: Model) -> ModelError:
    return ModelError(
        f"{model.name}: the download has a wrong checksum and has been removed",
        hint="run again, and if that does not help, check HF_ENDPOINT and the proxy",
    )


def _disk_full(model: Model, detail: str = "") -> ModelError:
    return ModelError(
        f"{model.name}: no space for its {model.megabytes} MB in {cache_folder()}{detail}",
        hint="free some, or set HF_HOME to another disk",
    )


def _reason(error: Exception) -> str:
    text = without_secrets(" ".join(str(error).split()))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def endpoint() -> str:
    """The Hub that is asked, without a password."""
    from huggingface_hub import constants

    return without_secrets(constants.ENDPOINT)
