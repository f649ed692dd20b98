"""The Ray cluster that this process is in: joined, asked for its machines, and left again."""

import logging
import os
import socket
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
from birefcli.errors import DeviceError, UsageError
from birefcli.system import process_settings

Value = TypeVar("Value")
ADDRESS = "RAY_ADDRESS"
AUTO = "auto"
ANSWER = 5.0  # seconds that a cluster may take to answer a connection
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


def find_address() -> str:
    """Where the cluster is that this process runs in. Raises DeviceError, UsageError."""
    given = os.environ.get(ADDRESS, "")
    if "://" in given:
        hint = "submit a job to the cluster instead: ray job submit -- birefcli ..."
        wrong = f"{ADDRESS} is {given}, and photos cannot be dealt out from outside a cluster"
        raise UsageError(wrong, option="on", value="ray", hint=hint)
    address = given if given not in ("", AUTO) else _address_here()
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():  # Ray itself would try for minutes
        try:
            socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()
        except OSError as error:
            raise no_cluster(f"{address}: {error.strerror or error}") from None
    return address


def _address_here() -> str:
    """That of a cluster with a node on this machine."""
    try:
        from ray._private.services import get_ray_address_from_environment as found
    except ImportError:  # it is Ray's own affair, and ray.init finds it as well
        return AUTO
    try:
        return str(found(AUTO, None))
    except ConnectionError:
        raise no_cluster("none runs on this machine") from None


def no_cluster(why: str) -> DeviceError:
    """Why no cluster can be joined, and what to do."""
    hint = f"start one with ray start, or name one in {ADDRESS}"
    return DeviceError(f"there is no Ray cluster: {why}", option="on", value="ray", hint=hint)


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
