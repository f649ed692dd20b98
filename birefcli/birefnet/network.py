"""BiRefNet: encoder at two scales, context, decoder (Zheng et al., CAAI AIR 2024)."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from birefcli.birefnet import efficientnet
from birefcli.birefnet.config import Config
from birefcli.birefnet.decoder import BasicBlock, Decoder, Supervision, resize, resize_through
from birefcli.birefnet.swin import Swin

STRIDE = 32
"""Height and width of the input are multiples of this, in pixels."""


class BiRefNet(nn.Module):
    """Subject/background logits of photos.

    Parameter and buffer names are those of the published files. Image patches are stacked
    (channel, row, column); weights trained with (column, row, channel) are converted when they
    are loaded.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.bb, channels = _backbone(config)
        both_scales = [2 * c for c in channels]
        context = sum(both_scales)
        self.squeeze_module = nn.Sequential(BasicBlock(context, both_scales[3], config))
        self.decoder = Decoder(both_scales, config)

    def forward(self, image: Tensor) -> Tensor | Supervision:
        """Logits of ``image``.

        ``image``: float N×3×H×W, RGB scaled to 0..1, then ImageNet mean and standard deviation; H
        and W multiples of 32. Returns logits N×1×H×W, whose sigmoid is alpha; in training mode a
        :class:`Supervision`. Raises ValueError for another shape.
        """
        check_input(image)
        full = self.bb(image)
        half = self.bb(half_size(image))
        context = self.squeeze_module(see_all(full, half))
        return cast("Tensor | Supervision", self.decoder(image, context, full[:3], half[:3]))


def check_input(image: Tensor) -> None:
    """Raise ValueError unless ``image`` is N×3×H×W with H and W multiples of 32."""
    sides = image.shape[2:]
    if image.ndim != 4 or image.shape[1] != 3 or any(s < 1 or s % STRIDE for s in sides):
        raise ValueError(f"expected N×3×H×W with H and W multiples of 32, got {image.shape}")


def half_size(image: Tensor) -> Tensor:
    """The image of the second scale: N×3×H×W to N×3×H/2×W/2."""
    return resize(image, (image.shape[2] // 2, image.shape[3] // 2))


def see_all(full: list[Tensor], half: list[Tensor]) -> Tensor:
    """All maps of both scales at the size of the coarsest, stacked: the context of section 3.2.

    ``full`` and ``half``: four maps each, finest first, of the image and of the image at half its
    size. The half-size ones count as resized to their twins first, and are read through that.
    """
    size = full[3].shape[2:]
    finer = (
        part
        for f, h in zip(full[:3], half[:3], strict=True)
        for part in (resize(f, size), resize_through(h, f.shape[2:], size))
    )
    return torch.cat([*finer, full[3], resize(half[3], size)], 1)


def _backbone(config: Config) -> tuple[nn.Module, list[int]]:
    if config.backbone == efficientnet.NAME:
        return efficientnet.EfficientNet(), efficientnet.CHANNELS
    if config.backbone != "swin":
        return _timm_backbone(config.backbone)
    if not len(config.depths) == len(config.heads) == 4:
        raise ValueError("a Swin backbone has four stages")
    swin = Swin(config.channels, config.depths, config.heads, config.window)
    return swin, swin.channels


def _timm_backbone(name: str) -> tuple[nn.Module, list[int]]:
    import timm  # seconds to import, and no network that can be named needs it

    backbone: Any = timm.create_model(name, features_only=True, pretrained=False)
    strides: list[int] = backbone.feature_info.reduction()
    if strides != [4, 8, 16, 32]:
        wanted = tuple(strides.index(s) for s in (4, 8, 16, 32))
        backbone = timm.create_model(name, features_only=True, pretrained=False, out_indices=wanted)
    return backbone, backbone.feature_info.channels()
