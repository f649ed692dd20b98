"""Where a model is: a file of the user's, part of the package, in the Hub's cache, or absent."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from birefcli.models import zoo
from birefcli.models.cache import cached
from birefcli.models.zoo import Model


class Place(str, Enum):
    """Where the weights of a model are."""

    FILE = "file"
    BUNDLED = "bundled"
    CACHED = "cached"
    ABSENT = "absent"
    """It is published, and not on this machine."""


@dataclass(frozen=True)
class Location:
    """Of a model on this machine. Nothing was read, and nothing asked of a network."""

    place: Place
    path: Path | None
    """None where it is absent. A file of the user's, or of the package, may not be there."""
    model: Model | None
    """What is known of it; None for a file of the user's."""


def locate(name: str, *, option: str = "model") -> Location:
    """Look for a model by its name, or as a file.

    Raises ModelError for a name nobody knows; ``option`` is what it is said to be wrong in.
    """
    if zoo.is_file(name):
        return Location(Place.FILE, Path(name), None)
    return locate_known(zoo.lookup(name, option=option))


def locate_known(model: Model) -> Location:
    """Look for a known model."""
    if model.bundled:
        return Location(Place.BUNDLED, zoo.MINI_FILE, model)
    path = cached(model)
    return Location(Place.ABSENT if path is None else Place.CACHED, path, model)
