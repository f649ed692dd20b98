"""EfficientNet-Lite for inference on a CPU, see :mod:`birefcli.birefnet.efficientnet`."""

from typing import cast

from torch import Tensor, nn

from birefcli.birefnet import efficientnet
from birefcli.birefnet.efficientnet import Bottleneck, EfficientNet, FirstBlock
from birefcli.birefnet.inference.convolution import Convolution

CLIPPED = "hardtanh"


class Backbone(nn.Module):
    """The same maps as an evaluated :class:`EfficientNet`'s."""

    def __init__(self, network: EfficientNet) -> None:
        super().__init__()
        self.stem = Convolution.of(network.conv_stem, network.bn1, CLIPPED)
        self.stages = nn.ModuleList(
            nn.Sequential(*(_block(block) for block in cast("nn.Sequential", stage)))
            for stage in network.blocks
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """N×3×H×W, channels last, to maps at strides 4, 8, 16 and 32, finest first."""
        x = self.stem(image)
        maps = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in efficientnet.READ:
                maps.append(x)
        return maps


class _Residual(nn.Module):
    """A bottleneck that adds what it made to what it was given."""

    def __init__(self, block: Bottleneck) -> None:
        super().__init__()
        self.expand = Convolution.of(block.conv_pw, block.bn1, CLIPPED)
        self.filter = Convolution.of(block.conv_dw, block.bn2, CLIPPED)
        self.project = Convolution.of(block.conv_pwl, block.bn3)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W to the same shape; ``x``, which no other block reads, is overwritten."""
        out: Tensor = self.project(self.filter(self.expand(x)), x)
        return out


def _block(block: nn.Module) -> nn.Module:
    if isinstance(block, FirstBlock):
        return nn.Sequential(
            Convolution.of(block.conv_dw, block.bn1, CLIPPED),
            Convolution.of(block.conv_pw, block.bn2),
        )
    assert isinstance(block, Bottleneck)
    if block.residual:
        return _Residual(block)
    return nn.Sequential(
        Convolution.of(block.conv_pw, block.bn1, CLIPPED),
        Convolution.of(block.conv_dw, block.bn2, CLIPPED),
        Convolution.of(block.conv_pwl, block.bn3),
    )
