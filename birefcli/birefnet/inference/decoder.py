"""The decoder for inference on a CPU, see :mod:`birefcli.birefnet.decoder`."""

from typing import cast

import torch
from torch import Tensor, nn

from birefcli.birefnet import decoder
from birefcli.birefnet.decoder import BasicBlock, ImageBlock, LateralBlock, resize
from birefcli.birefnet.inference.convolution import Convolution
from birefcli.birefnet.inference.detail import Detail
from birefcli.birefnet.inference.pyramid import Pyramid


class Block(nn.Module):
    """A decoder block: squeeze, deformable pyramid, expand."""

    def __init__(self, block: BasicBlock) -> None:
        super().__init__()
        self.squeezed = Squeezed(block)
        self.expand = Convolution.of(block.conv_out, block.bn_out)

    def forward(self, x: Tensor, reference: Tensor | None = None) -> Tensor:
        """N×in×H×W to N×out×H×W; ``x`` is stacked on ``reference``, where there is one."""
        out: Tensor = self.expand(self.squeezed(x, reference))
        return out


class Squeezed(nn.Module):
    """All of a block but its last convolution."""

    def __init__(self, block: BasicBlock, own: int | None = None) -> None:
        """``own``: channels that do not come from the reference."""
        super().__init__()
        self.squeeze = Convolution.of(block.conv_in, block.bn_in, "relu")
        self.pyramid = Pyramid(block.dec_att)

    def forward(self, x: Tensor, reference: Tensor | None = None) -> Tensor:
        """N×in×H×W to N×width×H×W."""
        if reference is not None:
            x = torch.cat([x, reference], 1)
        out: Tensor = self.pyramid(self.squeeze(x))
        return out


class Reference(nn.Module):
    """What the image's patches tell the block of a level."""

    def __init__(self, block: ImageBlock) -> None:
        super().__init__()
        self.first = Convolution.of(block.conv1)
        self.last = Convolution.of(block.conv_out)

    def forward(self, image: Tensor, size: torch.Size) -> Tensor:
        """N×3×H×W, channels last, to N×out×h×w, ``size`` being h and w."""
        out: Tensor = self.last(self.first(_patches(image, size)))
        return out


def _patches(image: Tensor, size: torch.Size) -> Tensor:
    """:func:`birefcli.birefnet.decoder.image_patches`, channels last, in one copy."""
    n, c, height, width = image.shape
    h, w = size
    cut = image.permute(0, 2, 3, 1).view(n, height // h, h, width // w, w, c)
    return cut.permute(0, 2, 4, 5, 1, 3).reshape(n, h, w, -1).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """The inward reference: features times what a gradient map of theirs lets through."""

    weight: Tensor
    bias: Tensor

    def __init__(self, gradient: nn.Sequential, attention: nn.Conv2d) -> None:
        super().__init__()
        conv, norm, _ = gradient
        self.edges = Convolution.of(conv, norm, "relu")
        assert attention.bias is not None
        self.register_buffer("weight", attention.weight.detach().flatten(), persistent=False)
        self.register_buffer("bias", attention.bias.detach(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W to the same shape; ``x`` is overwritten."""
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
        """``x`` N×C×h×w, overwritten, and both scales of an encoder map: N×C×H×W of ``full``."""
        size = full.shape[2:]
        if half.shape[2:] == x.shape[2:]:
            x = resize(self.coarse(half, x), size)
        else:
            x = resize(x, size).add_(resize(self.coarse(half), size))
        out: Tensor = self.fine(full, x)
        return out


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
            Reference(cast("ImageBlock", part(f"ipt_blk{i + 1}"))) for i in (*levels, 1)
        )
        self.last = Squeezed(network.decoder_block1)
        inner, outer, bias = network.head()
        weight, shift = (t.detach() for t in network.decoder_block1.composed(inner))
        self.logits = Convolution(weight.to(inner), (shift + bias).to(inner), padding=1)
        self.detail = Detail(network.ipt_blk1, outer)

    def forward(self, image: Tensor, x: Tensor, full: list[Tensor], half: list[Tensor]) -> Tensor:
        """Logits N×1×H×W, see :meth:`birefcli.birefnet.decoder.Decoder.forward`."""
        levels = zip(self.blocks, self.attentions, self.joins, full[::-1], half[::-1], strict=True)
        for i, (block, attention, join, fine, coarse) in enumerate(levels):
            x = attention(block(x, self.references[i](image, x.shape[2:])))
            x = join(x, fine, coarse)
        x = self.last(x, self.references[-1](image, x.shape[2:]))
        return resize(self.logits(x), image.shape[2:]).add_(self.detail(image))
