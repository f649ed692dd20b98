"""Where a model is: a file of the user's, in a store, of the package, in a cache, or absent."""

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from birefcli.errors import ModelError, UsageError
from birefcli.models import stored, zoo
from birefcli.models.cache import cached
from birefcli.models.zoo import Model
from birefcli.system.object_url import ObjectUrl, is_url
from birefcli.system.paths import exists, is_folder

USUAL_NAMES = ("model.safetensors", "pytorch_model.bin")
"""What the Hub's programs call the weights of a repository."""

SHOWN = 5  # file names in a message


class Place(StrEnum):
    """Where the weights of a model are."""

    FILE = "file"
    STORED = "stored"
    """In an object store; there may be a copy on this machine."""
    BUNDLED = "bundled"
    CACHED = "cached"
    ABSENT = "absent"
    """It is published, and not on this machine."""


@dataclass(frozen=True)
class Location:
    """Of a model on this machine. Nothing was read, and nothing asked of a network."""

    place: Place
    path: Path | None
    """None where it is absent. A file of the user's, or of the package, may not be there, and the
    copy of an object may be older than that."""
    model: Model | None
    """What is known of it; None for a file or an object of the user's."""
    url: ObjectUrl | None = None
    """Of an object."""


def locate(name: str, *, option: str = "model") -> Location:
    """Look for a model by its name, or as a file, or as a folder that holds one.

    Raises ModelError for a name nobody knows, where ``option`` is what it is said to be wrong in,
    and for a folder without one file to take; UsageError for an empty name, and for a URL that is
    none of a weights file.
    """
    if not name.strip():
        raise UsageError("is empty: is a variable not set?", option=option)
    if is_url(name):
        url = stored.parse_weights(name, option=option)
        return Location(Place.STORED, stored.copy_of(url), None, url)
    path = Path(name)
    if zoo.is_file(name) or (name not in zoo.ZOO and exists(path)):
        return Location(Place.FILE, _file_in(path) if is_folder(path) else path, None)
    return locate_known(zoo.lookup(name, option=option))


def _file_in(folder: Path) -> Path:
    """The one weights file of a folder, like that of a cloned repository. Raises ModelError."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names are wanted
    except OSError as error:
        raise ModelError(f"{folder}: cannot be read ({error.strerror})") from error
    # What other programs made of the same weights is beside them in many a repository.
    for usual in USUAL_NAMES:
        if usual in names:
            return folder / usual
    for suffix in zoo.FILE_SUFFIXES:
        found = [n for n in names if n.lower().endswith(suffix) and not n.startswith(".")]
        if len(found) == 1:
            return folder / found[0]
        if found:
            more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
            raise ModelError(
                f"{folder}: a folder that holds several weights files "
                f"({', '.join(found[:SHOWN])}{more}); name one of them"
            )
    kinds = ", ".join(zoo.FILE_SUFFIXES)
    raise ModelError(f"{folder}: is a folder without a weights file ({kinds})")


def locate_known(model: Model) -> Location:
    """Look for a known model."""
    if model.bundled:
        return Location(Place.BUNDLED, zoo.MINI_FILE, model)
    path = cached(model)
    return Location(Place.ABSENT if path is None else Place.CACHED, path, model)
