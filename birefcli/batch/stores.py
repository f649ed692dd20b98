"""Photos and products that are objects of a store.

What is known of an object comes from a listing, and travels with it as a plain value: a run asks
for a photo once, when its turn comes.
"""

import errno
import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from birefcli.batch.places import (
    ABSENT,
    CHANGED,
    MADE_BY_US,
    Admit,
    LeftAloneError,
    Look,
    State,
    left_alone,
)
from birefcli.errors import Message, OutputError, PhotoError
from birefcli.images import stamp
from birefcli.images.stamp import StampedFile
from birefcli.system.object_faults import (
    ObjectChangedError,
    ObjectDeniedError,
    ObjectError,
    ObjectExistsError,
    ObjectNotFoundError,
    object_error,
)
from birefcli.system.object_store import NO_OBJECT, ObjectEntry, store_for
from birefcli.system.object_url import ObjectUrl, parse_url, why_no_key
from birefcli.system.prefetch import prefetch

In = TypeVar("In")
Out = TypeVar("Out")
LOOKS = 256  # small requests at once: they wait for the store, and for nothing of this machine
NOT_IMPLEMENTED = 501  # HTTP: what a store says of conditions that it does not know
BLOCK = 1 << 18  # bytes that each of them reads at once, of a product that is read whole
TYPES = {
    **{".png": "image/png", ".webp": "image/webp", ".tif": "image/tiff", ".tiff": "image/tiff"},
    **{".jpg": "image/jpeg", ".jpeg": "image/jpeg"},
}
"""What browsers are told of a product, by its suffix."""


@dataclass(frozen=True)
class StoredPhoto:
    """An object that is a photo."""

    url: ObjectUrl
    entry: ObjectEntry | None
    """As it was listed; None where it was not."""
    trouble: str = ""
    """Why nothing can be read there."""
    searched: bool = False
    """Whether it was found below a prefix, where a product of ours is no photo."""

    def __str__(self) -> str:
        return str(self.url)

    @property
    def label(self) -> str:
        """Its URL."""
        return str(self.url)

    @property
    def comes_by_pipe(self) -> bool:
        """False."""
        return False

    @property
    def is_remote(self) -> bool:
        """True: it is fetched ahead of its turn."""
        return True

    @property
    def keys(self) -> tuple[str, ...]:
        """Its URL: stores tell A from a."""
        return (str(self.url),)

    def absence(self) -> str | None:
        """What was found out when it was looked for."""
        return self.trouble or (None if self.entry is not None else "no such object")

    def state(self) -> State | None:
        """Size, and a number of the ETag: the same bytes uploaded again are the same photo."""
        return None if self.entry is None else _state(self.entry)

    def read(
        self, max_pixels: int, before_large: Admit, patience: float | None
    ) -> tuple[bytes, State]:
        """Read the object as it was listed; a large one's header first."""
        from birefcli.images.reading import read_photo  # help and planning need none

        assert self.entry is not None, "what is not there is no job"
        try:
            with store_for(self.url).open(self.entry) as file:
                data = read_photo(file, max_pixels, before_large)
        except ObjectChangedError:
            raise PhotoError(CHANGED) from None
        if self.searched and stamp.of_bytes(data) is not None:
            raise LeftAloneError(Message(MADE_BY_US))
        return data, _state(self.entry)

    def listed_as(self, relative: Path) -> str | None:
        """Its URL, which tells the part that is kept below the output folder."""
        below = relative.as_posix()
        root = str(self.url).removesuffix(below)
        return f"{root}./{below}" if root.endswith("/") else str(self.url)


@dataclass(frozen=True)
class StoredProduct:
    """An object that a product is written to."""

    url: ObjectUrl
    entry: ObjectEntry | None = None
    """As it was listed, where it is there."""
    is_listed: bool = False
    seen: State | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return str(self.url)

    @property
    def key(self) -> str | None:
        """Its URL."""
        return str(self.url)

    @property
    def waits(self) -> bool:
        """False: a store has its own limits."""
        return False

    @property
    def is_remote(self) -> bool:
        """True: it is written while others are encoded."""
        return True

    def find(self, *, again: bool = False) -> "StoredProduct | None":
        """Itself where it is in the listing; without one, it is asked for once.

        Raises OSError, also for a name that no object can have.
        """
        wrong = why_no_key(self.url.key)
        if wrong is not None:
            raise object_error(errno.EINVAL, wrong, str(self.url))
        entry = self.entry if self.is_listed and not again else self._asked()
        return None if entry is None else replace(self, entry=entry, is_listed=True)

    def if_absent(self) -> "StoredProduct":
        """The object where none has its URL."""
        return replace(self, seen=ABSENT)

    @contextmanager
    def look(self) -> Iterator[Look]:
        """The object as it was listed: one read of the end that has its stamp, the rest by blocks.

        An object is whole. Its version is its ETag; without one there is only its time, which
        listings and answers tell in other units.
        """
        entry = self.entry if self.is_listed else self._asked()
        if entry is None:
            raise object_error(errno.ENOENT, "no such object", str(self.url))
        made = read_stamp(self.url, entry)
        found = StampedFile(True, made, blank=entry.size == 0, length=entry.size)
        seen = _state(entry) if entry.etag else None
        with store_for(self.url).open(entry, BLOCK) as file:
            yield Look(found, file, replace(self, entry=entry, is_listed=True, seen=seen))

    def write(self, data: bytes) -> None:
        """Write the object, whole or not at all; where it must not be there, only if it is not."""
        if self.seen == ABSENT:
            self._create(data)
        elif self.seen is None or self._asked_state() in (self.seen, None):
            self._put(data)
        else:
            raise left_alone(self, data)

    def _create(self, data: bytes) -> None:
        try:
            self._put(data, create_only=True)
        except ObjectExistsError:
            raise left_alone(self, data) from None
        except ObjectError as error:
            if error.errno != errno.ENOTSUP and error.status != NOT_IMPLEMENTED:
                raise
            # The store knows no conditions, or they are switched off: then a look must do.
            if self._asked() is not None:
                raise left_alone(self, data) from None
            self._put(data)

    def _put(self, data: bytes, *, create_only: bool = False) -> None:
        kind = TYPES.get(self.url.suffix, "")
        store_for(self.url).write(self.url.key, data, create_only=create_only, content_type=kind)

    def meets_all(self, error: OSError, relative: Path) -> bool:
        """Whether the bucket is gone, full, or closed to us; a single key may be closed, too."""
        if isinstance(error, ObjectNotFoundError):
            return error.code not in NO_OBJECT
        if isinstance(error, ObjectDeniedError):
            return self._is_closed("/".join(self.url.key.split("/")[: -len(relative.parts)]))
        return error.errno == errno.ENOSPC

    def _is_closed(self, prefix: str) -> bool:
        try:
            store_for(self.url).check_writable(prefix)
        except OSError as error:
            return isinstance(error, ObjectDeniedError)
        return False

    def _asked_state(self) -> State | None:
        entry = self._asked()
        return None if entry is None else _state(entry)

    def _asked(self) -> ObjectEntry | None:
        try:
            return store_for(self.url).head(self.url.key)
        except FileNotFoundError:
            return None


def _state(entry: ObjectEntry) -> State:
    """Size, and a number of 63 bits: another for another ETag; without one, for another time."""
    if not entry.etag:
        return entry.size, entry.modified_ns
    return entry.size, int.from_bytes(hashlib.sha256(entry.etag.encode()).digest()[:8], "big") >> 1


def read_stamp(url: ObjectUrl, entry: ObjectEntry) -> stamp.Stamp | None:
    """The stamp of an object, in one small read, or two of a PNG that begins with none.

    Raises OSError.
    """
    if entry.size == 0:
        return None
    store, last = store_for(url), max(0, entry.size - stamp.WINDOW)
    at = last if stamp.is_at_end(url.suffix) else 0
    window = store.read_range(entry.key, at, stamp.WINDOW, entry.etag)
    found = stamp.of_window(window, at_end=at + len(window) == entry.size)
    if found is None and at < last and stamp.may_be_at_end(window):
        tail = store.read_range(entry.key, last, stamp.WINDOW, entry.etag)
        return stamp.of_window(tail, at_end=True)
    return found


@contextmanager
def listing(prefix: ObjectUrl) -> Iterator[None]:
    """Within it, a failure to list an output's prefix, or to look at what is there, ends the run.

    Raises OutputError.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(f"{prefix}: cannot be listed: {error.strerror}") from error


# Finding photos


def find_photo(url: ObjectUrl) -> StoredPhoto | None:
    """The object that is called just so; None where there is none. Raises OSError."""
    if url.is_prefix:
        return None
    try:
        return StoredPhoto(url, store_for(url).head(url.key))
    except FileNotFoundError:
        return None


def photos_below(
    prefix: ObjectUrl, on_error: Callable[[OSError], None]
) -> Iterator[tuple[Path, StoredPhoto]]:
    """Every object below a prefix, and its path there, whatever it is. Raises OSError.

    ``on_error``: for folders with names in them that are no paths, which are left out.
    """
    start = len(prefix.key)
    for entry in store_for(prefix).list(prefix.key, on_error):
        yield Path(entry.key[start:]), StoredPhoto(prefix.at(entry.key), entry, searched=True)


def listed_photos(names: Iterable[str]) -> Iterator[StoredPhoto | tuple[str, str]]:
    """The objects of a list, asked for many at once; (name, reason) for what is no URL."""
    return in_order(_listed_photo, names)


def _listed_photo(name: str) -> StoredPhoto | tuple[str, str]:
    try:
        url = parse_url(name.replace("/./", "/", 1))
    except ValueError as error:
        return name, str(error)
    if url.is_prefix:
        return name, "is a prefix, and lists name photos; name it on the command line"
    try:
        return StoredPhoto(url, store_for(url).head(url.key))
    except OSError as error:
        return StoredPhoto(url, None, trouble=error.strerror or str(error))


def is_product(photo: StoredPhoto) -> bool:
    """Whether an object that was listed is a product of ours, by a small read. Raises OSError."""
    return stamp_of(photo) is not None


def stamp_of(photo: StoredPhoto) -> stamp.Stamp | None:
    """The stamp of an object that was listed, by a small read; None where it has none.

    None as well for one that somebody writes or deletes just now: what has become of it is seen
    when it is read. Raises OSError.
    """
    assert photo.entry is not None, "it was listed"
    try:
        return read_stamp(photo.url, photo.entry)
    except (ObjectChangedError, ObjectNotFoundError):
        return None


def in_order(call: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
    """Results of small requests, many at once, in the order of what was asked."""
    pool = ThreadPoolExecutor(LOOKS, "look")
    try:
        for future in prefetch(pool, call, items, 2 * LOOKS):
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
