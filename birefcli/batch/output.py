"""The output, of whatever kind: standard output, a file, a folder, an object or a prefix."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from birefcli.batch.places import PIPE, LocalFile, Stdout, Target
from birefcli.batch.stores import StoredProduct
from birefcli.errors import Message, Option, OutputError, UsageError
from birefcli.options import SUFFIXES, Selection
from birefcli.system.atomic import check_writable, look_writable
from birefcli.system.object_store import store_for
from birefcli.system.object_url import ObjectUrl, is_url, parse_url
from birefcli.system.paths import is_folder, obstacle, real_path

ANOTHER = Message("choose another ", Option("output"))


class Output:
    """Where the products of a batch go: standard output, if no kind of it says otherwise."""

    is_one: bool = True
    """Whether it takes one product: it is no folder, and no prefix."""

    @property
    def suffix(self) -> str:
        """Of its name, in lower case."""
        return ""

    @property
    def folder(self) -> Path | None:
        """The folder of this machine that it is: it can be locked, and may go."""
        return None

    @property
    def start(self) -> str | None:
        """What the keys of all begin with that lie in it; None where nothing can."""
        return None

    def target(self) -> Target:
        """Where its one product goes."""
        return Stdout()

    def target_below(self, relative: Path) -> Target:
        """Where a product goes, by its path below the output."""
        raise NotImplementedError(f"{relative}: standard output is no folder")

    def folder_left_out(self, inputs: Iterable[str]) -> Path | None:
        """What a walk over these folders leaves out of them."""
        return None

    def prefix_left_out(self, prefix: ObjectUrl, inputs: Iterable[str]) -> ObjectUrl | None:
        """What a search of one of these prefixes leaves out of it."""
        return None

    def prepare(self, *, make: bool) -> list[Path]:
        """See that it can be written; ``make`` its folder. Raises OutputError.

        Returns the folders that were made, innermost first.
        """
        return []


@dataclass(frozen=True)
class LocalOutput(Output):
    """A folder of this machine, or the name of a picture."""

    path: Path
    is_one: bool

    @property
    def suffix(self) -> str:
        """Of its name."""
        return self.path.suffix.lower()

    @property
    def folder(self) -> Path | None:
        """Itself; none for one picture, which is replaced in one step."""
        return None if self.is_one else self.path

    @property
    def start(self) -> str | None:
        """Its real path."""
        return f"{real_path(self.path)}".removesuffix(os.sep) + os.sep

    def target(self) -> Target:
        """The file."""
        return LocalFile(self.path)

    def target_below(self, relative: Path) -> Target:
        """A file in the folder."""
        return LocalFile(self.path / relative)

    def folder_left_out(self, inputs: Iterable[str]) -> Path | None:
        """The folder, where it is another than every input."""
        out = real_path(self.path)
        return None if any(real_path(Path(i)) == out for i in inputs if i != PIPE) else out

    def prepare(self, *, make: bool) -> list[Path]:
        """Make the folder, or see that it could be; of one picture, that in which it lies."""
        folder = self.path.parent if self.is_one else self.path
        made = [f for f in (folder, *folder.parents) if not is_folder(f)]
        try:
            if make:
                folder.mkdir(parents=True, exist_ok=True)
                check_writable(folder)
            else:
                look_writable(folder)
        except FileExistsError:
            why = obstacle(folder) or "is a file, not a folder"
            raise OutputError(f"{folder}: {why}", hint=ANOTHER) from None
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written: {error.strerror}") from None
        return made if make else []


@dataclass(frozen=True)
class StoredOutput(Output):
    """A prefix of a store, or the name of a picture there."""

    url: ObjectUrl
    is_one: bool

    @property
    def suffix(self) -> str:
        """Of its name; a prefix has none."""
        return self.url.suffix

    @property
    def start(self) -> str | None:
        """Its URL."""
        return str(self.url.as_prefix)

    def target(self) -> Target:
        """The object."""
        return StoredProduct(self.url)

    def target_below(self, relative: Path) -> Target:
        """An object below the prefix."""
        return StoredProduct(self.url.below(relative.as_posix()))

    def prefix_left_out(self, prefix: ObjectUrl, inputs: Iterable[str]) -> ObjectUrl | None:
        """This prefix, where it lies strictly below that, and is no input itself."""
        out = self.url.as_prefix
        is_below = out != prefix and out.is_within(prefix)
        return out if is_below and out not in map(_prefix, inputs) else None

    def prepare(self, *, make: bool) -> list[Path]:
        """Ask whether objects can be written; nothing is made."""
        if make:
            prefix = self.url.key.rpartition("/")[0] if self.is_one else self.url.key
            try:
                store_for(self.url).check_writable(prefix)
            except OSError as error:
                raise OutputError(f"{self.url}: cannot be written: {error.strerror}") from error
        return []


def _prefix(name: str) -> ObjectUrl | None:
    """An input as a prefix; None for a folder, and for a URL that is none."""
    with suppress(ValueError):
        return parse_url(name).as_prefix
    return None


def output_of(selection: Selection) -> Output:
    """The output that a selection names. Raises UsageError for a URL that is none.

    What has the suffix of a picture is one, unless it is a folder that is there.
    """
    text = selection.output
    if text == PIPE:
        return Output()
    if is_url(text):
        try:
            url = parse_url(text)
        except ValueError as error:
            raise UsageError(str(error), option="output", value=text) from None
        return StoredOutput(url, url.suffix in SUFFIXES)
    path = Path(text)
    is_picture = path.suffix.lower() in SUFFIXES and not text.endswith(("/", os.sep))
    return LocalOutput(path, is_picture and not is_folder(path))
