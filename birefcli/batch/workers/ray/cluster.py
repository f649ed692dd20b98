"""The Ray cluster that this process is in: joined, asked for its machines, and left again."""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from queue import SimpleQueue
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from birefcli.batch.interrupts import CODES
from birefcli.batch.workers.ray.actor import WorkerActor
from birefcli.batch.workers.ray.address import find_address, no_cluster
from birefcli.system import process_settings

Value = TypeVar("Value")
AT_ONCE = {"listen": 1, "send": 1, "kill": 1}
"""Threads of an actor, by what is asked of it: what it is told is heard in order."""


@dataclass(frozen=True)
class Machine:
    """A machine of a cluster, as Ray counts what it has."""

    id: str
    name: str
    gpus: int
    cores: int


class Cluster:
    """Ray is called from threads of ours only: it has handlers for the main thread's signals."""

    def __init__(self) -> None:
        self._ours = False

    def join(self) -> None:
        """Join the cluster that this process runs in. Raises DeviceError, UsageError."""
        if ray.is_initialized():  # by the program that embeds birefcli
            return
        address = find_address()
        try:
            in_thread(partial(_connect, address))
        except (RayError, ConnectionError, RuntimeError, OSError, ValueError) as error:
            raise no_cluster(first_line(error)) from None
        finally:
            process_settings.take_signals_back(CODES)
        self._ours = True

    def leave(self) -> None:
        """Leave it, which ends all actors."""
        if self._ours:
            self._ours = False
            try:
                in_thread(ray.shutdown)
            finally:
                process_settings.take_signals_back(CODES)

    def machines(self) -> list[Machine]:
        """Those that are alive."""
        return [
            Machine(
                node["NodeID"],
                node["NodeManagerHostname"],
                int(node["Resources"].get("GPU", 0)),
                int(node["Resources"].get("CPU", 0)),
            )
            for node in ray.nodes()
            if node["Alive"]
        ]

    def end_actors(self, actors: Sequence[object]) -> None:
        """End them at once; some may be gone."""
        for actor in actors:
            end_actor(actor)

    def start_actor(self, machine: Machine, *, gpu: bool) -> Any:  # noqa: ANN401 - Ray's handle
        """Ask for an actor on a machine, with a GPU of its own or without; it begins in a while."""
        # A core is reserved, where there is one, and no more: with all of them taken, a machine on
        # which anything else has one would never get its worker.
        actor = _actor_class().options(
            num_gpus=int(gpu),
            num_cpus=min(1, machine.cores),
            scheduling_strategy=NodeAffinitySchedulingStrategy(machine.id, soft=False),
        )
        return actor.remote()


def end_actor(actor: object) -> None:
    """End an actor at once, as far as there still is one, and a cluster."""
    if ray.is_initialized():  # else Ray would start a cluster of its own
        with suppress(Exception):
            ray.kill(actor)


@cache
def _actor_class() -> Any:  # noqa: ANN401 - Ray's
    return ray.remote(max_restarts=0, max_task_retries=0, concurrency_groups=AT_ONCE)(WorkerActor)


def _connect(address: str) -> None:
    ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)


def first_line(error: BaseException) -> str:
    """Of what Ray says, which may be pages."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def in_thread(call: Callable[[], Value]) -> Value:
    """Call it in a thread, and wait so that a signal may interrupt that; raises what it raises.

    In the main thread Ray takes SIGTERM for itself.
    """
    answer: SimpleQueue[Value | BaseException] = SimpleQueue()

    def run() -> None:
        try:
            answer.put(call())
        except BaseException as error:
            answer.put(error)

    threading.Thread(target=run, name="ray", daemon=True).start()
    found = answer.get()
    if isinstance(found, BaseException):
        raise found
    return found
