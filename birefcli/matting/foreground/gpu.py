"""The subject's own colour, as :mod:`.reference` finds it, on any device that torch knows."""

import torch
from torch import Tensor
from torch.nn import functional as F

from birefcli.matting.foreground import reference

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
    times, wide, halo = reference.shrinking(height, width)
    peak = torch.iinfo(pixels.dtype).max
    low = _wide_pass(pixels, alpha, times, wide, peak)
    wanted = _wanted(alpha, everywhere)
    out = pixels.clone()
    for rows, columns in _tiles(wanted, tile):
        outer = (_wider(rows, halo, height), _wider(columns, halo, width))
        image = _planes(pixels[outer], peak)
        a = alpha[outer][None]
        f, b = (_part(part, outer, (height, width), times) for part in low)
        f, b = reference.blur_fusion(a, reference.correct(image, a, f, b), b, halo)
        f = reference.correct(image, a, f, b)
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
        for rows in row_strips(alpha, times)
    ]
    image = torch.cat(parts, 1)
    a = F.avg_pool2d(alpha[None, None], times, ceil_mode=True)[0]
    return reference.blur_fusion(a, image, image, radius)


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


def row_strips(alpha: Tensor, multiple: int = 1) -> list[slice]:
    """Rows in strips of a bounded number of pixels, cut at multiples of ``multiple``."""
    height, width = alpha.shape
    rows = max(1, STRIP // (width * multiple)) * multiple
    return [slice(top, min(height, top + rows)) for top in range(0, height, rows)]
