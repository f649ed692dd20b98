"""The subject's own colour, as :mod:`.reference` finds it, on any device that torch knows."""

import torch
from torch import Tensor
from torch.nn import functional as F

from birefcli.matting.foreground import reference
from birefcli.matting.foreground.reference import Shrinking

TILE = 1024  # side of the squares of full-size work, in pixels
STRIP = 1 << 24  # pixels of a strip of rows, where a whole photo would take much memory


def estimate(
    pixels: Tensor, alpha: Tensor, *, everywhere: bool = False, tile: int = TILE
) -> Tensor:
    """Foreground colour, as :func:`.cpu.estimate_pixels` has it, on the device.

    ``pixels``: H×W×3 of uint8 or uint16; ``alpha``: float32 H×W, 0..1, on the same device. Returns
    H×W×3 of the same dtype: estimated where alpha is soft and just around it, or with
    ``everywhere`` wherever it is below 1; the photo's pixels elsewhere.
    """
    height, width = alpha.shape
    how = reference.shrinking(height, width)
    peak = torch.iinfo(pixels.dtype).max
    small = _shrunk(pixels, alpha, how.times, peak)
    far = _wide_pass(*small, how)
    wanted = _wanted(alpha, everywhere)
    out = pixels.clone()
    for area in _tiles(wanted, tile):
        image, a = _planes(pixels[area], peak), alpha[area][None]
        smooth = _second_pass(*small, far, how, area)
        ground = _enlarged(far[1], how.coarse, area)
        f = reference.correct(image, a, smooth, ground)
        whole = (f * peak).round_().to(torch.int32).permute(1, 2, 0)
        kept = out[area].to(torch.int32)  # torch cannot choose among uint16 everywhere
        chosen = torch.where(wanted[area][..., None], whole, kept)
        out[area] = chosen.to(out.dtype)
    return out


def _shrunk(pixels: Tensor, alpha: Tensor, times: int, peak: int) -> tuple[Tensor, Tensor]:
    """The photo 3×h×w and its alpha 1×h×w, shrunk ``times``."""
    parts = [
        F.avg_pool2d(_planes(pixels[rows], peak)[None], times, ceil_mode=True)[0]
        for rows in row_strips(alpha, times)
    ]
    return torch.cat(parts, 1), F.avg_pool2d(alpha[None, None], times, ceil_mode=True)[0]


def _wide_pass(image: Tensor, alpha: Tensor, how: Shrinking) -> tuple[Tensor, Tensor]:
    """F̄ and B̄ of the wide blur, each 3×h×w, of squares of the shrunk photo."""
    stack = torch.cat([image * alpha, alpha, image * (1 - alpha), image])
    sums = F.avg_pool2d(stack[None], how.square, ceil_mode=True)[0]
    means = reference.box_mean(sums[:7], how.wide)
    few, weight = reference.EPSILON * sums[7:], means[3:4]
    return (
        (means[:3] + few) / (weight + reference.EPSILON),
        (means[4:] + few) / (1 - weight + reference.EPSILON),
    )


def _second_pass(
    image: Tensor,
    alpha: Tensor,
    far: tuple[Tensor, Tensor],
    how: Shrinking,
    area: tuple[slice, slice],
) -> Tensor:
    """F̄ of the narrow blur, 3×h×w, for an area of the photo; ``image``, ``alpha``: shrunk."""
    height, width = alpha.shape[1:]
    low = _low(area, how.times, (height, width))
    outer = (_wider(low[0], how.narrow, height), _wider(low[1], how.narrow, width))
    a, part = alpha[:, outer[0], outer[1]], image[:, outer[0], outer[1]]
    smooth, ground = (_enlarged(mean, how.square, outer) for mean in far)
    near = reference.correct(part, a, smooth, ground)
    found = reference.smooth_foreground(a, near, how.narrow)
    if how.times == 1:
        return found[:, _within(area[0], outer[0]), _within(area[1], outer[1])]
    start = (outer[0].start, outer[1].start)
    return _enlarged(found, how.times, area, start)


def _low(area: tuple[slice, slice], times: int, size: tuple[int, int]) -> tuple[slice, slice]:
    """The area of a plane of ``size`` of which ``area`` is made when it is enlarged."""
    if times == 1:
        return area
    rows, columns = (
        slice(max(0, part.start // times - 1), min(length, (part.stop - 1) // times + 2))
        for part, length in zip(area, size, strict=True)
    )
    return rows, columns


def _within(part: slice, outer: slice) -> slice:
    return slice(part.start - outer.start, part.stop - outer.start)


def _planes(pixels: Tensor, peak: int) -> Tensor:
    return pixels.to(torch.float32).permute(2, 0, 1).contiguous().div_(peak)


def _wanted(alpha: Tensor, everywhere: bool) -> Tensor:
    """Pixels to estimate, bool H×W."""
    below = alpha < 1
    if everywhere:
        return below
    soft = ((alpha > reference.FAINT) & (alpha < 1 - reference.FAINT)).to(
        torch.float16 if alpha.is_cuda else torch.float32
    )[None]
    around = reference.AROUND
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


def _enlarged(
    low: Tensor, times: int, area: tuple[slice, slice], start: tuple[int, int] = (0, 0)
) -> Tensor:
    """Bilinear enlargement of ``low`` (C×h×w), of which only one tile is made.

    ``start``: where ``low`` begins in the plane it is cut from.
    """
    if times == 1:
        return low[:, area[0], area[1]]
    axes = []
    for part, length, first in zip(area, low.shape[1:], start, strict=True):
        at = torch.arange(part.start, part.stop, device=low.device, dtype=torch.float32)
        axes.append((2 * at + 1 - 2 * first * times) / (length * times) - 1)
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)
    return F.grid_sample(
        low[None], grid[None], mode="bilinear", padding_mode="border", align_corners=False
    )[0]


def row_strips(alpha: Tensor, multiple: int = 1) -> list[slice]:
    """Rows in strips of a bounded number of pixels, cut at multiples of ``multiple``."""
    height, width = alpha.shape
    rows = max(1, STRIP // (width * multiple)) * multiple
    return [slice(top, min(height, top + rows)) for top in range(0, height, rows)]
