"""The network as an exporter follows it: alpha of any number of photos, of one input size.

What is recorded must not hold the size of the batch, nor an operator that only torch has. So
windows are cut from each photo by itself, by the places of one photo; and the deformable
convolution is the operator of torchvision, which an exporter can be told of by its name.
"""

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from birefcli.birefnet.deform import DeformableConv
from birefcli.birefnet.network import BiRefNet
from birefcli.birefnet.swin import FEW, Swin, WindowAttention, Windows, edge_masks, windows


class ExportableNetwork(nn.Module):
    """What an evaluated :class:`BiRefNet` computes; weights are shared with it."""

    def __init__(self, network: BiRefNet, height: int, width: int, *, logits: bool = False) -> None:
        """``height`` and ``width``: of the input, in pixels, multiples of 32; ``logits``: without
        the sigmoid that makes alpha of them.
        """
        super().__init__()
        self.logits = logits
        self.network = _shallow_copy(network).eval()
        if isinstance(self.network.bb, Swin):
            _replace_attention(self.network.bb, height, width)
        for name, module in list(self.network.named_modules()):
            if isinstance(module, DeformableConv):
                self.network.set_submodule(name, ExportableDeformableConv(module))

    def forward(self, image: Tensor) -> Tensor:
        """Alpha N×1×H×W, 0..1, of ``image`` N×3×H×W, normalised as for :class:`BiRefNet`."""
        logits: Tensor = self.network(image)
        return logits if self.logits else torch.sigmoid(logits)


def _shallow_copy(network: BiRefNet) -> BiRefNet:
    """The same modules, with the very tensors of ``network``."""
    tensors = [*network.parameters(), *network.buffers()]
    return copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})


def _replace_attention(swin: Swin, height: int, width: int) -> None:
    """Let the attention of each stage meet maps of the sizes that the two scales have there."""
    maps = [(-(-height // s), -(-width // s)) for s in (4, 8)]
    for stage in swin.layers:
        for name, module in list(stage.named_modules()):
            if isinstance(module, WindowAttention):
                stage.set_submodule(name, _WindowAttention(module, maps))
        maps = [(-(-h // 2), -(-w // 2)) for h, w in maps]


class _WindowAttention(nn.Module):
    """:class:`WindowAttention` of maps whose sizes are known before, and whose number is open."""

    masks: Tensor
    position: Tensor

    def __init__(self, attention: WindowAttention, maps: list[tuple[int, int]]) -> None:
        """``maps``: (height, width) of those that come, in tokens."""
        super().__init__()
        self.qkv, self.proj = attention.qkv, attention.proj
        self.heads, self.tokens = attention.heads, attention.size**2
        size, shift = attention.size, attention.shift
        cpu = torch.device("cpu")
        self._windows = {(h, w): windows(1, h, w, size, shift, cpu) for h, w in maps}
        self.register_buffer("masks", edge_masks(size, shift))
        self.register_buffer("position", attention.position_bias().detach())

    def forward(self, x: Tensor, n: int, height: int, width: int) -> Tensor:
        """Tokens N·H·W×C, normalised, to the same shape."""
        plan, channels = self._windows[height, width], x.shape[1]
        qkv = self._placed(x.view(n, height * width, channels), plan)
        qkv = qkv.view(n, -1, self.tokens, 3, self.heads, channels // self.heads)
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5)  # each N×windows×heads×tokens×channels of a head
        q = q * q.shape[-1] ** -0.5
        attended = []
        for a, b, kind in plan.groups:
            logits = q[:, a:b] @ k[:, a:b].transpose(3, 4) + (self.position + self.masks[kind])
            attended.append(logits.softmax(-1) @ v[:, a:b])
        out = torch.cat(attended, 1).transpose(2, 3).reshape(n, -1, channels)
        projected: Tensor = self.proj(out.index_select(1, plan.scatter))
        return projected.view(-1, channels)

    def _placed(self, x: Tensor, plan: Windows) -> Tensor:
        """Query, key and value at each place of each window: N×H·W×C to N×places×3C."""
        padded = F.pad(x, (0, 0, 0, 1))  # a padded token is zero
        if len(plan.gather) > FEW * x.shape[1]:
            return cast("Tensor", self.qkv(padded)).index_select(1, plan.gather)
        return cast("Tensor", self.qkv(padded.index_select(1, plan.gather)))


class ExportableDeformableConv(nn.Module):
    """:class:`DeformableConv` by the operator that exporters know."""

    def __init__(self, convolution: DeformableConv) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W to N×O×H×W."""
        from torchvision.ops import deform_conv2d  # a second to import: only where it is used

        offset, modulation = self.convolution.predict(x)
        weight, padding = self.convolution.regular_conv.weight, self.convolution.padding
        out: Tensor = deform_conv2d(x, offset, weight, padding=padding, mask=modulation)
        return out
