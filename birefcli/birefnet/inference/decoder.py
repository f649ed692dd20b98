"""The decoder for inference on a CPU, see :mod:`birefcli.birefnet.decoder`."""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from birefcli.birefnet import decoder
from birefcli.birefnet.decoder import BasicBlock, ImageBlock, LateralBlock, resize
from birefcli.birefnet.inference.convolution import Convolution, keep
from birefcli.birefnet.inference.detail import Detail
from birefcli.birefnet.inference.pyramid import Pyramid


class Block(nn.Module):
    """A decoder block: squeeze, deformable pyramid, expand."""

    def __init__(self, block: BasicBlock) -> None:
        super().__init__()
        self.squeezed = Squeezed(block)
        self.expand = Convolution.of(block.conv_out, block.bn_out)

    def forward(self, x: Tensor, reference: Tensor | None = None) -> Tensor:
        """1×in×H×W to 1×out×H×W; ``x`` is stacked on ``reference``, where there is one."""
        out: Tensor = self.expand(self.squeezed(x, reference))
        return out


class Squeezed(nn.Module):
    """All of a block but its last convolution."""

    def __init__(self, block: BasicBlock) -> None:
        super().__init__()
        self.squeeze = Convolution.of(block.conv_in, block.bn_in, "relu")
        self.pyramid = Pyramid(block.dec_att)

    def forward(self, x: Tensor, reference: Tensor | None = None) -> Tensor:
        """1×in×H×W to 1×width×H×W."""
        if reference is not None:
            x = torch.cat([x, reference], 1)
        out: Tensor = self.pyramid(self.squeeze(x))
        return out


class Reference(nn.Module):
    """What the image's patches tell the block of a level."""

    def __init__(self, block: ImageBlock, grid: int) -> None:
        """``grid``: patches on a side, as :func:`cut` makes them."""
        super().__init__()
        self.first = Convolution.of(block.conv1)
        assert self.first.weight is not None
        keep(self.first, weight=self.first.weight[:, _order(grid)])
        self.last = Convolution.of(block.conv_out)

    def forward(self, patches: Tensor) -> Tensor:
        """1×3·grid²×h×w to 1×out×h×w."""
        out: Tensor = self.last(self.first(patches))
        return out


FEWEST = 4
"""Patches on a side at the finest level."""


def cut(image: Tensor) -> list[Tensor]:
    """The patches of each level, 1×3·grid²×h×w, channels last: 4 to 32 on a side.

    Those of a level are cut from those of the level before, in long runs of memory; so their order
    is not that of :func:`birefcli.birefnet.decoder.image_patches`, but :func:`_order`.
    """
    _, c, height, width = image.shape
    h, w = height // FEWEST, width // FEWEST
    planes = image.contiguous().view(c, FEWEST, h, FEWEST, w)
    # In two steps, by rows of a patch and as a matrix: both are quicker than one for all five axes.
    patches = planes.transpose(2, 3).reshape(-1, h * w)
    levels = [patches.t().contiguous().view(h, w, -1)]
    for _ in range(3):
        h, w = h // 2, w // 2
        four = levels[-1].view(2, h, 2, w, -1).permute(1, 3, 0, 2, 4)
        levels.append(four.reshape(h, w, -1))
    return [patches.permute(2, 0, 1)[None] for patches in levels]


def _order(grid: int) -> Tensor:
    """Of each channel of :func:`cut`: which one of ``image_patches`` it is."""
    if grid == FEWEST:
        return torch.arange(3 * grid * grid)
    coarse, places = _order(grid // 2), torch.arange(3 * grid * grid).view(3, grid, grid)
    return torch.cat([places[:, i::2, j::2].flatten()[coarse] for i in (0, 1) for j in (0, 1)])


class Attention(nn.Module):
    """The inward reference: features times what a gradient map of theirs lets through."""

    weight: Tensor
    bias: Tensor

    def __init__(self, gradient: nn.Sequential, attention: nn.Conv2d) -> None:
        super().__init__()
        conv, norm = cast("nn.Conv2d", gradient[0]), cast("nn.BatchNorm2d", gradient[1])
        self.edges = Convolution.of(conv, norm, "relu")
        assert attention.bias is not None
        keep(self, weight=attention.weight.flatten(), bias=attention.bias)

    def forward(self, x: Tensor) -> Tensor:
        """1×C×H×W to the same shape; ``x`` is overwritten."""
        # A convolution to one channel is a product with a vector: oneDNN computes sixteen at least.
        share = self.edges(x).permute(0, 2, 3, 1) @ self.weight
        return x.mul_(share.add_(self.bias).sigmoid_()[:, None])


class Join(nn.Module):
    """The lateral connection of a level, see :meth:`birefcli.birefnet.decoder.Decoder._join`."""

    def __init__(self, lateral: LateralBlock) -> None:
        super().__init__()
        conv = lateral.conv
        assert conv.bias is not None
        fine, coarse = conv.weight.detach().chunk(2, 1)
        self.fine = Convolution(fine, conv.bias.detach())
        self.coarse = Convolution(coarse, torch.zeros_like(conv.bias))

    def forward(self, x: Tensor, full: Tensor, half: Tensor) -> Tensor:
        """``x`` 1×C×h×w, overwritten, and both scales of an encoder map: 1×C×H×W of ``full``."""
        size = full.shape[2:]
        if half.shape[2:] == x.shape[2:]:
            x = resize(self.coarse(half, x), size)
        else:
            x = resize(x, size).add_(resize(self.coarse(half), size))
        out: Tensor = self.fine(full, x)
        return out


class Seen(NamedTuple):
    """What a decoder makes of the image alone."""

    references: list[Tensor]
    """For each block, coarsest first: 1×C×h×w."""
    detail: Tensor
    """Share of the logits, 1×1×H×W."""


class Decoder(nn.Module):
    """From encoder maps and the image to one map of logits."""

    def __init__(self, network: decoder.Decoder) -> None:
        super().__init__()
        part = network.get_submodule
        levels = (4, 3, 2)
        self.blocks = nn.ModuleList(
            Block(cast("BasicBlock", part(f"decoder_block{i}"))) for i in levels
        )
        self.attentions = nn.ModuleList(
            Attention(
                cast("nn.Sequential", part(f"gdt_convs_{i}")),
                cast("nn.Conv2d", part(f"gdt_convs_attn_{i}.0")),
            )
            for i in levels
        )
        self.joins = nn.ModuleList(
            Join(cast("LateralBlock", part(f"lateral_block{i}"))) for i in levels
        )
        self.references = nn.ModuleList(
            Reference(cast("ImageBlock", part(f"ipt_blk{i + 1}")), FEWEST * 2 ** (i - 1))
            for i in (*levels, 1)
        )
        self.last = Squeezed(network.decoder_block1)
        inner, outer, bias = network.head()
        self.head = Head(network.decoder_block1, inner, bias)
        self.detail = Detail(network.ipt_blk1, outer)

    def see(self, image: Tensor) -> Seen:
        """What is made of the image alone, N×3×H×W with N one."""
        references = zip(self.references, reversed(cut(image)), strict=True)
        return Seen([reference(patches) for reference, patches in references], self.detail(image))

    def forward(self, x: Tensor, full: list[Tensor], half: list[Tensor], seen: Seen) -> Tensor:
        """Logits 1×1×H×W, see :meth:`birefcli.birefnet.decoder.Decoder.forward`."""
        *references, last = seen.references
        levels = zip(self.blocks, self.attentions, self.joins, full[::-1], half[::-1], strict=True)
        for reference, (block, attention, join, fine, coarse) in zip(
            references, levels, strict=True
        ):
            x = join(attention(block(x, reference)), fine, coarse)
        x = self.last(x, last)
        return resize(self.head(x), seen.detail.shape[2:]).add_(seen.detail)


class Head(nn.Module):
    """A block's last convolution and the decoder's, to one channel, as one of 3×3.

    A product for each of the nine taps, which are then shifted and added: oneDNN computes sixteen
    channels where one is asked for.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, block: BasicBlock, weight: Tensor, bias: Tensor) -> None:
        """``weight``: 1×C×1×1 of the convolution to one channel."""
        super().__init__()
        composed, shift = block.composed(weight)
        taps = composed[0].flip(1, 2).flatten(1).T
        keep(self, weight=taps.to(weight.dtype), bias=(shift + bias).to(weight.dtype))

    def forward(self, x: Tensor) -> Tensor:
        """1×C×H×W, channels last, to 1×1×H×W."""
        rows = x.permute(0, 2, 3, 1).flatten(0, 2)
        taps = self.weight @ rows.T
        return F.fold(taps[None], x.shape[2:], 3, padding=1).add_(self.bias)
