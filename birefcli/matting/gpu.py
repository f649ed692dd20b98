"""A photo's way on a GPU: up as bytes, shrunk, its matte enlarged, its colour estimated, down.

Pixels cross the bus once each way, as integers, between pinned memory and the device, on a stream
of their own: while one photo is copied, the network works on another. Nothing here waits for the
device but :meth:`PendingDownload.result`, which a thread of its own may do, and one look at which
tiles hold soft pixels. All of it runs on any device that torch knows.
"""

import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from birefcli.images.photo import Photo, Pixels
from birefcli.matting.device import as_current
from birefcli.matting.edges.geometry import Plan
from birefcli.matting.edges.gpu import refine as refine_edges
from birefcli.matting.foreground.gpu import estimate, row_strips
from birefcli.matting.matte import Matte
from birefcli.options import Size

STAGED = 0.1  # share of a device's memory that photos which wait for the network may take


@dataclass(frozen=True)
class StagedPhoto:
    """A photo's pixels on a device, H×W×3 of uint8 or uint16; complete when ``ready`` has come."""

    pixels: Tensor
    ready: "torch.cuda.Event | None" = None

    def here(self) -> Tensor:
        """The pixels, for work on the current stream."""
        if self.ready is not None:
            stream = torch.cuda.current_stream(self.pixels.device)
            stream.wait_event(self.ready)
            # Its memory was given out for the copying stream, and is used on this one.
            self.pixels.record_stream(stream)
        return self.pixels


def side_stream(device: torch.device) -> "torch.cuda.Stream | None":
    """Stream for copies beside the work, where the device has such."""
    if device.type != "cuda":
        return None
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class PhotoStaging:
    """Where photos wait on a device, within a limit; any thread may upload one.

    A photo that was uploaded leaves when it is taken, or when nobody holds it any longer.
    """

    def __init__(self, device: torch.device, limit: int) -> None:
        """``limit``: bytes; a photo that would pass it is left where it is."""
        self.device, self.limit = device, limit
        self._waiting: dict[int, StagedPhoto] = {}
        # A photo may be given up by whatever thread collects it, while it holds this lock.
        self._taken, self._lock = 0, threading.RLock()
        self._up, self._down = side_stream(device), side_stream(device)

    @classmethod
    def of(cls, device: torch.device) -> "PhotoStaging":
        """Staging of a CUDA device, with room for a tenth of its memory."""
        total = torch.cuda.get_device_properties(device).total_memory
        return cls(device, int(total * STAGED))

    def upload(self, photo: Photo, size: Size) -> StagedPhoto | None:
        """Start to copy a photo and to shrink it to ``size`` for the network.

        Returns the shrunk one, or None where there is no room for the photo.
        """
        pixels = photo.pixels
        with self._lock:
            if self._taken + pixels.nbytes > self.limit:
                return None
            self._taken += pixels.nbytes
        weakref.finalize(photo, self._drop, id(photo), pixels.nbytes)
        try:
            staged = upload(pixels, self.device, self._up)
            self._waiting[id(photo)] = staged
            return self._shrunk(staged, size)
        except torch.OutOfMemoryError:
            self._waiting.pop(id(photo), None)
            return None

    def _shrunk(self, staged: StagedPhoto, size: Size) -> StagedPhoto:
        if self._up is None:
            return StagedPhoto(shrink(staged.pixels, size))
        with torch.cuda.stream(self._up):
            return StagedPhoto(shrink(staged.pixels, size), self._up.record_event())

    def take(self, photo: Photo) -> Tensor:
        """Pixels of a photo on the device; copied now if they were not uploaded."""
        staged = self._waiting.pop(id(photo), None)
        if staged is None:
            staged = upload(photo.pixels, self.device, self._up)
        return staged.here()

    def _drop(self, key: int, size: int) -> None:
        with self._lock:
            self._waiting.pop(key, None)
            self._taken -= size

    def finish(
        self, photo: Photo, alpha: Tensor, edges: Plan | None, *, refine: bool, everywhere: bool
    ) -> Callable[[], Matte]:
        """Start to make a photo's matte; what is returned waits for it.

        ``alpha``: float32 H×W of 0..1, at the photo's size, on the device, which is changed
        by ``edges``; ``refine`` estimates the subject's colour under it, ``everywhere`` also where
        there is no subject.
        """
        pixels = self.take(photo) if refine or edges is not None else None
        if pixels is not None and edges is not None:
            refine_edges(pixels, alpha, edges)
        own = None
        if photo.alpha is not None:
            own = upload(photo.alpha, self.device, self._up).here()
        made = [levels(alpha, own)]
        if pixels is not None and refine:
            made.append(estimate(pixels, alpha, everywhere=everywhere))
        arrival = download(tuple(made), self._down)

        def matte() -> Matte:
            with as_current(self.device):
                whole, *colour = arrival.result()
            return Matte(whole, colour[0] if colour else photo.pixels)

        return matte


def upload(
    pixels: Pixels, device: torch.device, stream: "torch.cuda.Stream | None" = None
) -> StagedPhoto:
    """Copy H×W or H×W×3 integers to a device; on CUDA through pinned memory, on ``stream``."""
    # A decoded photo may be read-only, which torch does not know and warns of.
    here = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
    if stream is None:
        return StagedPhoto(here.to(device))
    # torch keeps pinned blocks and gives them out again once their copy is done.
    pinned = here.pin_memory()
    with torch.cuda.stream(stream):
        there = pinned.to(device, non_blocking=True)
        ready = stream.record_event()
    return StagedPhoto(there, ready)


@dataclass(frozen=True)
class PendingDownload:
    """Tensors on their way to the CPU's memory."""

    tensors: tuple[Tensor, ...]
    ready: "torch.cuda.Event | None" = None

    def result(self) -> list[NDArray[Any]]:
        """Arrays of the tensors, once they are complete."""
        if self.ready is not None:
            self.ready.synchronize()
        return [tensor.numpy() for tensor in self.tensors]


def download(
    tensors: tuple[Tensor, ...], stream: "torch.cuda.Stream | None" = None
) -> PendingDownload:
    """Start to copy tensors to the CPU; on CUDA to pinned memory, on ``stream``."""
    if stream is None:
        return PendingDownload(tuple(tensor.cpu() for tensor in tensors))
    stream.wait_stream(torch.cuda.current_stream(stream.device))
    landed = []
    with torch.cuda.stream(stream):
        for tensor in tensors:
            pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            landed.append(pinned.copy_(tensor, non_blocking=True))
            tensor.record_stream(stream)
        ready = stream.record_event()
    return PendingDownload(tuple(landed), ready)


def shrink(pixels: Tensor, size: Size) -> Tensor:
    """Stretch H×W×3 of uint8 to h×w×3, antialiased, as uint8.

    Within a level of Pillow's bilinear resize.
    """
    image = pixels.permute(2, 0, 1)[None].float()
    small = F.interpolate(image, (size[1], size[0]), mode="bilinear", antialias=True)
    return small[0].permute(1, 2, 0).round_().clamp_(0, 255).to(torch.uint8)


def levels(alpha: Tensor, own: Tensor | None) -> Tensor:
    """Alpha H×W of 0..1 as uint16 of 0..65535, times the photo's ``own`` of uint8 or uint16."""
    out = torch.empty(alpha.shape, dtype=torch.uint16, device=alpha.device)
    for rows in row_strips(alpha):
        part = (alpha[rows] * 65535).round().to(torch.int64)
        if own is not None:
            peak = torch.iinfo(own.dtype).max
            part = (part * own[rows].to(torch.int64) + peak // 2) // peak
        out[rows] = part.to(torch.int32).to(torch.uint16)
    return out
