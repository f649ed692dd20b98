"""What the photo service was asked for, as plain values. Standard library only: for help."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from birefcli.options import ModelOptions


@dataclass(frozen=True)
class ServeOptions:
    """How the photo service runs, but for where it listens."""

    models: tuple[str, ...]
    """The first is the default."""
    model: ModelOptions
    """How all of them run; its name does not count."""
    batch: int | None
    """Photos the network sees at once; None chooses by device."""
    threads: int
    """Photos decoded or encoded at once."""
    max_pixels: int
    max_memory: int
    """Bytes that photos in flight may take, by estimate."""
    max_body: int
    """Bytes of a request, and of what a URL leads to."""
    queue: int
    """Photos accepted and not yet answered."""
    timeout: float
    """Seconds from a whole request to its answer; what is fetched for it counts."""
    grace: float
    """Seconds for what is accepted, once the service is to stop."""
    urls: str
    """Which addresses photos may be fetched from: public, none, or names with commas."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Other names of models."""
    keys: str | None = None
    """File of the keys of those who may ask; None: anybody may."""
    cors: tuple[str, ...] = ()
    """Origins of web pages that may ask from a browser."""
    host_names: tuple[str, ...] | None = None
    """What it is called, where public names are to be no others; None: as anybody likes."""
    page: bool = True
    metrics: bool = True
