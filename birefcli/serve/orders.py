"""What is asked for, and what becomes of it, in no dialect: plain values."""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from birefcli.options import Product, Rendering
from birefcli.products.background import Blur, Colour
from birefcli.products.quality.check import Quality
from birefcli.products.render import ProductFile


@dataclass(frozen=True)
class Url:
    """Where a picture is to be fetched from."""

    text: str


ImageInput: TypeAlias = bytes | Url
"""A picture's file, or where it is."""


@dataclass(frozen=True)
class Order:
    """Photos, and what is to be made of each."""

    photos: tuple[ImageInput, ...]
    rendering: Rendering
    background: Colour | Blur | ImageInput | None = None
    """What composites are put over; None where there are none."""
    model: str | None = None
    """As the client called it; None: the default."""
    field: str = "photo"
    """Where the client named the photos, for errors."""
    notes: tuple[str, ...] = ()
    """What there is to tell of what was asked for."""


@dataclass
class Timings:
    """Seconds of a photo's stages."""

    fetch: float = 0.0
    decode: float = 0.0
    queue: float = 0.0
    """Waited for a thread, or for a turn in the network."""
    network: float = 0.0
    """Of the batch that the photo was in."""
    finish: float = 0.0
    """Colour, composition and encoding."""


@dataclass(frozen=True)
class MattedPhoto:
    """What was made of a photo."""

    pictures: dict[Product, ProductFile]
    quality: Quality
    model: str
    megapixels: float
    """Of the photo."""
    notes: tuple[str, ...] = ()
    timings: Timings = field(default_factory=Timings)

    @property
    def coverage(self) -> float:
        """Share of the photo that its subject covers, 0..1."""
        return self.quality.coverage

    def measures(self) -> dict[str, Any]:
        """What the matte is like, for answers in JSON."""
        return {
            "coverage": round(self.coverage, 5),
            "flags": [flag.value for flag in self.quality.flags],
            "doubt": round(self.quality.doubt, 5),
        }
