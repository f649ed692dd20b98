"""The decoder: bilateral reference (BiRefNet, section 3.3).

The outward reference is the image itself, cut into patches and read at every level; the inward
one is a gradient map that each level predicts and uses as attention on its own features.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from birefcli.birefnet.config import Config
from birefcli.birefnet.deform import DeformableASPP


def resize(x: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    """Bilinear with aligned corners: every resize inside the network."""
    size = (int(size[0]), int(size[1]))
    if tuple(x.shape[2:]) == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


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
        x = F.relu(self.bn_in(self.conv_in(x)))
        out: Tensor = self.bn_out(self.conv_out(self.dec_att(x)))
        return out


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


class LateralBlock(nn.Module):
    """1×1 convolution of an encoder map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W to the same shape."""
        out: Tensor = self.conv(x)
        return out


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
        for level, grid in ((5, 32), (4, 16), (3, 8), (2, 4), (1, 1)):
            block = ImageBlock(3 * grid * grid, image[level], config.width)
            self.add_module(f"ipt_blk{level}", block)
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

    def forward(self, image: Tensor, maps: list[Tensor]) -> Tensor | Supervision:
        """Logits N×1×H×W; in training mode with everything supervision needs."""
        sides: list[Tensor] = []
        gradients: list[Tensor] = []
        x = maps[3]
        for level, lateral in ((4, maps[2]), (3, maps[1]), (2, maps[0])):
            x = self._block(level, x, image)
            edges = self.get_submodule(f"gdt_convs_{level}")(x)
            if self.training:
                sides.append(self.get_submodule(f"conv_ms_spvn_{level}")(x))
                gradients.append(self.get_submodule(f"gdt_convs_pred_{level}")(edges))
            x = x * torch.sigmoid(self.get_submodule(f"gdt_convs_attn_{level}")(edges))
            x = resize(x, lateral.shape[2:])
            x = x + self.get_submodule(f"lateral_block{level}")(lateral)
        logits = self._head(self._block(1, x, image), image)
        return Supervision(logits, sides, gradients) if self.training else logits

    def _block(self, level: int, x: Tensor, image: Tensor) -> Tensor:
        patches = resize(image_patches(image, x.shape[2:]), x.shape[2:])
        reference = self.get_submodule(f"ipt_blk{level + 1}")(patches)
        out: Tensor = self.get_submodule(f"decoder_block{level}")(torch.cat([x, reference], 1))
        return out

    def _head(self, x: Tensor, image: Tensor) -> Tensor:
        """Last 1×1 convolution over the decoder's features and the image's.

        The convolution is linear, and so is a resize whose weights sum to one: applied to each
        part before they meet, it spares hundreds of channels at the size of the photo.
        """
        last = self.conv_out1[0]
        assert isinstance(last, nn.Conv2d)
        inner, outer = last.weight[:, : x.shape[1]], last.weight[:, x.shape[1] :]
        block = self.get_submodule("ipt_blk1")
        assert isinstance(block, ImageBlock)
        weight = torch.einsum("oc,cikl->oikl", outer[:, :, 0, 0], block.conv_out.weight)
        assert block.conv_out.bias is not None
        assert last.bias is not None
        bias = outer[:, :, 0, 0] @ block.conv_out.bias + last.bias
        detail = F.conv2d(block.conv1(image), weight, bias, padding=1)
        return resize(F.conv2d(x, inner), image.shape[2:]) + detail
