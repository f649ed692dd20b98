"""Pictures for backgrounds where they lie: files of this machine, or objects of a store."""

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeAlias

from PIL import ImageColor

from birefcli.errors import MISSPELLED, PhotoError, UsageError
from birefcli.images.colour import to_srgb8
from birefcli.images.decode import decode_photo
from birefcli.images.files import has_photo_name, is_reached, left_out_below, walk_folder
from birefcli.images.photo import Photo, Pixels
from birefcli.images.reading import read_file, read_photo
from birefcli.system.object_store import ObjectEntry, store_for
from birefcli.system.object_url import ObjectUrl, is_url, parse_url
from birefcli.system.paths import absence, is_file, is_folder

Origin: TypeAlias = Path | ObjectUrl
"""What a background is called: a file or a folder, an object or a prefix."""


class OpaquePicture(NamedTuple):
    """A background's pixels, H×W×3 of 8-bit sRGB; white shows where its file is transparent."""

    pixels: Pixels
    was_transparent: bool


def opaque(photo: Photo) -> OpaquePicture:
    """A picture as a background."""
    return OpaquePicture(to_srgb8(photo, behind=255), photo.alpha is not None)


@dataclass(frozen=True)
class PictureFile:
    """A picture in a file."""

    origin: Path

    def identity(self, otherwise: str) -> str:
        """What tells it from what it was before: its size and time; or else, where it is gone."""
        try:
            status = self.origin.stat()
        except OSError:
            return otherwise
        return f"{self.origin} {status.st_size} {status.st_mtime_ns}"

    def read(self, max_pixels: int) -> OpaquePicture:
        """Its pixels. Raises PhotoError, OSError."""
        return opaque(decode_photo(read_file(self.origin, max_pixels), max_pixels))


@dataclass(frozen=True)
class PictureObject:
    """A picture in a store, as it was listed."""

    origin: ObjectUrl
    entry: ObjectEntry

    def identity(self, otherwise: str) -> str:
        """What tells it from what it was before: its size and ETag, or its time."""
        version = self.entry.etag or self.entry.modified_ns
        return f"{self.origin} {self.entry.size} {version}"

    def read(self, max_pixels: int) -> OpaquePicture:
        """Its pixels. Raises PhotoError, OSError."""
        with store_for(self.origin).open(self.entry) as file:
            data = read_photo(file, max_pixels)
        return opaque(decode_photo(data, max_pixels))


StoredPicture: TypeAlias = PictureFile | PictureObject
Pictures: TypeAlias = dict[tuple[str, str], StoredPicture]
"""By folder below the one that was named, and stem."""


def read_picture(picture: StoredPicture, max_pixels: int) -> OpaquePicture:
    """A picture's pixels. Raises PhotoError, without the picture's name."""
    try:
        return picture.read(max_pixels)
    except OSError as error:
        raise PhotoError(error.strerror or str(error)) from error


def find_pictures(text: str) -> tuple[Origin, StoredPicture | Pictures]:
    """The picture of this name, or those of the folder: a path's, or a URL's in a store.

    Raises UsageError where there is neither.
    """
    if is_url(text):
        try:
            return _find_objects(parse_url(text))
        except OSError as error:
            raise _wrong(text, error.strerror or str(error)) from None
        except ValueError as error:
            if isinstance(error, UsageError):
                raise
            raise _wrong(text, str(error)) from None
    path = Path(text)
    if is_folder(path):
        files = (found for found in walk_folder(path, on_error=lambda _: None))
        pictures = _index((f.relative_to(path), PictureFile(f)) for f in files)
        if not pictures:
            raise _wrong(text, f"no picture in this folder{left_out_below(path)}")
        return path, pictures
    if not is_file(path):
        known = "no CSS colour, image, folder of images, or blur[:RADIUS]"
        # What is called like a file is meant as one.
        named = has_photo_name(path.name) or len(path.parts) > 1
        if named:
            raise _wrong(text, absence(path))
        raise _wrong(text, f"{known}: {absence(path)}", meant_colour(text))
    return path, PictureFile(path)


def _wrong(text: str, why: str, hint: str | None = None) -> UsageError:
    return UsageError(why, option="background", value=text, hint=hint)


def meant_colour(text: str) -> str | None:
    """A question after the colour, or the blur, that a word is a misspelling of; None for none."""
    near = get_close_matches(text.lower(), ("blur", *ImageColor.colormap), 1, MISSPELLED)
    return f"did you mean {near[0]}?" if near else None


def _find_objects(url: ObjectUrl) -> tuple[ObjectUrl, StoredPicture | Pictures]:
    """The object of this URL, or else what lies below it. Raises OSError."""
    store = store_for(url)
    if not url.is_prefix:
        try:
            return url, PictureObject(url, store.head(url.key))
        except FileNotFoundError:
            pass  # a prefix may be written without its slash
    prefix = url.as_prefix
    found = _index(
        (PurePosixPath(entry.key[len(prefix.key) :]), PictureObject(url.at(entry.key), entry))
        for entry in store.list(prefix.key, lambda _: None)
    )
    if not found:
        raise FileNotFoundError(errno.ENOENT, "no such image, and none below it", str(url))
    return prefix, found


def _index(found: Iterable[tuple[PurePosixPath | Path, StoredPicture]]) -> Pictures:
    """Pictures by their place below a folder and their name without extension."""
    pictures: Pictures = {}
    for relative, picture in found:
        if has_photo_name(relative.name) and is_reached(relative.parent):
            pictures.setdefault((relative.parent.as_posix(), relative.stem), picture)
    return pictures
