"""CUDA graphs: a forward pass of fixed shape, recorded once and replayed with one call.

The network is some thousand small operations; launching each from Python costs a fast GPU more time
than many of them take. A graph launches all of them at once, and cannot change its shape, so a
batch with fewer photos is filled up, or goes without.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

Forward = Callable[[Tensor], Tensor]
Key = tuple[torch.Size, torch.dtype]


def record(network: Forward, batch: Tensor) -> Forward:
    """Record ``network`` on a batch like this one; it ran on such a batch before.

    What is returned takes batches of this shape and dtype only. Raises torch.OutOfMemoryError, or
    RuntimeError where something in the network cannot be recorded.
    """
    still = batch.clone()
    graph = torch.cuda.CUDAGraph()
    # Other threads may go on copying photos meanwhile.
    stream = _recording_stream(batch.device)
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        out = network(still)

    def replay(photos: Tensor) -> Tensor:
        still.copy_(photos)
        graph.replay()
        return out.clone()  # the next replay writes to the same place

    return replay


@lru_cache
def _recording_stream(device: torch.device) -> torch.cuda.Stream:
    """A stream of that device: torch's own is of the device that was recorded on first."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class GraphedNetwork:
    """A network that is recorded where it pays: the second time a shape is seen.

    One batch alone would be slower for it; its run also warms up all that is compiled or chosen at
    first use. Where recording fails the network goes on without.
    """

    def __init__(
        self,
        network: Forward,
        on_state: Callable[[str], None],
        recorder: Callable[[Forward, Tensor], Forward] = record,
    ) -> None:
        """``on_state`` is called with what takes its time, and with ``""`` when it is over."""
        self._network, self._on_state, self._recorder = network, on_state, recorder
        self._seen: set[Key] = set()
        self._recorded: dict[Key, Forward] = {}
        self._refused: set[Key] = set()

    def __call__(self, batch: Tensor) -> Tensor:
        """Logits of ``batch``, as the network gives them."""
        try:
            return self._run(batch)
        except torch.OutOfMemoryError:
            # Recordings keep memory of their own; without them a part of the batch may fit.
            self._refused |= set(self._recorded)
            self._recorded.clear()
            raise

    def _run(self, batch: Tensor) -> Tensor:
        key = (batch.shape, batch.dtype)
        if key not in self._recorded and key in self._seen - self._refused:
            self._record(key, batch)
        if key in self._recorded:
            return self._recorded[key](batch)
        size = self._size_to_fill(key)
        if size is not None:
            return self._filled(batch, size)
        first = not self._seen
        self._seen.add(key)
        if first:
            self._on_state("warming up")
        out = self._network(batch)
        if first:
            self._on_state("")
        return out

    def _record(self, key: Key, batch: Tensor) -> None:
        self._on_state("recording the network")
        try:
            self._recorded[key] = self._recorder(self._network, batch)
        except RuntimeError:  # lack of memory is one too
            self._refused.add(key)
        self._on_state("")

    def _size_to_fill(self, key: Key) -> int | None:
        """Photos of a recorded batch that this one fills by more than half."""
        (n, *shape), dtype = key
        sizes = [k[0][0] for k in self._recorded if k[1] == dtype and list(k[0][1:]) == shape]
        return min((size for size in sizes if n < size < 2 * n), default=None)

    def _filled(self, batch: Tensor, size: int) -> Tensor:
        n = len(batch)
        batch = F.pad(batch, (0, 0, 0, 0, 0, 0, 0, size - n))
        return self._recorded[batch.shape, batch.dtype](batch)[:n]
