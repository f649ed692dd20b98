"""One process or several: who this one is among those that ``torchrun`` has started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed

Item = TypeVar("Item")

TIMEOUT = timedelta(hours=4)
"""How long processes wait for the first, which validates alone."""


@dataclass(frozen=True)
class Rank:
    """This process among all of them."""

    rank: int = 0
    world: int = 1
    local: int = 0
    """Its number on this machine, and that of its GPU."""

    @property
    def first(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def gathered(self, items: list[Item]) -> list[Item]:
        """What all processes have, in the order of their ranks."""
        if self.world == 1:
            return items
        lists: list[list[Item]] = [[] for _ in range(self.world)]
        distributed.all_gather_object(lists, items)
        return [item for each in lists for item in each]

    def mean(self, values: Tensor) -> Tensor:
        """Mean over all processes of a tensor that each has."""
        if self.world > 1:
            distributed.all_reduce(values)
        return values / self.world


ALONE = Rank()


def current_rank() -> Rank:
    """That of this process, of the variables that ``torchrun`` sets."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    return Rank(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))


@contextmanager
def process_group(rank: Rank, device: torch.device) -> Iterator[None]:
    """Be connected to the other processes, if there are any."""
    if rank.world == 1:
        yield
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=TIMEOUT)
    try:
        yield
    finally:
        distributed.destroy_process_group()
