"""What Ray runs on a worker's machine: it starts the worker, and passes on what both sides say.

The worker is a process of its own, the same as on one machine: its main thread stops at a signal,
what kills it is known by name, and it ends by itself once the actor is gone.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import TypeAlias

from birefcli import __version__, values
from birefcli.batch.workers.process import WorkerProcess
from birefcli.batch.workers.protocol import FromWorker, ToWorker, WorkerConfig, WorkerLost
from birefcli.batch.workers.ray.store_access import StoreAccess
from birefcli.errors import BirefcliError, DeviceError, OutputError
from birefcli.matting.device import Placement, parse_device
from birefcli.models import weights
from birefcli.models.weights import Checkpoint
from birefcli.options import BatchOptions, ClusterOptions, ModelOptions
from birefcli.system import atomic, cpu, process_settings
from birefcli.system.paths import exists, is_folder

SHARED = "all machines must see the same output folder, under one path"


@dataclass(frozen=True)
class Requirements:
    """What a machine must have and see, to take part."""

    device: str
    model: ModelOptions
    folder: str | None
    """Working folder of the run, where a path is relative; None: all are absolute."""
    probes: tuple[Path, ...]
    """Files of the run in the folders that products go to."""
    stores: StoreAccess


@dataclass(frozen=True)
class Share:
    """A worker's part of its machine, and of the run."""

    sharers: int
    """Workers on this machine."""
    cores: int
    """Of the machine, by Ray's count; 0: it counts none."""
    photos: int
    """How many it can expect."""


@dataclass(frozen=True)
class NodeInfo:
    """What a machine would do photos with."""

    placement: Placement
    sha256: str
    """Of its weights."""


@dataclass(frozen=True)
class Ended:
    """The last message of an actor: its worker is gone, and why."""

    why: WorkerLost


ActorMessage: TypeAlias = FromWorker | Ended


class WorkerActor:
    """Ray calls its methods, each in a thread of its group."""

    def __init__(self) -> None:
        self._messages: SimpleQueue[ActorMessage] = SimpleQueue()
        self._process: WorkerProcess | None = None
        self._placement: Placement | None = None
        self._checkpoint: Checkpoint | None = None
        self._folder: str | None = None

    def version(self) -> str:
        """Of birefcli; asked before anything of ours travels, that may differ by version."""
        return __version__

    def check(self, requirements: Requirements) -> BirefcliError | None:
        """Why this machine cannot take part; None where it can, as far as was looked."""
        try:
            self._enter(requirements.folder)
            self._placement = parse_device(requirements.device, requirements.model.precision)
            for probe in requirements.probes:
                check_output(probe)
            requirements.stores.check()
        except BirefcliError as error:
            return error
        return None

    def _enter(self, folder: str | None) -> None:
        if folder is None:
            return
        try:
            os.chdir(folder)
        except OSError as error:
            why = f"{folder}: {error.strerror}; the run names paths below it"
            raise DeviceError(why, hint="give absolute paths that all machines see") from None
        self._folder = folder

    def resolve(self, model: ModelOptions) -> NodeInfo | BirefcliError:
        """Find the weights, and download them if need be: once on each machine."""
        assert self._placement is not None, "it was checked before"
        try:
            self._checkpoint = weights.resolve(model.name, offline=model.offline, progress=False)
        except BirefcliError as error:
            return error
        return NodeInfo(self._placement, self._checkpoint.sha256)

    def start(self, options: BatchOptions, share: Share) -> str:
        """Start the worker; returns what the names of its part files have for it."""
        assert self._placement is not None
        assert self._checkpoint is not None
        process_settings.silence_opencv()
        process_settings.let_idle_threads_sleep()
        cores = machine_cores(share)
        # Ray has set it to what it reserves; child processes inherit it.
        os.environ["OMP_NUM_THREADS"] = str(max(1, cores // share.sharers))
        config = WorkerConfig(
            own_options(options, share, cores),
            self._checkpoint,
            self._placement,
            share.sharers,
            share.photos,
            cores,
            self._folder,
        )
        self._process = WorkerProcess(config, self._messages.put, self._end)
        self._process.start()
        return atomic.writer(self._process.process.pid or 0)

    def _end(self, why: WorkerLost) -> None:
        self._messages.put(Ended(why))

    def send(self, message: ToWorker) -> None:
        """Pass a message on to the worker."""
        if self._process is not None:
            self._process.send(message)

    def listen(self) -> list[ActorMessage]:
        """Wait for messages of the worker; all that have come."""
        messages = [self._messages.get()]
        while not self._messages.empty():
            messages.append(self._messages.get())
        return messages

    def kill(self) -> None:
        """Kill a worker that does not answer."""
        if self._process is not None:
            self._process.process.kill()


def check_output(probe: Path) -> None:
    """See that a folder is the one in which the run has put a file, and can be written to.

    Raises OutputError.
    """
    folder = probe.parent
    if not is_folder(folder):
        raise OutputError(f"{folder}: is not there; {SHARED}")
    if not exists(probe):
        raise OutputError(f"{folder}: is another folder than that of the run; {SHARED}")
    try:
        atomic.check_writable(folder, atomic.answer_to(probe))
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from None


def machine_cores(share: Share) -> int:
    """Cores that the workers of this machine have between them."""
    return max(1, min(cpu.count(), share.cores or cpu.count()))


def own_options(options: BatchOptions, share: Share, cores: int) -> BatchOptions:
    """A worker's options: threads and memory are each worker's own, by its machine."""
    cluster = options.cluster or ClusterOptions()
    memory = cluster.max_memory or values.memory("max_memory", "auto") // share.sharers
    threads = cluster.threads or max(1, cores // share.sharers)
    return replace(options, threads=threads, max_memory=memory)
