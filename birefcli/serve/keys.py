"""Keys of those who may ask: a file of names and keys, or of their digests."""

import hashlib
import hmac
import re
from pathlib import Path

from birefcli.errors import UsageError

SHA256 = re.compile(r"sha256:([0-9a-f]{64})", re.IGNORECASE)


class Keys:
    """What a file of keys says: a line each, ``name key`` or ``name sha256:DIGEST``."""

    def __init__(self, path: Path) -> None:
        """Raises UsageError."""
        self._path = path
        self._digests = _read(path)

    def reload(self) -> None:
        """Read the file again; what was known stays where it cannot be. Raises UsageError."""
        self._digests = _read(self._path)

    @property
    def counted(self) -> str:
        """How many there are, in words."""
        count = len(self._digests)
        return "1 key" if count == 1 else f"{count} keys"

    def name_of(self, key: str) -> str | None:
        """Whose key this is, as a header has it; None for a wrong one.

        It takes the same time whichever it is.
        """
        digest = hashlib.sha256(key.encode("latin-1", "replace")).digest()  # the bytes as they came
        found = None
        for known, name in self._digests.items():
            if hmac.compare_digest(known, digest):
                found = name
        return found


def _read(path: Path) -> dict[bytes, str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise UsageError(f"cannot be read: {why}", option="keys", value=path) from error
    digests: dict[bytes, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or line.lstrip().startswith("#"):
            continue
        if len(words) != 2:
            wrong = f"line {number} is no name and key"
            raise UsageError(wrong, option="keys", value=path)
        name, key = words
        known = SHA256.fullmatch(key)
        if key.lower().startswith("sha256:") and known is None:
            wrong = f"line {number}: 64 hexadecimal digits follow sha256:"
            raise UsageError(wrong, option="keys", value=path)
        digest = bytes.fromhex(known[1]) if known else hashlib.sha256(key.encode()).digest()
        if digest in digests:
            wrong = f"line {number}: {digests[digest]} has the same key as {name}"
            raise UsageError(wrong, option="keys", value=path)
        digests[digest] = name
    if not digests:
        raise UsageError("holds no key; a line is: NAME KEY", option="keys", value=path)
    return digests
