"""SHA-256 of large files, computed once and remembered while the file stays as it is.

The digests lie in ``$XDG_CACHE_HOME/birefcli/digests`` (``~/.cache`` where that is not
set), one small file for each weights file. They are not beside the weights: that folder belongs to
the Hub library, may be shared between users, and may be read-only. A weights file counts as
unchanged while its real path, size and modification time are the same. Losing this folder costs a
few seconds of hashing and nothing else.
"""

import contextlib
import hashlib
import json
import os
from pathlib import Path

from birefcli.system.atomic import replace_file
from birefcli.system.paths import expanded
from birefcli.system.regular_file import open_regular

_BLOCK = 1 << 20  # bytes read at a time: large enough to be fast, small enough for any machine


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of the file, from memory where that still holds. OSError if unreadable."""
    return remembered(path) or measure_sha256(path)


def measure_sha256(path: Path) -> str:
    """SHA-256 (hex) of the file as it is on disk now, remembered for later."""
    state = _state(path)
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    # A file that changed while it was read must not be remembered under either state.
    if _state(path) == state:
        _remember(path, state, digest.hexdigest())
    return digest.hexdigest()


def remembered(path: Path) -> str | None:
    """SHA-256 (hex) measured earlier, or None if there is none or the file has changed since."""
    try:
        record = json.loads(_record_of(path).read_text(encoding="utf-8"))
        return str(record["sha256"]) if record["file"] == _state(path) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def trust(path: Path, digest: str) -> None:
    """Remember a digest that was measured on this content before it came to be at ``path``."""
    _remember(path, _state(path), digest)


def forget(path: Path) -> None:
    """Drop what is remembered about the file, if anything."""
    with contextlib.suppress(OSError):
        _record_of(path).unlink()


def _remember(path: Path, state: list[str | int], digest: str) -> None:
    record = _record_of(path)
    # Remembering is a convenience: a full disk or a read-only home must not stop the work.
    with contextlib.suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        replace_file(record, json.dumps({"file": state, "sha256": digest}).encode())


def _state(path: Path) -> list[str | int]:
    """Real path, bytes and modification time (ns): equal for a file that is unchanged."""
    stat = path.stat()
    return [os.path.realpath(path), stat.st_size, stat.st_mtime_ns]


def _record_of(path: Path) -> Path:
    """Where the digest of a file is remembered."""
    base = expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    key = hashlib.sha256(os.path.realpath(path).encode(errors="surrogateescape")).hexdigest()
    return base / "birefcli" / "digests" / f"{key[:32]}.json"
