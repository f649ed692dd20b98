"""Names of objects in stores: ``s3://bucket/key``, ``gs://``, ``az://``. No store is asked."""

import re
from pathlib import PurePosixPath
from typing import NamedTuple

SCHEMES = ("s3", "gs", "az")
_URL = re.compile(r"(?i)([a-z0-9]+)://([^/]*)(?:/(.*))?", re.S)
_BUCKET = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._$-]*")


class ObjectUrl(NamedTuple):
    """An object or, where the key is empty or ends in a slash, a prefix: ``s3://bucket/key``."""

    scheme: str
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}"

    @property
    def is_prefix(self) -> bool:
        """Whether it can be no object: a bucket, or what ends in a slash."""
        return self.key == "" or self.key.endswith("/")

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rstrip("/").rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """Of the name, with its dot and in lower case; of a prefix none."""
        return "" if self.is_prefix else PurePosixPath(self.key).suffix.lower()

    @property
    def as_prefix(self) -> "ObjectUrl":
        """The same as a prefix, with a slash at its end unless it is a whole bucket."""
        return self if self.is_prefix else self._replace(key=f"{self.key}/")

    def is_within(self, other: "ObjectUrl") -> bool:
        """Whether it is in another prefix, which may be the same."""
        there = other.as_prefix
        return (self.scheme, self.bucket) == (there.scheme, there.bucket) and self.key.startswith(
            there.key
        )

    def at(self, key: str) -> "ObjectUrl":
        """Another object of the same bucket."""
        return self._replace(key=key)

    def below(self, relative: str) -> "ObjectUrl":
        """What is called so below this prefix."""
        return self._replace(key=self.as_prefix.key + relative)


def is_url(text: str) -> bool:
    """Whether a text names an object or a prefix of a store that is known, well or badly."""
    found = _URL.match(text)
    return found is not None and found[1].lower() in SCHEMES


def parse_url(text: str) -> ObjectUrl:
    """The object or prefix of a URL; its key is what is written, and nothing in it is decoded.

    Raises ValueError, with what is wrong and without the URL.
    """
    found = _URL.fullmatch(text)
    if found is None or found[1].lower() not in SCHEMES:
        raise ValueError(f"is no URL of a store ({', '.join(f'{s}://' for s in SCHEMES)})")
    bucket, key = found[2], found[3] or ""
    if not _BUCKET.fullmatch(bucket):
        raise ValueError("names no bucket" if not bucket else f"{bucket!r} is no name of a bucket")
    wrong = why_no_key(key.removesuffix("/")) if key else None
    if wrong is not None:
        raise ValueError(wrong)
    return ObjectUrl(found[1].lower(), bucket, key)


def why_no_key(key: str) -> str | None:
    """Why a text is no key of an object that could be a file's path; None where it is one."""
    if any(ord(char) < 32 or ord(char) == 127 for char in key):
        return "has a control character in its name"
    if any("\ud800" <= char <= "\udfff" for char in key):
        return "has a name that is no UTF-8"
    if key.endswith("/"):
        return "ends in a slash: that is a prefix, and no object"
    parts = key.split("/")
    if "" in parts:
        return "has an empty part in its name (two slashes, or one at its start)"
    if "." in parts or ".." in parts:
        return "has a part . or .. in its name"
    return None
