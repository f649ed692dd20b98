"""The network alone: it knows nothing of files, devices or the command."""

from birefcli.birefnet.config import MINI, SWIN_L, SWIN_T, Config
from birefcli.birefnet.decoder import Supervision
from birefcli.birefnet.network import STRIDE, BiRefNet

__all__ = ["MINI", "STRIDE", "SWIN_L", "SWIN_T", "BiRefNet", "Config", "Supervision"]
