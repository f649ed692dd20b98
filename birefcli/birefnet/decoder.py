"""The decoder: bilateral reference (BiRefNet, section 3.3).

The outward reference is the image itself, cut into patches and read at every level; the inward
one is a gradient map that each level predicts and uses as attention on its own features.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from birefcli.birefnet.aspp import DeformableASPP
from birefcli.birefnet.batch_norm import folded
from birefcli.birefnet.config import Config

MARGIN = 4  # pixels of a strip along the border that decide its outermost row


def resize(x: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    """Bilinear with aligned corners: every resize inside the network."""
    size = (int(size[0]), int(size[1]))
    if tuple(x.shape[2:]) == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def resize_through(x: Tensor, middle: torch.Size, size: torch.Size) -> Tensor:
    """Two resizes, to ``middle`` and on to ``size``, without the map of the middle size.

    A resize is linear along each side, and so are two in a row: one matrix a side.
    """
    # An exporter records no matrix that is kept for later calls.
    if x.device.type != "cpu" or torch.compiler.is_compiling() or tuple(middle) == tuple(size):
        return resize(resize(x, middle), size)
    down, right = (_line_through(x.shape[2 + i], middle[i], size[i]).to(x) for i in (0, 1))
    rows = x.permute(0, 2, 3, 1)  # channels last, as the encoder gives it
    fewer = (down @ rows.flatten(2)).view(len(x), size[0], x.shape[3], x.shape[1])
    return (right @ fewer).permute(0, 3, 1, 2)


@lru_cache(maxsize=64)
def _line_through(length: int, middle: int, size: int) -> Tensor:
    """Matrix size×length, float32, that resizes one side to ``middle`` and on to ``size``."""
    with torch.inference_mode(False):  # kept for later calls, which may train
        return _line(middle, size) @ _line(length, middle)


def _line(length: int, size: int) -> Tensor:
    """Matrix size×length that resizes one side."""
    line = F.interpolate(torch.eye(length)[None], size=size, mode="linear", align_corners=True)
    return line[0].T


def image_patches(image: Tensor, size: torch.Size) -> Tensor:
    """Cut into a grid of patches about ``size`` large, stacked along channels (c, row, column).

    N×3×H×W to N×3·rows·columns×h×w, the image's pixels moved but not changed.
    """
    n, c, height, width = image.shape
    rows, columns = height // size[0], width // size[1]
    cut = image.view(n, c, rows, height // rows, columns, width // columns)
    return cut.permute(0, 1, 2, 4, 3, 5).reshape(n, c * rows * columns, *cut.shape[3::2])


class BasicBlock(nn.Module):
    """Decoder block: squeeze, deformable pyramid, expand."""

    def __init__(self, in_channels: int, out_channels: int, config: Config) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(in_channels, config.width, 3, padding=1)
        self.bn_in = nn.BatchNorm2d(config.width)
        self.dec_att = DeformableASPP(config.width, config.aspp_width, config.kernels)
        self.conv_out = nn.Conv2d(config.width, out_channels, 3, padding=1)
        self.bn_out = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """N×in×H×W to N×out×H×W."""
        out: Tensor = self.bn_out(self.conv_out(self.squeezed(x)))
        return out

    def squeezed(self, x: Tensor) -> Tensor:
        """All but the last convolution and its norm: N×in×H×W to N×width×H×W."""
        out: Tensor = self.dec_att(F.relu(self.bn_in(self.conv_in(x))))
        return out

    def times(self, weight: Tensor, x: Tensor) -> Tensor:
        """What a 1×1 convolution to one channel makes of :meth:`forward`, from :meth:`squeezed`.

        ``weight``: 1×out×1×1. Convolution, norm and convolution are one convolution.
        """
        composed, bias = self.composed(weight)
        return F.conv2d(x, composed.to(x.dtype), bias.to(x.dtype), padding=1)

    def composed(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Weight 1×width×3×3 and bias of :meth:`times` as a convolution, float32."""
        scale, shift = folded(self.bn_out)
        outer = weight.float().flatten()
        inner = self.conv_out.weight.float()
        assert self.conv_out.bias is not None
        bias = outer @ (scale * self.conv_out.bias.float() + shift)
        return torch.einsum("c,cikl->ikl", outer * scale, inner)[None], bias[None]


class ImageBlock(nn.Module):
    """Reads image patches: two convolutions with nothing between."""

    def __init__(self, in_channels: int, out_channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1)
        self.conv_out = nn.Conv2d(width, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """N×in×H×W to N×out×H×W."""
        out: Tensor = self.conv_out(self.conv1(x))
        return out

    def times(self, weight: Tensor, x: Tensor) -> Tensor:
        """What a 1×1 convolution to one channel (``weight``: 1×out×1×1) makes of :meth:`forward`.

        Both convolutions and the 1×1 are one of 5×5, but for the outermost pixels: the second one
        sees zeros beyond the border, where the one of 5×5 sees what the first makes of zeros.
        """
        first, last, inner, bias = self.chain(weight)
        if min(x.shape[2:]) < 2 * MARGIN:
            return F.conv2d(self.conv1(x), last.to(x), bias.to(x), padding=1)
        both = F.conv2d(first.transpose(0, 1), last.flip(2, 3), padding=2).transpose(0, 1)
        shift = torch.einsum("oikl,i->o", last, inner)
        out = F.conv2d(x, both.to(x), (bias + shift).to(x), padding=2)
        for side in (2, 3):
            first_line, last_line = (
                self._line(x.narrow(side, start, MARGIN), last, bias, side, edge)
                for start, edge in ((0, 0), (x.shape[side] - MARGIN, MARGIN - 1))
            )
            inside = out.narrow(side, 1, out.shape[side] - 2)
            out = torch.cat([first_line, inside, last_line], side)
        return out

    def _line(self, strip: Tensor, last: Tensor, bias: Tensor, side: int, edge: int) -> Tensor:
        """The outermost row or column of :meth:`times`, one convolution after the other.

        ``strip``: the pixels along that border; ``edge``: which of them is outermost.
        """
        out = F.conv2d(self.conv1(strip), last.to(strip), bias.to(strip), padding=1)
        return out.narrow(side, edge, 1)

    def chain(self, weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The two convolutions of :meth:`times`, float32: both weights, then both biases."""
        assert self.conv1.bias is not None
        assert self.conv_out.bias is not None
        outer = weight.float().flatten()
        last = torch.einsum("c,cikl->ikl", outer, self.conv_out.weight.float())[None]
        bias = (outer @ self.conv_out.bias.float())[None]
        return self.conv1.weight.float(), last, self.conv1.bias.float(), bias


class LateralBlock(nn.Module):
    """1×1 convolution of an encoder map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W to the same shape."""
        out: Tensor = self.conv(x)
        return out

    def halves(self, full: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
        """What each half of the channels adds to :meth:`forward`, each at its own size.

        ``full``: N×C/2×H×W; ``half``: N×C/2×h×w, to be resized to H×W when it is multiplied: the
        1×1 convolution and the resize commute, and the smaller map is the cheaper one.
        """
        first, second = self.conv.weight.chunk(2, 1)
        return F.conv2d(full, first, self.conv.bias), F.conv2d(half, second)


@dataclass(frozen=True)
class Supervision:
    """What training sees beside the last logits; lists run from the coarsest level to the finest.

    ``sides``: logits N×1×h×w of each level. ``gradients``: logits N×1×h×w of the gradient map that
    each level predicts.
    """

    logits: Tensor
    sides: list[Tensor]
    gradients: list[Tensor]


class Decoder(nn.Module):
    """From encoder maps and the image to one map of logits."""

    def __init__(self, channels: list[int], config: Config) -> None:
        """``channels``: of the four encoder maps, finest first, both scales stacked."""
        super().__init__()
        c1, c2, c3, c4 = channels
        image = {5: c4 // 8, 4: c4 // 8, 3: c3 // 8, 2: c2 // 8, 1: c1 // 8}
        # A patch grid of 32, 16, 8, 4 on a side at strides 32, 16, 8, 4, and the image itself.
        for level, grid in ((5, 32), (4, 16), (3, 8), (2, 4)):
            block = ImageBlock(3 * grid * grid, image[level], config.width)
            self.add_module(f"ipt_blk{level}", block)
        self.ipt_blk1 = ImageBlock(3, image[1], config.width)
        self.decoder_block4 = BasicBlock(c4 + image[5], c3, config)
        self.decoder_block3 = BasicBlock(c3 + image[4], c2, config)
        self.decoder_block2 = BasicBlock(c2 + image[3], c1, config)
        self.decoder_block1 = BasicBlock(c1 + image[2], c1 // 2, config)
        self.conv_out1 = nn.Sequential(nn.Conv2d(c1 // 2 + image[1], 1, 1))
        for level, c in ((4, c3), (3, c2), (2, c1)):
            g = config.gradient_width
            self.add_module(f"lateral_block{level}", LateralBlock(c))
            self.add_module(f"conv_ms_spvn_{level}", nn.Conv2d(c, 1, 1))
            gradient = nn.Sequential(nn.Conv2d(c, g, 3, padding=1), nn.BatchNorm2d(g), nn.ReLU())
            self.add_module(f"gdt_convs_{level}", gradient)
            self.add_module(f"gdt_convs_pred_{level}", nn.Sequential(nn.Conv2d(g, 1, 1)))
            self.add_module(f"gdt_convs_attn_{level}", nn.Sequential(nn.Conv2d(g, 1, 1)))

    def forward(
        self, image: Tensor, x: Tensor, full: list[Tensor], half: list[Tensor]
    ) -> Tensor | Supervision:
        """Logits N×1×H×W; in training mode with everything supervision needs.

        ``x``: the context at stride 32; ``full`` and ``half``: the finer three maps of both scales,
        finest first, those of the half-size image at half the size.
        """
        sides: list[Tensor] = []
        gradients: list[Tensor] = []
        for level, f, h in zip((4, 3, 2), full[::-1], half[::-1], strict=True):
            x = self._block(level, x, image)
            edges = self.get_submodule(f"gdt_convs_{level}")(x)
            if self.training:
                sides.append(self.get_submodule(f"conv_ms_spvn_{level}")(x))
                gradients.append(self.get_submodule(f"gdt_convs_pred_{level}")(edges))
            x = x * torch.sigmoid(self.get_submodule(f"gdt_convs_attn_{level}")(edges))
            x = self._join(level, x, f, h)
        reference = self._reference(1, x, image)
        x = torch.cat([x, reference], 1)
        if self.training:
            last = self.decoder_block1(x), self.ipt_blk1(image)
            logits = self._head(*last, image.shape[2:])
            return Supervision(logits, sides, gradients)
        return self._composed_head(self.decoder_block1.squeezed(x), image)

    def _join(self, level: int, x: Tensor, full: Tensor, half: Tensor) -> Tensor:
        """The lateral connection: ``x`` and both scales of an encoder map, at the map's size."""
        lateral = self.get_submodule(f"lateral_block{level}")
        assert isinstance(lateral, LateralBlock)
        fine, coarse = lateral.halves(full, half)
        if coarse.shape == x.shape:
            return resize(x + coarse, fine.shape[2:]) + fine
        return resize(x, fine.shape[2:]) + resize(coarse, fine.shape[2:]) + fine

    def _block(self, level: int, x: Tensor, image: Tensor) -> Tensor:
        reference = self._reference(level, x, image)
        out: Tensor = self.get_submodule(f"decoder_block{level}")(torch.cat([x, reference], 1))
        return out

    def _reference(self, level: int, x: Tensor, image: Tensor) -> Tensor:
        """What the image's patches tell the block of a level, at the size of ``x``."""
        patches = resize(image_patches(image, x.shape[2:]), x.shape[2:])
        # In the layout of the features: a mixture of two would be copied again and again.
        patches = patches.contiguous(memory_format=torch.channels_last)
        out: Tensor = self.get_submodule(f"ipt_blk{level + 1}")(patches)
        return out

    def _head(self, x: Tensor, reference: Tensor, size: torch.Size) -> Tensor:
        """Last 1×1 convolution over the decoder's features and the image's.

        The convolution is linear, and so is a resize whose weights sum to one: applied to each
        part before they meet, it spares hundreds of channels at the size of the photo.
        """
        inner, outer = self._weights(x.shape[1])
        detail = F.conv2d(reference, outer, self._last.bias)
        return resize(F.conv2d(x, inner), size) + detail

    def _composed_head(self, x: Tensor, image: Tensor) -> Tensor:
        """Compute :meth:`_head` from the features before the last convolution of each part."""
        inner, outer, bias = self.head()
        logits = resize(self.decoder_block1.times(inner, x), image.shape[2:])
        return logits + self.ipt_blk1.times(outer, image) + bias.to(logits)

    def head(self) -> tuple[Tensor, Tensor, Tensor]:
        """The last convolution: for the decoder's features 1×C×1×1, for the image's, and bias."""
        inner, outer = self._weights(self.decoder_block1.conv_out.out_channels)
        return inner, outer, cast("Tensor", self._last.bias)

    def _weights(self, channels: int) -> tuple[Tensor, Tensor]:
        """Weights of the last convolution for the decoder's features and for the image's."""
        weight = self._last.weight
        return weight[:, :channels], weight[:, channels:]

    @property
    def _last(self) -> nn.Conv2d:
        last = self.conv_out1[0]
        assert isinstance(last, nn.Conv2d)
        return last
