"""Edges at the photo's size, as :mod:`.cpu` finds them, on any device that torch knows."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from birefcli.matting.edges import geometry
from birefcli.matting.edges.geometry import Area, Plan, wider, within
from birefcli.matting.edges.laplacian import ColourWindows, closed_form
from birefcli.matting.foreground.gpu import row_strips
from birefcli.matting.foreground.reference import tiles

LARGE = 1024  # rows and columns of the photo that are done at once


def refine(pixels: Tensor, alpha: Tensor, plan: Plan) -> None:
    """Bind soft alpha to the photo's colours, in place.

    ``pixels``: H×W×3 of uint8 or uint16; ``alpha``: float32 H×W, 0..1, on the same device. The
    rest is that of :func:`.cpu.refine`. The CPU waits for the device once.
    """
    side = plan.side
    colours, low = _shrunk(pixels, alpha, side)
    wanted = _wanted(low)
    size = (low.shape[0], low.shape[1])
    where = wanted.cpu().numpy()
    for area in tiles(where, geometry.TILE):
        outer, around = wider(area, plan.halo, size), wider(area, 1, size)
        planes = _lines(_cut(colours, outer), low[outer], wanted[outer], plan)
        planes = _cut(planes, within(around, outer))
        for part in geometry.parts(where, area, max(1, LARGE // side)):
            near, here = wider(part, 1, size), geometry.pixels_of(part, side, size, alpha.shape)
            some = _cut(planes, within(near, around))
            lines = _enlarged(some, side, within(part, near), alpha[here].shape)
            chosen = _repeated(wanted[part], side, alpha[here].shape)
            alpha[here] = torch.where(chosen, _alpha(pixels[here], lines), alpha[here])


def _cut(planes: Tensor, area: Area) -> Tensor:
    return planes[:, area[0], area[1]]


def _shrunk(pixels: Tensor, alpha: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Means of whole squares: colours 3×h×w around zero, −½..½, and alpha h×w, 0..1.

    They are rounded to the photo's and to 65535 levels, as they are on the CPU.
    """
    height, width = (length // side * side for length in alpha.shape)
    peak = torch.iinfo(pixels.dtype).max
    colours, low = [], []
    for rows in row_strips(alpha[:height], side):
        planes = pixels[rows, :width].to(torch.float32).permute(2, 0, 1)
        colours.append(F.avg_pool2d(planes, side).round_().div_(peak).sub_(0.5))
        levels = F.avg_pool2d(alpha[None, rows, :width], side)[0] * 65535
        low.append(levels.round_().div_(65535))
    return torch.cat(colours, 1), torch.cat(low)


def _wanted(low: Tensor) -> Tensor:
    """Squares of the grid that may change, bool."""
    soft = (low > geometry.FAINT) & (low < 1 - geometry.FAINT)
    reach = geometry.REACH
    near = F.max_pool2d(soft.to(torch.float32)[None], 2 * reach + 1, 1, reach)
    return near[0] > 0


def _lines(colours: Tensor, alpha: Tensor, wanted: Tensor, plan: Plan) -> Tensor:
    """Alpha of a part of the grid as lines of 0..1 to 0..65535 levels: 4×h×w, the level last."""
    windows = ColourWindows(list(colours), _inside(alpha, plan.radius), _box(plan.radius))
    found = closed_form(windows, alpha, plan.steps) if plan.steps else alpha
    lines = windows.averaged(windows.lines(found)).faded(alpha, _share(wanted))
    lines = lines.of_levels(1, geometry.CONTRAST)
    return torch.stack((*lines.slopes, lines.level))


def _share(wanted: Tensor) -> Tensor:
    """How much of the change each square takes, 0..1: none at the border of the wanted ones."""
    fade = geometry.FADE
    kernel, sides = 2 * fade + 1, (fade,) * 4
    outside = F.pad((~wanted).to(torch.float32)[None], sides, mode="replicate")
    inner = 1 - F.max_pool2d(outside, kernel, 1)
    return F.avg_pool2d(F.pad(inner, sides, mode="replicate"), kernel, 1)[0]


def _box(radius: int) -> Callable[[Tensor], Tensor]:
    def box(plane: Tensor) -> Tensor:
        kernel = 2 * radius + 1
        across = F.avg_pool2d(plane[None], (1, kernel), 1, (0, radius))
        return F.avg_pool2d(across, (kernel, 1), 1, (radius, 0))[0]

    return box


def _inside(plane: Tensor, radius: int) -> Tensor:
    """How much of the window around each pixel lies in the plane; made on the device, unwaited."""
    shares = []
    for length in plane.shape:
        at = torch.arange(length, device=plane.device)
        count = (at + radius + 1).clamp(max=length) - (at - radius).clamp(min=0)
        shares.append(count.to(plane.dtype) / (2 * radius + 1))
    return torch.outer(*shares)


def _enlarged(low: Tensor, side: int, part: Area, shape: torch.Size) -> Tensor:
    """The squares ``part`` of C×h×w as H×W pixels, bilinearly; the last go on to the border."""
    if side > 1:
        low = F.interpolate(low[None], scale_factor=side, mode="bilinear", align_corners=False)[0]
    rows, columns = (
        slice(squares.start * side, squares.start * side + length)
        for squares, length in zip(part, shape, strict=True)
    )
    return _to_shape(low[:, rows, columns], shape)


def _repeated(wanted: Tensor, side: int, shape: torch.Size) -> Tensor:
    """Squares as H×W pixels."""
    large = wanted.repeat_interleave(side, 0).repeat_interleave(side, 1)
    return _to_shape(large[None].to(torch.float32), shape)[0] > 0


def _to_shape(planes: Tensor, shape: torch.Size) -> Tensor:
    """Repeat the last row and column of C×h×w as far as they are missing."""
    below, right = (n - got for n, got in zip(shape, planes.shape[1:], strict=True))
    return F.pad(planes, (0, right, 0, below), mode="replicate") if below or right else planes


def _alpha(pixels: Tensor, lines: Tensor) -> Tensor:
    """Alpha of H×W×3 pixels, 0..1 in 65535 steps, by lines 4×H×W."""
    planes = pixels.to(torch.float32).permute(2, 0, 1) / torch.iinfo(pixels.dtype).max
    found = (lines[:3] * planes).sum(0).add_(lines[3])
    return found.clamp_(0, 65535).round_().div_(65535)
