"""EfficientNet-Lite0 (Tan & Le, "EfficientNet", ICML 2019; the Lite variant of its authors, 2020).

The backbone of ``mini``: without squeeze-and-excitation and with a clipped ReLU it is quick on
processors. The same network as timm's ``efficientnet_lite0``, with its parameter names, so that
weights fit both. It is written out here because importing timm imports torchvision and torch's
compiler, which takes longer than importing torch itself, before a photo is opened.
"""

import math

from torch import Tensor, nn

NAME = "efficientnet_lite0"
CHANNELS = [24, 40, 112, 320]
"""Of the maps at strides 4, 8, 16 and 32."""
EPS = 1e-3
"""Of the norms: TensorFlow's, with which the published weights were trained."""

_STEM = 32
_EXPANSION = 6
# Blocks, kernel, stride of the first block, channels of the result, of every stage but the first;
# then which stages are read.
STAGES = (
    (2, 3, 2, 24),
    (2, 5, 2, 40),
    (3, 3, 2, 80),
    (3, 5, 1, 112),
    (4, 5, 2, 192),
    (1, 3, 1, 320),
)
READ = (1, 2, 4, 6)


class EfficientNet(nn.Module):
    """Feature maps of an image at strides 4, 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = _conv(3, _STEM, 3, 2)
        self.bn1 = _norm(_STEM)
        self.act1 = nn.ReLU6(inplace=True)
        stages = [nn.Sequential(FirstBlock(_STEM, 16))]
        channels = 16
        for blocks, kernel, stride, out in STAGES:
            stage = nn.Sequential(Bottleneck(channels, out, kernel, stride))
            for _ in range(blocks - 1):
                stage.append(Bottleneck(out, out, kernel, 1))
            stages.append(stage)
            channels = out
        self.blocks = nn.Sequential(*stages)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps of ``image`` (N×3×H×W, normalised), finest first, of :data:`CHANNELS` channels."""
        x = self.act1(self.bn1(self.conv_stem(image)))
        maps = []
        for i, stage in enumerate(self.blocks):
            x = stage(x)
            if i in READ:
                maps.append(x)
        return maps


class FirstBlock(nn.Module):
    """The first block: each channel filtered for itself, then mixed."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv_dw = _conv(channels, channels, 3, groups=channels)
        self.bn1 = _norm(channels)
        self.act = nn.ReLU6(inplace=True)
        self.conv_pw = _conv(channels, out, 1)
        self.bn2 = _norm(out)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W to N×O×H×W."""
        out: Tensor = self.bn2(self.conv_pw(self.act(self.bn1(self.conv_dw(x)))))
        return out


class Bottleneck(nn.Module):
    """Inverted bottleneck: expand, filter each channel for itself, project."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = _EXPANSION * channels
        self.conv_pw = _conv(channels, wide, 1)
        self.bn1 = _norm(wide)
        self.act1 = nn.ReLU6(inplace=True)
        self.conv_dw = _conv(wide, wide, kernel, stride, wide)
        self.bn2 = _norm(wide)
        self.act2 = nn.ReLU6(inplace=True)
        self.conv_pwl = _conv(wide, out, 1)
        self.bn3 = _norm(out)
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W to N×O×H/stride×W/stride."""
        made: Tensor = self.act1(self.bn1(self.conv_pw(x)))
        made = self.act2(self.bn2(self.conv_dw(made)))
        made = self.bn3(self.conv_pwl(made))
        return made + x if self.residual else made


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=EPS)


def _conv(channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    if not conv.weight.is_meta:  # where there are no numbers, torch would import its compiler here
        # As timm starts it, by the outputs of each group.
        nn.init.normal_(conv.weight, 0, math.sqrt(2 * groups / (kernel * kernel * out)))
    return conv
