"""Predictor: from a photo to its alpha and its subject's colour."""

import copy
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from birefcli.birefnet import BiRefNet
from birefcli.birefnet.inference import InferenceNetwork
from birefcli.errors import PhotoError
from birefcli.images.colour import to_srgb8
from birefcli.images.photo import Photo, row_blocks
from birefcli.matting.cuda_graph import GraphedNetwork
from birefcli.matting.device import Placement, as_current
from birefcli.matting.edges import cpu as edges_cpu
from birefcli.matting.edges import geometry
from birefcli.matting.foreground import cpu as foreground_cpu
from birefcli.matting.gpu import PhotoStaging, StagedPhoto
from birefcli.matting.matte import Matte
from birefcli.options import Edges, Size
from birefcli.system import process_settings

Prepared: TypeAlias = NDArray[np.uint8] | StagedPhoto
"""A photo as the network sees it, h×w×3 of uint8, here or on its device."""

LOGGER = logging.getLogger(__name__)
MEAN = (0.485, 0.456, 0.406)  # ImageNet, RGB, 0..1
STD = (0.229, 0.224, 0.225)
THIN = 8  # times a photo's width that the network's input must have to shrink its rows first


@dataclass(frozen=True)
class ForegroundOptions:
    """How much of the subject's colour is wanted."""

    refine: bool = True
    """Estimate it under soft alpha; False keeps the photo's pixels."""
    everywhere: bool = False
    """Also where there is no subject, for a foreground without alpha."""


class Normalisation:
    """ImageNet's, on a device: from bytes to what the network reads."""

    def __init__(self, device: torch.device) -> None:
        """Bring mean and deviation there once: a copy for each batch would wait for the device."""
        self._mean = torch.tensor(MEAN, device=device).view(3, 1, 1) * 255
        self._std = torch.tensor(STD, device=device).view(3, 1, 1) * 255

    def __call__(self, pixels: Tensor) -> Tensor:
        """N×h×w×3 of uint8, sRGB, to float32 N×3×h×w around zero."""
        return (pixels.permute(0, 3, 1, 2).float() - self._mean) / self._std


class Predictor:
    """A network on its device, at its input size."""

    def __init__(
        self,
        network: BiRefNet,
        size: Size,
        placement: Placement,
        *,
        cuda_graph: bool = False,
        edges: Edges = Edges.NONE,
        on_state: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``size``: the network's input, multiples of 32. ``cuda_graph``: launch the network as one
        recorded graph, where the device has such. ``edges``: how mattes come to the photo's size.
        ``on_state`` is called with what takes its time, in a few words, and ``""`` when it is over.
        """
        self.size, self.edges = size, edges
        self.placement = placement
        self.network: nn.Module = network.to(placement.device, placement.dtype).eval()
        if placement.device.type == "cpu" and isinstance(network, BiRefNet):
            self.network = InferenceNetwork(network)
        self._run: Callable[[Tensor], Tensor] = self.network
        self._staging: PhotoStaging | None = None
        if placement.device.type == "cuda":
            # Tensor cores read features channels last; other layouts are turned around each time.
            self.network.to(memory_format=torch.channels_last)
            process_settings.allow_tf32_convolutions(placement.dtype != torch.float32)
            self._staging = PhotoStaging.of(placement.device)
            if cuda_graph:
                self._run = GraphedNetwork(self.network, on_state)
        self._exact: nn.Module | None = None
        self._overflowed = False
        self._one = threading.Lock()
        self._normalise = Normalisation(placement.device)

    def upload(self, photo: Photo) -> Prepared:
        """:meth:`prepare` a photo, on a GPU with room, where :meth:`matte_async` finds it."""
        # Only bytes that need no conversion are shrunk there.
        if self._staging is not None and to_srgb8(photo) is photo.pixels:
            with as_current(self.placement.device):
                staged = self._staging.upload(photo, self.size)
            if staged is not None:
                return staged
        return self.prepare(photo)

    def prepare(self, photo: Photo) -> NDArray[np.uint8]:
        """What the network will see: h×w×3 of 8-bit sRGB, stretched, antialiased."""
        # Torch's antialiased resize of bytes is many times as quick as Pillow's, and within a level
        # of it. A decoded photo may be read-only, which torch does not know and warns of.
        pixels = np.require(to_srgb8(photo), requirements=["C", "W"])
        picture = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        width, height = self.size
        if THIN * picture.shape[3] < width:  # torch makes rows wider before it leaves any out
            rows = (min(height, picture.shape[2]), picture.shape[3])
            picture = F.interpolate(picture, rows, mode="bilinear", antialias=True)
        small = F.interpolate(picture, (height, width), mode="bilinear", antialias=True)
        return np.ascontiguousarray(small[0].permute(1, 2, 0).numpy())

    def alphas(self, inputs: Sequence[Prepared]) -> Tensor:
        """Alpha of prepared photos: float32 N×1×h×w at the network's size, 0..1.

        A photo whose features overflowed half precision is done again in float32. A batch too
        large for the device's memory is halved. Raises torch.OutOfMemoryError when one photo alone
        is too large. Threads take turns: a recorded network has one place for its input, and on
        a CPU each call has all cores.
        """
        with self._one, as_current(self.placement.device), torch.inference_mode():
            batch = self._normalise(torch.stack([self._here(prepared) for prepared in inputs]))
            waiting = [batch.to(self.placement.dtype)]
            done: list[Tensor] = []
            while waiting:
                try:
                    logits = self._run(waiting[0])
                except torch.OutOfMemoryError:
                    if len(waiting[0]) == 1:
                        raise
                    torch.cuda.empty_cache()
                    waiting[:1] = waiting[0].chunk(2)
                else:
                    done.append(torch.sigmoid(logits.float()))
                    del waiting[0]
            alphas = torch.cat(done)
            if self.placement.dtype != torch.float32:
                self._redo_overflowed(alphas, batch)
            return alphas

    def _redo_overflowed(self, alphas: Tensor, batch: Tensor) -> None:
        """Do photos whose features overflowed half precision again in float32, in place."""
        bad = ~alphas.isfinite().flatten(1).all(1)
        for i in bad.nonzero().flatten().tolist():
            if not self._overflowed:
                LOGGER.warning(
                    "features overflow %s: such photos are done again in float32",
                    self.placement.precision.value,
                )
                self._overflowed = True
            alphas[i] = torch.sigmoid(self._in_float32()(batch[i : i + 1]))[0]

    def _here(self, prepared: Prepared) -> Tensor:
        if isinstance(prepared, StagedPhoto):
            return prepared.here()
        return torch.from_numpy(prepared).to(self.placement.device)

    @contextmanager
    def heard_by(self, beat: Callable[[], None]) -> Iterator[None]:
        """Call ``beat`` as layers end, where all of them take their time: on a CPU."""

        # No bound method: a copy of the network would copy what it is bound to.
        def hook(*_: object) -> None:
            beat()

        layers = self.network.modules() if self.placement.device.type == "cpu" else ()
        hooks = [layer.register_forward_hook(hook) for layer in layers]
        try:
            yield
        finally:
            for handle in hooks:
                handle.remove()

    def warm_up(self, photos: int) -> None:
        """Run the network on noise, to see what so many photos at once take, without recording."""
        shape = (photos, 3, self.size[1], self.size[0])
        with as_current(self.placement.device), torch.inference_mode():
            self.network(torch.randn(shape, device=self.placement.device).to(self.placement.dtype))

    def _in_float32(self) -> nn.Module:
        if self._exact is None:
            self._exact = copy.deepcopy(self.network).float()
        return self._exact

    def matte_async(
        self, photo: Photo, alpha: Tensor, colour: ForegroundOptions | None
    ) -> Callable[[], Matte]:
        """Start :meth:`matte`; what is returned ends it, in any thread.

        On a GPU the copy of the result runs beside the network's next batch; on a CPU all of it
        does, in the thread that ends it.
        """
        refine = colour is not None and colour.refine
        everywhere = colour is not None and colour.everywhere
        edges = None
        if photo.whole is None:  # else its pixels are fewer
            edges = geometry.plan(self.edges, photo.shape, tuple(alpha.shape[1:]))
        with as_current(self.placement.device), torch.inference_mode():
            _check(alpha)
            if self._staging is None:
                here = alpha.cpu()  # in this thread: others must not reach for the device
                return lambda: _on_cpu(photo, here, edges, refine, everywhere)
            full = enlarge(alpha, photo.shape)
            return self._staging.finish(photo, full, edges, refine=refine, everywhere=everywhere)

    def matte(self, photo: Photo, alpha: Tensor, colour: ForegroundOptions | None) -> Matte:
        """Alpha and colour at the photo's size.

        ``alpha``: one of :meth:`alphas`, 1×h×w; ``colour`` None leaves the photo's pixels, for
        products that show none. The photo's own transparency is multiplied in. Raises PhotoError
        when the network gave no numbers.
        """
        return self.matte_async(photo, alpha, colour)()


def _on_cpu(
    photo: Photo, alpha: Tensor, edges: geometry.Plan | None, refine: bool, everywhere: bool
) -> Matte:
    levels, pixels = enlarged_levels(alpha, photo.shape), photo.pixels
    if edges is not None:
        edges_cpu.refine(pixels, levels, edges)
    if refine:
        # Under the photo's own transparency its pixels are no mixture: only the network's alpha
        # says how much background they hold.
        pixels = foreground_cpu.estimate_pixels(pixels, levels, everywhere=everywhere)
    return Matte(_times(levels, photo.alpha), pixels)


def enlarged_levels(alpha: Tensor, shape: tuple[int, int]) -> NDArray[np.uint16]:
    """Alpha 1×h×w on the CPU to 0..65535 at the photo's size, as :func:`enlarge` has it.

    The bicubic enlargement is OpenCV's, of 16-bit numbers: nothing of the photo's size is made in
    floating point. It is within three levels of 65535.
    """
    height, width = shape
    if height < alpha.shape[1] or width < alpha.shape[2]:
        return _whole(enlarge(alpha, shape))
    levels = _whole(alpha[0])
    if levels.shape == shape:
        return levels
    large = cv2.resize(levels, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(large, np.uint16)


def _check(alpha: Tensor) -> None:
    if not alpha.isfinite().all():
        raise PhotoError("the network gave NaN or infinite values, in float32 too")


def enlarge(alpha: Tensor, shape: tuple[int, int]) -> Tensor:
    """Alpha 1×h×w to float32 H×W of the photo, 0..1: bicubic up, averaged down."""
    if alpha.device.type == "mps":
        alpha = alpha.cpu()  # torch has no antialiased resize there
    if tuple(alpha.shape[1:]) == shape:
        return alpha[0]
    smaller = shape[0] < alpha.shape[1] or shape[1] < alpha.shape[2]
    if smaller:  # first: the map in between is as wide as the photo and as high as the network's
        fewer = (min(shape[0], alpha.shape[1]), min(shape[1], alpha.shape[2]))
        alpha = F.interpolate(alpha[None], size=fewer, mode="bicubic", antialias=True)[0]
    full = F.interpolate(alpha[None], size=shape, mode="bicubic", antialias=smaller)
    return full[0, 0].clamp_(0, 1)


def _whole(alpha: Tensor) -> NDArray[np.uint16]:
    """Alpha H×W of 0..1 as 0..65535."""
    out = np.empty(tuple(alpha.shape), np.uint16)
    for rows in row_blocks(len(out)):
        out[rows] = (alpha[rows] * 65535).round_().to(torch.int32).cpu().numpy()
    return out


def _times(
    alpha: NDArray[np.uint16], own: NDArray[np.uint8] | NDArray[np.uint16] | None
) -> NDArray[np.uint16]:
    """Multiply the photo's own transparency into ``alpha``, which is changed."""
    if own is None:
        return alpha
    peak = int(np.iinfo(own.dtype).max)
    for rows in row_blocks(len(alpha)):
        # Even the largest product, 65535², and half a step fit 32 bits.
        product = alpha[rows].astype(np.uint32) * own[rows] + np.uint32(peak // 2)
        alpha[rows] = product // np.uint32(peak)
    return alpha
