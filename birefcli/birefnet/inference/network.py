"""The whole network for inference on a CPU."""

from typing import cast

import torch
from torch import Tensor, nn

from birefcli.birefnet.decoder import BasicBlock
from birefcli.birefnet.efficientnet import EfficientNet
from birefcli.birefnet.inference.backbone import Backbone
from birefcli.birefnet.inference.decoder import Block, Decoder, Seen
from birefcli.birefnet.inference.threads import Team, team
from birefcli.birefnet.network import BiRefNet, check_input, half_size, see_all


class InferenceNetwork(nn.Module):
    """What an evaluated :class:`BiRefNet` computes, for a CPU and without gradients.

    Made once, of weights that no longer change; it shares those that need no folding, and a
    backbone that is used as it is (Swin's and timm's). Threads may call it, but gain nothing: each
    call uses all of torch's, and weights are packed anew for another input size.

    A small network's operators keep to one thread each: its photos, and the two scales of a photo,
    are computed beside each other. Of a large one every operator is shared among all threads.
    """

    def __init__(self, network: BiRefNet) -> None:
        super().__init__()
        with torch.no_grad():
            # One for each scale: how weights are packed depends on the size of what they meet.
            self.fine, self.coarse = _backbone(network.bb), _backbone(network.bb)
            self.context = Block(cast("BasicBlock", network.squeeze_module[0]))
            self.decoder = Decoder(network.decoder)
            self.small = isinstance(network.bb, EfficientNet)
            # oneDNN's ReLU makes zero of what is no number: such weights must show all the same.
            floating = [t for t in self.buffers() if t.is_floating_point()]
            weights = torch.stack([t.sum(dtype=torch.float32) for t in floating])
            self.decoder.head.bias += 0 * weights.sum()

    @property
    def side_by_side(self) -> int:
        """Photos that are computed beside each other, where so many come at once."""
        return torch.get_num_threads() if self.small and team() is not None else 1

    def forward(self, image: Tensor) -> Tensor:
        """Logits N×1×H×W of ``image``, see :meth:`BiRefNet.forward`."""
        check_input(image)
        # One photo at a time: its maps stay nearer to the processor than those of many.
        photos = torch.split(image, 1)
        if self.small and (threads := team()) is not None:
            return torch.cat(threads.each(lambda photo: self._logits(photo, threads), photos))
        return torch.cat([self._logits(photo) for photo in photos])

    def _logits(self, image: Tensor, threads: Team | None = None) -> Tensor:
        image = image.contiguous(memory_format=torch.channels_last)
        beside = None if threads is None else threads.begin(self._beside, image)
        full = self.fine(image)
        half, seen = self._beside(image) if beside is None else beside()
        out: Tensor = self.decoder(self.context(see_all(full, half)), full[:3], half[:3], seen)
        return out

    def _beside(self, image: Tensor) -> tuple[list[Tensor], Seen]:
        """What needs no map of the full size: those of the half, and what the decoder sees."""
        return self.coarse(half_size(image)), self.decoder.see(image)


def _backbone(network: nn.Module) -> nn.Module:
    return Backbone(network) if isinstance(network, EfficientNet) else network
