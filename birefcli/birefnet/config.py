"""The numbers that tell one network of the BiRefNet family from another."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Architecture of one BiRefNet: enough to build it, JSON-able with ``dataclasses.asdict``.

    ``backbone`` is ``swin_large`` or ``swin_tiny`` (the published networks) or the name of a timm
    model that gives feature maps at strides 4, 8, 16 and 32. The widths are channel counts; every
    other channel count of the decoder follows from the backbone's.
    """

    backbone: str
    width: int = 64
    """Channels inside a decoder block, and inside the blocks that read image patches."""
    aspp_width: int = 256
    """Channels of each branch of the deformable pyramid."""
    kernels: tuple[int, ...] = (1, 3, 7)
    """Kernel sizes of the deformable branches."""
    gradient_width: int = 16
    """Channels of the gradient attention (the inward reference)."""

    def __post_init__(self) -> None:
        # A config read back from JSON has a list here.
        object.__setattr__(self, "kernels", tuple(self.kernels))


SWIN_L = Config("swin_large")
SWIN_T = Config("swin_tiny")
MINI = Config("mobilenetv4_conv_small", width=32, aspp_width=32, kernels=(3,), gradient_width=16)
