"""MobileNetV4-Conv-S (Qin et al., "MobileNetV4", ECCV 2024, appendix D): the backbone of ``mini``.

The same network as timm's ``mobilenetv4_conv_small``, with its parameter names, so that weights fit
both. It is written out here because importing timm imports torchvision and torch's compiler, which
takes longer than importing torch itself, before a photo is opened.
"""

import math
from collections import OrderedDict

from torch import Tensor, nn

NAME = "mobilenetv4_conv_small"
CHANNELS = [32, 64, 96, 960]
"""Of the maps at strides 4, 8, 16 and 32."""

# Inverted bottlenecks of the third and fourth stage: kernel before the expansion (0: none), kernel
# within it, its stride, expanded width, width of the result.
_STAGES = (
    (
        (5, 5, 2, 192, 96),
        *4 * ((0, 3, 1, 192, 96),),
        (3, 0, 1, 384, 96),
    ),
    (
        (3, 3, 2, 576, 128),
        (5, 5, 1, 512, 128),
        (0, 5, 1, 512, 128),
        (0, 5, 1, 384, 128),
        (0, 3, 1, 512, 128),
        (0, 3, 1, 512, 128),
    ),
)


class MobileNet(nn.Module):
    """Feature maps of an image at strides 4, 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = _conv(3, 32, 3, 2)
        self.bn1 = nn.BatchNorm2d(32)
        self.act1 = nn.ReLU(inplace=True)
        self.blocks = nn.Sequential(
            nn.Sequential(_plain(32, 32, 3, 2), _plain(32, 32, 1)),
            nn.Sequential(_plain(32, 96, 3, 2), _plain(96, 64, 1)),
            *(_stage(width, blocks) for width, blocks in zip((64, 96), _STAGES, strict=True)),
            nn.Sequential(_plain(128, 960, 1)),
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps of ``image`` (N×3×H×W, normalised), finest first, of :data:`CHANNELS` channels."""
        x = self.act1(self.bn1(self.conv_stem(image)))
        maps = []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return [*maps[:3], maps[4]]


class _Bottleneck(nn.Module):
    """Universal inverted bottleneck: expand, filter each channel for itself, project."""

    def __init__(
        self, channels: int, before: int, within: int, stride: int, wide: int, out: int
    ) -> None:
        super().__init__()
        # timm's names; what a block does not have is left out.
        self.dw_start = _depthwise(channels, before, 1, act=False) if before else nn.Identity()
        self.pw_exp = _layer(channels, wide)
        self.dw_mid = _depthwise(wide, within, stride) if within else nn.Identity()
        self.pw_proj = _layer(wide, out, act=False)
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W to N×O×H/stride×W/stride."""
        made: Tensor = self.pw_proj(self.dw_mid(self.pw_exp(self.dw_start(x))))
        return made + x if self.residual else made


def _stage(channels: int, blocks: tuple[tuple[int, int, int, int, int], ...]) -> nn.Sequential:
    stage = nn.Sequential()
    for block in blocks:
        stage.append(_Bottleneck(channels, *block))
        channels = block[-1]
    return stage


def _plain(channels: int, out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A block that is one convolution; timm calls its norm ``bn1``, elsewhere ``bn``."""
    conv = _conv(channels, out, kernel, stride)
    return nn.Sequential(OrderedDict(conv=conv, bn1=nn.BatchNorm2d(out), act=nn.ReLU(inplace=True)))


def _layer(channels: int, out: int, *, act: bool = True) -> nn.Sequential:
    return _normed(_conv(channels, out, 1), act)


def _depthwise(channels: int, kernel: int, stride: int, *, act: bool = True) -> nn.Sequential:
    return _normed(_conv(channels, channels, kernel, stride, channels), act)


def _normed(conv: nn.Conv2d, act: bool) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv=conv)
    layers["bn"] = nn.BatchNorm2d(conv.out_channels)
    if act:
        layers["act"] = nn.ReLU(inplace=True)
    return nn.Sequential(layers)


def _conv(channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    if not conv.weight.is_meta:  # where there are no numbers, torch would import its compiler here
        # As timm starts it, by the outputs of each group.
        nn.init.normal_(conv.weight, 0, math.sqrt(2 * groups / (kernel * kernel * out)))
    return conv
