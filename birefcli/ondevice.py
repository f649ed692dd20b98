"""A photo's way on a GPU: up as bytes, shrunk, its matte enlarged, its colour estimated, down.

Pixels cross the bus once each way, as integers, between pinned memory and the device, on a stream
of their own: while one photo is copied, the network works on another. Nothing here waits for the
device but :meth:`Arrival.result`, which a thread of its own may do, and one look at which tiles
hold soft pixels. All of it runs on any device that torch knows.
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

from birefcli import foreground
from birefcli.compose import Matte
from birefcli.images import Photo, Pixels

TILE = 1024  # side of the squares of full-size work, in pixels
STRIP = 1 << 24  # pixels of a strip of rows, where a whole photo would take much memory
STAGED = 0.1  # share of a device's memory that photos which wait for the network may take


@dataclass(frozen=True)
class Staged:
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


class Dock:
    """Where photos wait on a device, within a limit; any thread may bring one.

    A photo that was brought leaves when it is taken, or when nobody holds it any longer.
    """

    def __init__(self, device: torch.device, limit: int) -> None:
        """``limit``: bytes; a photo that would pass it is left where it is."""
        self.device, self.limit = device, limit
        self._waiting: dict[int, Staged] = {}
        # A photo may be given up by whatever thread collects it, while it holds this lock.
        self._taken, self._lock = 0, threading.RLock()
        self._up, self._down = side_stream(device), side_stream(device)

    @classmethod
    def of(cls, device: torch.device) -> "Dock":
        """Dock of a CUDA device, with room for a tenth of its memory."""
        total = torch.cuda.get_device_properties(device).total_memory
        return cls(device, int(total * STAGED))

    def bring(self, photo: Photo, size: tuple[int, int]) -> Staged | None:
        """Start to copy a photo and to shrink it to ``size`` (width, height) for the network.

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

    def _shrunk(self, staged: Staged, size: tuple[int, int]) -> Staged:
        if self._up is None:
            return Staged(shrink(staged.pixels, size))
        with torch.cuda.stream(self._up):
            return Staged(shrink(staged.pixels, size), self._up.record_event())

    def take(self, photo: Photo) -> Tensor:
        """Pixels of a photo on the device; copied now if they were not brought."""
        staged = self._waiting.pop(id(photo), None)
        if staged is None:
            staged = upload(photo.pixels, self.device, self._up)
        return staged.here()

    def _drop(self, key: int, size: int) -> None:
        with self._lock:
            self._waiting.pop(key, None)
            self._taken -= size

    def finish(
        self, photo: Photo, alpha: Tensor, *, refine: bool, everywhere: bool
    ) -> Callable[[], Matte]:
        """Start to make a photo's matte; what is returned waits for it.

        ``alpha``: float32 H×W of 0..1, at the photo's size, on the device; ``refine`` estimates
        the subject's colour under it, ``everywhere`` also where there is no subject.
        """
        own = None
        if photo.alpha is not None:
            own = upload(photo.alpha, self.device, self._up).here()
        made = [levels(alpha, own)]
        if refine:
            made.append(estimate(self.take(photo), alpha, everywhere=everywhere))
        arrival = download(tuple(made), self._down)

        def matte() -> Matte:
            whole, *colour = arrival.result()
            return Matte(whole, colour[0] if colour else photo.pixels)

        return matte


def upload(
    pixels: Pixels, device: torch.device, stream: "torch.cuda.Stream | None" = None
) -> Staged:
    """Copy H×W or H×W×3 integers to a device; on CUDA through pinned memory, on ``stream``."""
    # A decoded photo may be read-only, which torch does not know and warns of.
    here = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
    if stream is None:
        return Staged(here.to(device))
    # torch keeps pinned blocks and gives them out again once their copy is done.
    pinned = here.pin_memory()
    with torch.cuda.stream(stream):
        there = pinned.to(device, non_blocking=True)
        ready = stream.record_event()
    return Staged(there, ready)


@dataclass(frozen=True)
class Arrival:
    """Tensors on their way to the CPU's memory."""

    tensors: tuple[Tensor, ...]
    ready: "torch.cuda.Event | None" = None

    def result(self) -> list[NDArray[Any]]:
        """Arrays of the tensors, once they are complete."""
        if self.ready is not None:
            self.ready.synchronize()
        return [tensor.numpy() for tensor in self.tensors]


def download(tensors: tuple[Tensor, ...], stream: "torch.cuda.Stream | None" = None) -> Arrival:
    """Start to copy tensors to the CPU; on CUDA to pinned memory, on ``stream``."""
    if stream is None:
        return Arrival(tuple(tensor.cpu() for tensor in tensors))
    stream.wait_stream(torch.cuda.current_stream(stream.device))
    landed = []
    with torch.cuda.stream(stream):
        for tensor in tensors:
            pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            landed.append(pinned.copy_(tensor, non_blocking=True))
            tensor.record_stream(stream)
        ready = stream.record_event()
    return Arrival(tuple(landed), ready)


def shrink(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Stretch H×W×3 of uint8 to h×w×3, ``size`` = (width, height), antialiased, as uint8.

    Within a level of Pillow's bilinear resize.
    """
    image = pixels.permute(2, 0, 1)[None].float()
    small = F.interpolate(image, (size[1], size[0]), mode="bilinear", antialias=True)
    return small[0].permute(1, 2, 0).round_().clamp_(0, 255).to(torch.uint8)


def levels(alpha: Tensor, own: Tensor | None) -> Tensor:
    """Alpha H×W of 0..1 as uint16 of 0..65535, times the photo's ``own`` of uint8 or uint16."""
    out = torch.empty(alpha.shape, dtype=torch.uint16, device=alpha.device)
    for rows in _strips(alpha):
        part = (alpha[rows] * 65535).round().to(torch.int64)
        if own is not None:
            peak = torch.iinfo(own.dtype).max
            part = (part * own[rows].to(torch.int64) + peak // 2) // peak
        out[rows] = part.to(torch.int32).to(torch.uint16)
    return out


def estimate(
    pixels: Tensor, alpha: Tensor, *, everywhere: bool = False, tile: int = TILE
) -> Tensor:
    """Foreground colour, as :func:`birefcli.foreground_cpu.estimate_pixels` has it, on the device.

    ``pixels``: H×W×3 of uint8 or uint16; ``alpha``: float32 H×W, 0..1, on the same device. Returns
    H×W×3 of the same dtype: estimated where alpha is soft and just around it, or with
    ``everywhere`` wherever it is below 1; the photo's pixels elsewhere.
    """
    height, width = alpha.shape
    times, wide, halo = foreground.shrinking(height, width)
    peak = torch.iinfo(pixels.dtype).max
    low = _wide_pass(pixels, alpha, times, wide, peak)
    wanted = _wanted(alpha, everywhere)
    out = pixels.clone()
    for rows, columns in _tiles(wanted, tile):
        outer = (_wider(rows, halo, height), _wider(columns, halo, width))
        image = _planes(pixels[outer], peak)
        a = alpha[outer][None]
        f, b = (_part(part, outer, (height, width), times) for part in low)
        f, b = foreground.blur_fusion(a, foreground.correct(image, a, f, b), b, halo)
        f = foreground.correct(image, a, f, b)
        inner = tuple(
            slice(part.start - wide.start, part.stop - wide.start)
            for part, wide in zip((rows, columns), outer, strict=True)
        )
        whole = (f[:, inner[0], inner[1]] * peak).round_().to(torch.int32).permute(1, 2, 0)
        kept = out[rows, columns].to(torch.int32)  # torch cannot choose among uint16 everywhere
        chosen = torch.where(wanted[rows, columns, None], whole, kept)
        out[rows, columns] = chosen.to(out.dtype)
    return out


def _wide_pass(
    pixels: Tensor, alpha: Tensor, times: int, radius: int, peak: int
) -> tuple[Tensor, Tensor]:
    """F̄ and B̄ of the wide blur, 3×h×w, of the photo shrunk ``times``."""
    parts = [
        F.avg_pool2d(_planes(pixels[rows], peak)[None], times, ceil_mode=True)[0]
        for rows in _strips(alpha, times)
    ]
    image = torch.cat(parts, 1)
    a = F.avg_pool2d(alpha[None, None], times, ceil_mode=True)[0]
    return foreground.blur_fusion(a, image, image, radius)


def _planes(pixels: Tensor, peak: int) -> Tensor:
    return pixels.to(torch.float32).permute(2, 0, 1).contiguous().div_(peak)


def _wanted(alpha: Tensor, everywhere: bool) -> Tensor:
    """Pixels to estimate, bool H×W."""
    below = alpha < 1
    if everywhere:
        return below
    soft = ((alpha > foreground.FAINT) & (alpha < 1 - foreground.FAINT)).to(
        torch.float16 if alpha.is_cuda else torch.float32
    )[None]
    around = foreground.AROUND
    for kernel, padding in (((2 * around + 1, 1), (around, 0)), ((1, 2 * around + 1), (0, around))):
        soft = F.max_pool2d(soft, kernel, 1, padding)
    return below & (soft[0] > 0)


def _tiles(wanted: Tensor, tile: int) -> list[tuple[slice, slice]]:
    """Squares that hold wanted pixels; the one place where the CPU waits for the device."""
    height, width = wanted.shape
    padded = F.pad(wanted, (0, -width % tile, 0, -height % tile))
    cut = padded.view(padded.shape[0] // tile, tile, padded.shape[1] // tile, tile)
    some = cut.any(3).any(1).cpu()
    return [
        (
            slice(int(y) * tile, min(height, (int(y) + 1) * tile)),
            slice(int(x) * tile, min(width, (int(x) + 1) * tile)),
        )
        for y, x in some.nonzero()
    ]


def _wider(part: slice, halo: int, length: int) -> slice:
    return slice(max(0, part.start - halo), min(length, part.stop + halo))


def _part(low: Tensor, outer: tuple[slice, slice], size: tuple[int, int], times: int) -> Tensor:
    """Bilinear enlargement of ``low`` (C×h×w), of which only one tile is made."""
    if times == 1:
        return low[:, outer[0], outer[1]]
    axes = []
    for part, length in zip(outer, low.shape[1:], strict=True):
        at = torch.arange(part.start, part.stop, device=low.device, dtype=torch.float32)
        axes.append((2 * at + 1) / (length * times) - 1)
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)
    return F.grid_sample(
        low[None], grid[None], mode="bilinear", padding_mode="border", align_corners=False
    )[0]


def _strips(alpha: Tensor, multiple: int = 1) -> list[slice]:
    """Rows in strips of a bounded number of pixels, cut at multiples of ``multiple``."""
    height, width = alpha.shape
    rows = max(1, STRIP // (width * multiple)) * multiple
    return [slice(top, min(height, top + rows)) for top in range(0, height, rows)]
