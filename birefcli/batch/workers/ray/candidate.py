"""What is checked on a machine of the cluster before it gets any photo."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray

from birefcli import __version__
from birefcli.batch.workers.ray.actor import NodeInfo, Requirements
from birefcli.batch.workers.ray.cluster import Machine
from birefcli.batch.workers.ray.worker import RayWorker, at
from birefcli.errors import BirefcliError, DeviceError, ModelError
from birefcli.options import BatchOptions
from birefcli.system import atomic

NOT_THERE = "failed to import on the worker"  # of Ray, where it finds no class of an actor


@dataclass(frozen=True)
class Work:
    """What the workers of a run are to do, and with what."""

    options: BatchOptions
    sha256: str
    """Of this machine's weights."""
    folder: str | None
    """Working folder, where a path is relative; None: all are absolute."""
    outputs: tuple[Path, ...]
    """Folders of a disk that all products come into."""


@dataclass(eq=False)
class Candidate:
    """A worker that is to join, from the request for its actor on."""

    name: str
    machine: Machine
    slot: int
    """Which of the workers of its machine, from 0."""
    actor: Any
    answered: float = 0.0
    """When its actor first answered, by :func:`time.monotonic`; 0: not yet."""
    found: NodeInfo | Exception | None = None
    """What it would work with, or why it will not do; None: that is not known yet."""
    joined: bool = False
    worker: RayWorker | None = field(default=None)

    @property
    def is_dead(self) -> bool:
        """Whether it does nothing for the run any more, and never will."""
        return isinstance(self.found, Exception) or (self.worker is not None and self.worker.over)

    def check_version(self) -> None:
        """Wait for its actor. Raises DeviceError for another version, and what Ray raises."""
        try:
            version = ray.get(self.actor.version.remote())
        except Exception as error:
            if NOT_THERE not in str(error):
                raise
            version = "another, or missing"
        self.answered = time.monotonic()
        if version != __version__:
            text = f"its birefcli is {version}, and the run's is {__version__}"
            raise at(self.name, DeviceError(text, hint="install one version on all machines"))

    def validate(self, work: Work, device: str) -> NodeInfo:
        """Check paths, device, output and weights. Raises BirefcliError, and what Ray raises."""
        model = work.options.model
        with probes(work.outputs) as files:
            requirements = Requirements(device, model, work.folder, tuple(files))
            found = ray.get(self.actor.check.remote(requirements))
        if found is None:
            found = ray.get(self.actor.resolve.remote(model))
        if isinstance(found, BirefcliError):
            raise at(self.name, found)
        assert isinstance(found, NodeInfo)
        if found.sha256 != work.sha256:
            text = f"its {model.name} holds other weights than the run's"
            raise at(self.name, ModelError(text, hint="copy one file to all machines"))
        return found


@contextmanager
def probes(folders: tuple[Path, ...]) -> Iterator[list[Path]]:
    """A file of this process in each folder, within the block. Raises OSError."""
    with ExitStack() as stack:
        yield [stack.enter_context(atomic.probe(folder)) for folder in folders]
