"""Where photos come from and products go: files, and the streams of this process.

What plans a batch, does it or reports it sees a :class:`Source` and a :class:`Target`, and does not
ask which kind it is. They are plain values, which may travel to another process.
"""

import errno
import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias

from birefcli.errors import Message, PhotoError
from birefcli.images import stamp
from birefcli.images.files import entry_key
from birefcli.images.stamp import Stamp, StampedFile, has_own_pixels
from birefcli.system.atomic import create_file, replace_file
from birefcli.system.paths import is_file, is_link, is_pipe, real_path
from birefcli.system.pipes import open_pipe
from birefcli.system.regular_file import open_regular, regular_status
from birefcli.system.streams import STDOUT

PIPE = "-"
MADE_BY_US = "made by birefcli"
"""Why a product of an earlier run is no photo of this one."""
CHANGED = "changed while it was read; run again when it is complete"
OVERTAKEN = Message("changed since the run began; the next run looks at it again")
"""Why what lies at a target is left, that lay there not yet, or otherwise, when it was decided."""
MADE_MEANWHILE = Message("made by another run meanwhile")
"""The same, of a product that was made of the same photo in the same way."""

State: TypeAlias = tuple[int, int]
"""A file's size in bytes, and its modification time in ns or another number of its version."""
ABSENT: State = (-1, -1)
"""That of no file, where none must be."""

Admit: TypeAlias = Callable[[int, int], object]
"""Called with the pixels and the bytes of a large photo before it is read; it may wait."""

# What would meet every photo after this one as well: a disk that is full, locked or gone.
DISK_TROUBLE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENXIO, errno.ENODEV),
    *(errno.ESTALE, errno.EPIPE),
)


class LeftAloneError(Exception):
    """A photo turns out to need nothing; ``reason`` says why."""

    def __init__(self, reason: Message, *, notable: bool = False) -> None:
        """``notable``: whether somebody's work, or what may be that, is why."""
        self.reason, self.notable = reason, notable
        super().__init__(reason)


class Source(Protocol):
    """Where a photo is read. Its text is what the user calls it."""

    @property
    def label(self) -> str:
        """What it is called in messages; no two of a run are called the same."""

    @property
    def comes_by_pipe(self) -> bool:
        """Whether it can be read once, when whoever writes it has done so."""

    @property
    def is_remote(self) -> bool:
        """Whether it is fetched over a network, where many at once hide how long one takes."""

    @property
    def keys(self) -> tuple[str, ...]:
        """What a target's key must not be: the product would take the photo's place."""

    def absence(self) -> str | None:
        """Why nothing can be read there, in a few words; None where that is not known."""

    def state(self) -> State | None:
        """Of the photo that is there now; None where there is none, or it cannot be told."""

    def read(
        self, max_pixels: int, before_large: Admit, patience: float | None
    ) -> tuple[bytes, State]:
        """Bytes of the photo, and its state while it was read.

        ``patience``: seconds to wait for whoever is to write to a pipe, None for ever. Raises
        PhotoError, OSError, LeftAloneError.
        """

    def listed_as(self, relative: Path) -> str | None:
        """Its line in a list of photos that gives it the same target again; None for none."""


class Target(Protocol):
    """Where a product is written. Its text is what the user calls it."""

    @property
    def key(self) -> str | None:
        """Equal for targets that are one place; None for one that nothing else can be."""

    @property
    def waits(self) -> bool:
        """Whether writing waits for somebody who reads, as long as that takes."""

    @property
    def is_remote(self) -> bool:
        """Whether it is sent over a network, where many at once hide how long one takes."""

    @property
    def seen(self) -> State | None:
        """What must still be there for it to be written, or :data:`ABSENT`; None for anything."""

    def if_absent(self) -> "Target":
        """Itself, but that nothing is written where something is there by then."""

    def find(self, *, again: bool = False) -> "Target | None":
        """Itself where something is there that a product may replace. Raises OSError.

        ``again``: whatever was known of it before.
        """

    def look(self) -> AbstractContextManager["Look"]:
        """Open what is there, and read its stamp without decoding it.

        Raises OSError, with ESTALE where it is no longer what was found, also while it is read;
        MemoryError.
        """

    def write(self, data: bytes) -> None:
        """Write a product, whole or not at all.

        Raises OSError, with the target's name, and LeftAloneError where something has come there
        since ``seen``.
        """

    def meets_all(self, error: OSError, relative: Path) -> bool:
        """Whether what kept this product from being written will keep the others too.

        ``relative``: of the product's photo, below the folder of all products.
        """


@dataclass(frozen=True)
class Look:
    """What lies at a target: stamp, bytes and version are those of one file, whoever writes."""

    found: StampedFile
    file: BinaryIO
    """Open for reading."""
    target: Target
    """Where it lies; nothing is written there once it has changed."""


def stamp_at(target: Target) -> Stamp | None:
    """The stamp of what lies at a target; None for what is not ours. Raises as its ``look``."""
    with target.look() as look:
        return look.found.stamp


def left_alone(target: Target, data: bytes) -> LeftAloneError:
    """Why ``data`` was not written: what has come to its target meanwhile.

    Raises as ``find`` and ``look`` of the target do.
    """
    ours, found = stamp.of_bytes(data), target.find(again=True)
    if ours is None or found is None:
        return LeftAloneError(OVERTAKEN, notable=True)
    with found.look() as look:
        made = look.found.stamp
        is_same = (
            made is not None
            and made.checksum is not None
            # Whichever precision automatic is: that of the device which was first.
            and replace(made, precision=ours.precision) == ours
            and has_own_pixels(look.file, made.checksum)
        )
    return LeftAloneError(MADE_MEANWHILE if is_same else OVERTAKEN, notable=not is_same)


@dataclass(frozen=True)
class LocalFile:
    """A file of this machine, or what else has a path: a pipe, a device."""

    path: Path
    seen: State | None = field(default=None, compare=False)
    """As a target."""

    def __str__(self) -> str:
        return str(self.path)

    @property
    def label(self) -> str:
        """Its path."""
        # A file called - is another photo than what comes through stdin.
        return f"./{PIPE}" if str(self.path) == PIPE else str(self.path)

    # As a source

    @property
    def comes_by_pipe(self) -> bool:
        """Whether it is no regular file."""
        return not is_file(self.path)

    @property
    def is_remote(self) -> bool:
        """False."""
        return False

    @property
    def keys(self) -> tuple[str, ...]:
        """Of the file, and of what a link leads to."""
        at = real_path(self.path) if is_link(self.path) else self.path
        return tuple(dict.fromkeys((entry_key(self.path), entry_key(at))))

    def absence(self) -> str | None:
        """Why no file is there."""
        try:
            if stat.S_ISDIR(self.path.stat().st_mode):
                return "is a folder, and lists name photos; name it on the command line"
        except OSError as error:
            return str(error.strerror or error)
        except ValueError as error:
            return str(error)
        return None

    def state(self) -> State | None:
        """Size and modification time."""
        try:
            return _state(self.path.stat())
        except OSError:
            return None

    def read(
        self, max_pixels: int, before_large: Admit, patience: float | None
    ) -> tuple[bytes, State]:
        """Read the file; a pipe has no time: its photo is a new one whenever it is read."""
        from birefcli.images.reading import read_photo, read_stream  # help and planning need none

        if patience is not None and is_pipe(self.path):
            pipe, start = open_pipe(self.path, patience)
            with pipe:
                data = read_stream(pipe, max_pixels, start)
            return data, (len(data), 0)
        with self.path.open("rb") as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                data = read_stream(file, max_pixels)
                return data, (len(data), 0)
            data = read_photo(file, max_pixels, before_large)
            after = os.fstat(file.fileno())
        if _state(before) != _state(after):
            raise PhotoError(CHANGED)
        return data, _state(before)

    def listed_as(self, relative: Path) -> str | None:
        """Its path, which tells the part that is kept below the output folder."""
        source, below = str(self.path), str(relative)
        root = source.removesuffix(below)
        if root.endswith(("/", os.sep)):
            return f"{root}./{below}"
        return source if self.path.is_absolute() else f"././{source}"

    # As a target

    @property
    def key(self) -> str | None:
        """Of its entry in the folder."""
        return entry_key(self.path)

    @property
    def waits(self) -> bool:
        """False: what would have to be waited for is not written to."""
        return False

    def find(self, *, again: bool = False) -> "LocalFile | None":
        """Itself where a regular file is there. Raises OSError for anything else."""
        return None if regular_status(self.path) is None else self

    @contextmanager
    def look(self) -> Iterator[Look]:
        """The file, whose stamp takes two short reads; its version is its size and time."""
        with open_regular(self.path) as file:
            seen = _state(os.fstat(file.fileno()))  # before anything is read: a later edit counts
            yield Look(stamp.of_file(file, self.path), file, replace(self, seen=seen))

    def if_absent(self) -> "LocalFile":
        """The file where none has its path."""
        return replace(self, seen=ABSENT)

    def write(self, data: bytes) -> None:
        """Replace the file; its folder is made."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._put(data)
        except OSError as error:
            # Of a part file the user knows nothing, and a full disk is reported without any name.
            raise OSError(error.errno, error.strerror or str(error), str(self.path)) from error

    def _put(self, data: bytes) -> None:
        try:
            if self.seen is None:
                replace_file(self.path, data)
            elif self.seen == ABSENT:
                create_file(self.path, data)
            else:
                replace_file(self.path, data, partial(self._see_unchanged, data))
        except FileExistsError:
            raise left_alone(self, data) from None

    def _see_unchanged(self, data: bytes) -> None:
        if self.state() not in (self.seen, None):
            raise left_alone(self, data)

    def meets_all(self, error: OSError, relative: Path) -> bool:
        """Whether the disk is of no use, or the output folder is closed."""
        if error.errno in DISK_TROUBLE:
            return True
        top = self.path.parents[len(relative.parts) - 1]
        return isinstance(error, PermissionError) and not os.access(top, os.W_OK)


@dataclass(frozen=True)
class Stdin:
    """A photo that comes through standard input."""

    def __str__(self) -> str:
        return PIPE

    @property
    def label(self) -> str:
        """As the command line has it."""
        return PIPE

    @property
    def comes_by_pipe(self) -> bool:
        """True."""
        return True

    @property
    def is_remote(self) -> bool:
        """False."""
        return False

    @property
    def keys(self) -> tuple[str, ...]:
        """None: nothing can be written into its place."""
        return ()

    def absence(self) -> str | None:
        """None: it is known once it is read."""
        return None

    def state(self) -> State | None:
        """None: nothing is known of what comes through a pipe."""
        return None

    def read(
        self, max_pixels: int, before_large: Admit, patience: float | None
    ) -> tuple[bytes, State]:
        """Read to its end."""
        from birefcli.images.reading import read_stream

        if sys.stdin is None:
            raise PhotoError("stdin is closed")
        data = read_stream(sys.stdin.buffer, max_pixels)
        return data, (len(data), 0)

    def listed_as(self, relative: Path) -> str | None:
        """None: it cannot be read again."""
        return None


@dataclass(frozen=True)
class Stdout:
    """Standard output, in the place of a file."""

    def __str__(self) -> str:
        return PIPE

    @property
    def key(self) -> str | None:
        """None."""
        return None

    @property
    def is_remote(self) -> bool:
        """False."""
        return False

    @property
    def waits(self) -> bool:
        """True: whoever reads from a pipe may take as long as it likes."""
        return True

    @property
    def seen(self) -> State | None:
        """None."""
        return None

    def if_absent(self) -> "Stdout":
        """Itself: nothing is there."""
        return self

    def find(self, *, again: bool = False) -> "Stdout | None":
        """None: nothing is replaced."""
        return None

    @contextmanager
    def look(self) -> Iterator[Look]:
        """What was never written."""
        yield Look(StampedFile(whole=False, stamp=None, blank=True), io.BytesIO(), self)

    def write(self, data: bytes) -> None:
        """Write all of it: with PYTHONUNBUFFERED one write may end early, and say how far."""
        left = memoryview(data)
        while left:
            written = sys.stdout.buffer.write(left)
            if written is None:  # nobody has read what is in a pipe that does not wait
                raise BlockingIOError(errno.EAGAIN, "standard output takes no more just now")
            left = left[written:]
        sys.stdout.buffer.flush()

    def meets_all(self, error: OSError, relative: Path) -> bool:
        """Whether it takes no more."""
        return error.errno in DISK_TROUBLE or error.filename == STDOUT


def _state(status: os.stat_result) -> State:
    return status.st_size, status.st_mtime_ns


def local_folders(targets: "list[Target]") -> set[Path]:
    """Folders of this machine that products are written to."""
    return {target.path.parent for target in targets if isinstance(target, LocalFile)}
