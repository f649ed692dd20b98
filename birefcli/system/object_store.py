"""Objects in a store by URL: ``s3://``, ``gs://``, ``az://``. List, read and write them.

What fails for a moment is tried again with growing pauses. All that fails is an OSError with the
URL as its ``filename`` and the store's own word as its ``strerror`` (:mod:`.object_faults`); so
what handles files handles objects. An object appears whole or not at all.
"""

import errno
import io
import math
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeVar

from birefcli.system.atomic import part_name
from birefcli.system.object_access import CREDENTIALS, Backend, open_backend
from birefcli.system.object_faults import (
    ObjectChangedError,
    ObjectError,
    ObjectExistsError,
    ObjectNotFoundError,
    is_panic,
    object_error,
    translated,
)
from birefcli.system.object_url import ObjectUrl

if TYPE_CHECKING:
    from obstore import GetOptions, ListResult, ObjectMeta, PutMode

# obstore takes its time to import, and is an extra: only functions that need it import it.

PATIENCE = 60.0  # seconds within which a call is tried again
UNREACHED = 5.0  # of these, where a store has never answered: its address is wrong, then
FIRST_PAUSE = 0.2  # seconds, which double with every try
LONGEST_PAUSE = 8.0
STALL = 20.0  # seconds without a byte after which a request counts as lost
SLOWEST = 1e5  # bytes a second that are sent at least: an answer comes only after the last of them
PAGE = 1000  # objects of a listing held at once; no store sends more in one answer

BLOCK = 1 << 20  # bytes of a file in a store that are read at once, where not all of it is

Out = TypeVar("Out")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NO_OBJECT = ("NoSuchKey", "BlobNotFound")  # codes of stores that have the bucket
_NO_TAG = '"00000000000000000000000000000000"'  # an ETag that no object has
_NO_GENERATION = "1"  # of an object in Google's store, where they count microseconds


class ObjectEntry(NamedTuple):
    """An object in a listing."""

    key: str
    size: int
    """Bytes."""
    etag: str
    """In quotes, the same in a listing as of the object; empty where the store has none."""
    modified_ns: int
    """Since 1970."""


@cache
def store_of(scheme: str, bucket: str) -> "ObjectStore":
    """The client of a bucket in this process."""
    return ObjectStore(scheme, bucket)


def store_for(url: ObjectUrl) -> "ObjectStore":
    """The client of a URL's bucket in this process."""
    return store_of(url.scheme, url.bucket)


def _raise(error: OSError) -> None:
    raise error


class ObjectStore:
    """A bucket. Many threads may use it; a process that gets it by pickle makes its own.

    All methods raise OSErrors (:mod:`.object_faults`), and UsageError where obstore is not there.
    Keys are those of the bucket.
    """

    def __init__(self, scheme: str, bucket: str, backend: "Backend | None" = None) -> None:
        """Nothing is asked. ``backend``: what is used in the place of a client by URL."""
        self.scheme, self.bucket = scheme, bucket
        self._backend = backend
        self._clients: dict[float, Backend] = {}
        self._lock = threading.Lock()
        self._has_answered = False

    def __reduce__(self) -> tuple[Callable[[str, str], "ObjectStore"], tuple[str, str]]:
        return store_of, (self.scheme, self.bucket)

    def url(self, key: str) -> str:
        """The URL of a key."""
        return str(ObjectUrl(self.scheme, self.bucket, key))

    # Read

    def list(
        self, prefix: str = "", on_error: Callable[[OSError], None] = _raise
    ) -> Iterator[ObjectEntry]:
        """Objects below a prefix, which ends with a slash or is taken as if it did.

        They come page by page, in the order of the store: of their names' bytes. ``on_error`` is
        called for folders that cannot be listed as they hold a name that is no path, like
        ``a//b``; all below them are left out where it does not raise.
        """
        folder, last = prefix.strip("/"), None
        patience = self._patience()
        while True:
            try:
                for page in self._pages(folder, last):
                    patience = self._patience()  # it answers: what fails next is a new fault
                    for entry in page:
                        yield entry
                        last = entry.key
            except ObjectError as error:
                if error.errno == errno.EILSEQ:
                    yield from self._by_level(folder, last, on_error)
                    return
                patience.after(error)
            else:
                return

    def head(self, key: str) -> ObjectEntry:
        """Size, ETag and time of an object."""
        try:
            return _entry(self._persist(key, lambda: self._client().head(key)))
        except ObjectError as error:
            if error.status not in (400, 401, 403):
                raise
            self.read_range(key, 0, 1)  # the store's word comes with a body alone
            raise

    def read(self, key: str, if_match: str = "") -> bytes:
        """A whole object; of this ETag, where one is given (else ESTALE)."""
        return self._get(key, None, if_match)

    def read_range(self, key: str, start: int, length: int, if_match: str = "") -> bytes:
        """At most ``length`` bytes of an object from ``start`` on; none beyond its end."""
        if length <= 0:
            return b""
        try:
            return self._get(key, (start, start + length), if_match)
        except ObjectError as error:
            if error.status == 416:  # it ends before
                return b""
            raise

    def check_readable(self, prefix: str = "") -> None:
        """See that a prefix can be listed, and the first object below it read."""
        first = next(self.list(prefix), None)
        if first is None:
            return
        with suppress(ObjectNotFoundError):  # deleted since, or the mark of a folder
            self.head(first.key)

    def open(self, entry: ObjectEntry, block: int = BLOCK) -> BinaryIO:
        """An object as a file to read, as it was listed (else ESTALE).

        Asked for all of it, it is read at once; else by blocks, where something is read.
        """
        return io.BufferedReader(_ObjectFile(self, entry), block)

    # Write

    def write(
        self, key: str, data: bytes, *, create_only: bool = False, content_type: str = ""
    ) -> None:
        """Write an object, whole or not at all. ``create_only``: EEXIST where it is there."""
        tries = 0

        def put() -> None:
            nonlocal tries
            tries += 1
            self._client(len(data)).put(
                key,
                data,
                attributes={"Content-Type": content_type} if content_type else None,
                mode="create" if create_only else "overwrite",
                use_multipart=False,
            )

        try:
            self._persist(key, put)
        except ObjectExistsError:
            # The first try may have done it, and its answer was lost.
            if tries == 1 or not self._holds(key, data):
                raise

    def check_writable(self, prefix: str = "") -> None:
        """See that objects can be written below a prefix. Nothing is left behind.

        A new object is offered in the place of one that cannot be there: whoever may write hears
        that it is not, and others that they may not.
        """
        key = ObjectUrl(self.scheme, self.bucket, prefix).below(part_name()).key
        never: PutMode = {"e_tag": _NO_TAG, "version": _NO_GENERATION}

        def put() -> None:
            self._client().put(key, b"", mode=never, use_multipart=False)

        try:
            self._persist(key, put)
        except ObjectChangedError:
            return
        except ObjectNotFoundError as error:
            if error.code not in NO_OBJECT:  # the bucket is not there
                raise
        except ObjectError as error:
            if error.errno != errno.ENOTSUP:
                raise
            next(self.list(prefix), None)  # conditions are switched off: more cannot be known
        else:
            # A store that knows no conditions has written it.
            self._persist(key, lambda: self._client().delete(key))

    # One request, and its faults

    def _client(self, sent: int = 0) -> Backend:
        """What asks for us; it allows for the time that ``sent`` bytes take."""
        if self._backend is not None:
            return self._backend
        # A limit on silence counts from a request's first byte to the answer's. So slow uploads
        # have clients of their own, a few.
        allowed = STALL * 2 ** math.ceil(math.log2(max(1.0, (sent / SLOWEST) / STALL)))
        with self._lock:
            if allowed not in self._clients:
                self._clients[allowed] = open_backend(self.scheme, self.bucket, allowed)
            return self._clients[allowed]

    def _persist(self, key: str, call: Callable[[], Out]) -> Out:
        """What a call returns that is tried again while its faults may pass."""
        patience = self._patience()
        while True:
            try:
                return self._ask(key, call)
            except ObjectError as error:
                patience.after(error)

    def _ask(self, key: str, call: Callable[[], Out]) -> Out:
        """What a call of obstore's returns, with its exceptions translated."""
        self._client()  # without obstore there are no exceptions of it
        from obstore.exceptions import BaseError

        try:
            result = _interruptible(call)
        except ObjectError:
            raise
        except BaseException as error:
            known = (BaseError, OSError, ValueError, NotImplementedError)
            if not isinstance(error, known) and not is_panic(error):
                raise
            fault = translated(error, self.url(key), CREDENTIALS[self.scheme])
            self._has_answered |= not fault.is_unreachable
            raise fault from None
        self._has_answered = True
        return result

    def _patience(self) -> "_Patience":
        return _Patience(PATIENCE, PATIENCE if self._has_answered else min(PATIENCE, UNREACHED))

    def _get(self, key: str, span: tuple[int, int] | None, if_match: str) -> bytes:
        def get() -> bytes:
            options: GetOptions = {} if span is None else {"range": span}
            if if_match:
                options["if_match"] = if_match
            result = self._client().get(key, options=options)
            data = result.bytes().to_bytes()
            first, end = result.range
            if len(data) != end - first:
                short = f"{len(data)} bytes came of {end - first}"
                fault = object_error(errno.ETIMEDOUT, short, self.url(key))
                fault.is_transient = True
                raise fault
            return data

        return self._persist(key, get)

    def _holds(self, key: str, data: bytes) -> bool:
        """Whether an object has just this content."""
        try:
            return self.head(key).size == len(data) and self.read(key) == data
        except OSError:
            return False

    # Pages of a listing

    def _pages(self, folder: str, after: str | None) -> Iterator[Sequence[ObjectEntry]]:
        """Pages of a listing from a name on, which is left out; without a second try."""
        stream = self._ask(
            folder, lambda: self._client().list(folder or None, offset=after, chunk_size=PAGE)
        )
        while page := self._ask(folder, lambda: next(stream, None)):
            yield [_entry(found) for found in page]

    def _level(self, folder: str) -> "ListResult[Sequence[ObjectMeta]]":
        return self._client().list_with_delimiter(folder or None)

    def _by_level(
        self, folder: str, after: str | None, on_error: Callable[[OSError], None]
    ) -> Iterator[ObjectEntry]:
        """What :meth:`list` gives after a name, folder by folder: a bad name spoils only its own.

        A page with a name in it that is no path cannot be had of obstore, whatever else it holds.
        """
        waiting = [folder]
        while waiting:
            here = waiting.pop()
            try:
                found = self._persist(here, partial(self._level, here))
            except ObjectError as error:
                if error.errno != errno.EILSEQ:
                    raise
                on_error(_unlistable(error, self.url(f"{here}/" if here else "")))
                continue
            waiting += reversed(found["common_prefixes"])
            for entry in map(_entry, found["objects"]):
                if after is None or entry.key > after:
                    yield entry


def _interruptible(call: Callable[[], Out]) -> Out:
    """What a call of obstore's returns; signals are heard meanwhile, which it does not let in."""
    if threading.current_thread() is not threading.main_thread():
        return call()
    result: Future[Out] = Future()

    def run() -> None:
        try:
            result.set_result(call())
        except BaseException as error:
            result.set_exception(error)

    # No pool's: Python would wait for those before it ends.
    threading.Thread(target=run, daemon=True).start()
    return result.result()


class _ObjectFile(io.RawIOBase):
    """An object that is read where it is asked for."""

    def __init__(self, store: ObjectStore, entry: ObjectEntry) -> None:
        """Nothing is read yet."""
        self.store, self.entry = store, entry
        self.at = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True: what is skipped is not read."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; none is asked of the store."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.entry.size}[whence]
        self.at = max(0, start + offset)
        return self.at

    def tell(self) -> int:
        """Where it is read next."""
        return self.at

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Read a block."""
        size = min(len(buffer), max(0, self.entry.size - self.at))
        data = self.store.read_range(self.entry.key, self.at, size, self.entry.etag)
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)

    def readall(self) -> bytes:
        """Read what is left, in one request."""
        left = max(0, self.entry.size - self.at)
        whole = left == self.entry.size
        key, etag = self.entry.key, self.entry.etag
        data = (
            self.store.read(key, etag) if whole else self.store.read_range(key, self.at, left, etag)
        )
        self.at += len(data)
        return data


class _Patience:
    """How long a call is tried again, and the pauses between its tries."""

    def __init__(self, limit: float, unreachable: float) -> None:
        """Seconds in all; and where the store cannot be reached."""
        self.started = time.monotonic()
        self.limit, self.unreachable = limit, unreachable
        self.pause = FIRST_PAUSE

    def after(self, error: ObjectError) -> None:
        """Wait before the next try; raises the error where it will not pass, or time is over."""
        limit = self.unreachable if error.is_unreachable else self.limit
        # Whoever failed together must not come again together.
        pause = self.pause * random.uniform(0.5, 1)
        spent = time.monotonic() - self.started
        if not error.is_transient:
            raise error
        if spent + pause > limit:
            if spent >= 1:
                error.strerror = f"{error.strerror} (tried for {spent:.0f} s)"
            raise error
        time.sleep(pause)
        self.pause = min(2 * self.pause, LONGEST_PAUSE)


def _entry(found: "ObjectMeta") -> ObjectEntry:
    tag = found["e_tag"] or ""
    # Azure's listings have it without quotes.
    quoted = tag if not tag or tag.startswith(('"', "W/")) else f'"{tag}"'
    microseconds = (found["last_modified"] - _EPOCH) // timedelta(microseconds=1)
    return ObjectEntry(found["path"], found["size"], quoted, 1000 * microseconds)


def _unlistable(error: ObjectError, url: str) -> ObjectError:
    named = re.search(r'[Pp]ath "(.*?)"(?: contained|: )', error.strerror or "")
    told = f"holds {named[1]!r}" if named else f"holds a name that is no path ({error.strerror})"
    wrong = "which is no path; rename it, then run again"
    return object_error(errno.EINVAL, f"cannot be listed: it {told}, {wrong}", url)
