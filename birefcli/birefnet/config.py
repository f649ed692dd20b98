"""The numbers that tell one network of the BiRefNet family from another."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Architecture of one BiRefNet: enough to build it, JSON-able with ``dataclasses.asdict``.

    ``backbone`` is ``swin`` (the published networks) or the name of a timm model that gives feature
    maps at strides 4, 8, 16 and 32. The widths are channel counts; every other channel count of the
    decoder follows from the backbone's.
    """

    backbone: str
    channels: int = 0
    """Swin only: channels of the first stage; each next stage has twice as many."""
    depths: tuple[int, ...] = ()
    """Swin only: blocks of each stage."""
    heads: tuple[int, ...] = ()
    """Swin only: attention heads of each stage."""
    window: int = 0
    """Swin only: side of an attention window, in tokens."""
    width: int = 64
    """Channels inside a decoder block, and inside the blocks that read image patches."""
    aspp_width: int = 256
    """Channels of each branch of the deformable pyramid."""
    kernels: tuple[int, ...] = (1, 3, 7)
    """Kernel sizes of the deformable branches."""
    gradient_width: int = 16
    """Channels of the gradient attention (the inward reference)."""

    @property
    def title(self) -> str:
        """The backbone as a person calls it: ``swin of 96 channels``, ``starnet_s1``."""
        return f"swin of {self.channels} channels" if self.backbone == "swin" else self.backbone

    def __post_init__(self) -> None:
        for name in ("kernels", "depths", "heads"):
            # A config read back from JSON has a list here.
            object.__setattr__(self, name, tuple(getattr(self, name)))


SWIN_L = Config("swin", channels=192, depths=(2, 2, 18, 2), heads=(6, 12, 24, 48), window=12)
SWIN_T = Config("swin", channels=96, depths=(2, 2, 6, 2), heads=(3, 6, 12, 24), window=7)
MINI = Config("efficientnet_lite0", width=32, aspp_width=32, kernels=(3,), gradient_width=16)
