"""Swin Transformer v1 as BiRefNet uses it (Liu et al., ICCV 2021).

timm's Swin is not a substitute: it shifts before it pads and drops the shift on small maps,
BiRefNet pads before it shifts and always shifts odd blocks. Here padding, shift and partition are
one gather and their reverse another, so padded tokens never reach a matrix product but the
attention's, and shifted windows fall into four groups that need at most one small mask each.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from birefcli.birefnet import kernels
from birefcli.birefnet.linear import Linear, linear

CHUNK = 4096  # tokens of an MLP at once, on a CPU
FEW = 1.1
"""Places in windows for each token up to which tokens are moved before they become query, key and
value, three times as much: padded ones then meet that product too."""
# What the published networks add to the logits of two tokens that are no neighbours in the photo.
OUTSIDE = -100.0


@dataclass(frozen=True)
class Windows:
    """Where the tokens of N maps go when they are cut into windows, and the way back."""

    gather: Tensor
    """Row of the token at each place of each window; padding points behind the last row."""
    scatter: Tensor
    """Place of each token, N·H·W."""
    padding: Tensor
    """Places without a token."""
    groups: tuple[tuple[int, int, int], ...]
    """(first window, last window + 1, kind): kind 0 interior, +1 right edge, +2 bottom edge."""


@lru_cache(maxsize=256)
def windows(
    n: int, height: int, width: int, size: int, shift: int, device: torch.device
) -> Windows:
    """Geometry of ``n`` maps in windows of ``size``×``size``, padded first and shifted after."""
    # Kept for later calls, which may train: no inference tensors.
    with torch.inference_mode(False):
        token = torch.arange(n * height * width).view(n, height, width)
        down, right = -height % size, -width % size
        padded = F.pad(token, (0, right, 0, down), value=n * height * width)
        rolled = padded.roll((-shift, -shift), (1, 2))
        rows, columns = rolled.shape[1] // size, rolled.shape[2] // size
        cut = rolled.view(n, rows, size, columns, size).permute(1, 3, 0, 2, 4)
        edge_row = (torch.arange(rows) == rows - 1).int()[:, None]
        edge_column = (torch.arange(columns) == columns - 1).int()
        kind = (edge_column + 2 * edge_row if shift else edge_column * edge_row * 0).flatten()
        order = kind.argsort(stable=True)
        gather = cut.reshape(rows * columns, -1)[order].flatten()
        scatter = torch.empty(n * height * width + 1, dtype=torch.long)
        scatter[gather] = torch.arange(len(gather))
        inner = (rows - 1) * (columns - 1)
        counts = [inner, rows - 1, columns - 1, 1] if shift else [rows * columns, 0, 0, 0]
        bounds = [0, *accumulate(n * count for count in counts)]
        groups = tuple((bounds[k], bounds[k + 1], k) for k in range(4) if counts[k])
        padding = (gather == n * height * width).nonzero()[:, 0]
        return Windows(gather.to(device), scatter[:-1].to(device), padding.to(device), groups)


def edge_masks(size: int, shift: int) -> Tensor:
    """What each kind of shifted window adds to its attention logits: 4×size²×size²."""
    far = torch.arange(size) >= size - shift  # tokens that the shift brought from the other side
    row, column = far.repeat_interleave(size), far.repeat(size)
    none = torch.zeros_like(row)
    sides = [
        torch.stack(pair) for pair in ((none, none), (none, column), (row, none), (row, column))
    ]
    apart = torch.stack([(s[:, :, None] != s[:, None]).any(0) for s in sides])
    return apart.float() * OUTSIDE


def _relative_position_index(size: int) -> Tensor:
    # On the CPU whatever the default: on the meta device torch would import its compiler for this.
    row = torch.arange(size, device="cpu").repeat_interleave(size)
    column = torch.arange(size, device="cpu").repeat(size)
    down, right = row[:, None] - row + size - 1, column[:, None] - column + size - 1
    return down * (2 * size - 1) + right


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows, with relative position bias."""

    relative_position_index: Tensor

    def __init__(self, channels: int, heads: int, size: int, shift: int) -> None:
        super().__init__()
        self.heads, self.size, self.shift = heads, size, shift
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * size - 1) ** 2, heads))
        self.register_buffer("relative_position_index", _relative_position_index(size))
        self.qkv = Linear(channels, 3 * channels)
        self.proj = Linear(channels, channels)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self._bias: Tensor | None = None
        self._made_from = -1
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]

    def forget(self) -> None:
        """Drop the cached bias: the parameters it was made of may change."""
        self._bias = None

    def train(self, mode: bool = True) -> "WindowAttention":
        """Switch mode; weights that trained make a new bias."""
        self.forget()
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "WindowAttention":
        self.forget()  # moved or converted: made anew on the new device
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def position_bias(self) -> Tensor:
        """What attention logits gain by where two tokens of a window lie: heads×tokens×tokens."""
        table = self.relative_position_bias_table
        tokens = self.size**2
        # The index is a buffer of the published files; one of them rounded would be a wrong bias,
        # so it is rebuilt and never trusted.
        index = _relative_position_index(self.size).to(table.device)
        return table[index.flatten()].view(tokens, tokens, -1).permute(2, 0, 1).contiguous()

    def _make_bias(self) -> Tensor:
        bias = self.position_bias()
        if not self.shift:
            return bias[None]
        masks = edge_masks(self.size, self.shift).to(bias)
        return bias[None] + masks[:, None]

    def bias(self) -> Tensor:
        """Position bias plus mask for each kind of window: (1 or 4)×heads×tokens×tokens."""
        if self.training or _recorded():
            return self._make_bias()
        # An average of weights is updated in eval mode: torch counts the changes made in place.
        table = self.relative_position_bias_table
        version = 0 if table.is_inference() else table._version
        if self._bias is None or self._made_from != version:
            self._bias, self._made_from = self._make_bias(), version
        return self._bias

    def forward(self, x: Tensor, n: int, height: int, width: int) -> Tensor:
        """Tokens N·H·W×C, normalised, to the same shape."""
        if kernels.usable(x):
            shape = (n, height, width)
            return kernels.attempt(
                "window attention", lambda: self._kernel(x, *shape), lambda: self._plain(x, *shape)
            )
        return self._plain(x, n, height, width)

    def _kernel(self, x: Tensor, n: int, height: int, width: int) -> Tensor:
        from birefcli.birefnet.kernels import attention  # Triton, where it is used

        out = attention.window_attention(
            self.qkv(x), self.qkv.bias, self.bias()[0], (n, height, width), self.size, self.shift
        )
        projected: Tensor = self.proj(out)
        return projected

    def _plain(self, x: Tensor, n: int, height: int, width: int) -> Tensor:
        plan = windows(n, height, width, self.size, self.shift, x.device)
        tokens = self.size**2
        qkv = self._placed(x, plan).view(-1, tokens, 3, self.heads, x.shape[1] // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        bias = self.bias().to(x.dtype)
        attended = [
            F.scaled_dot_product_attention(
                q[a:b], k[a:b], v[a:b], attn_mask=bias[kind].expand(b - a, -1, -1, -1)
            ).transpose(1, 2)
            for a, b, kind in plan.groups
        ]
        out = attended[0] if len(attended) == 1 else torch.cat(attended)
        out = out.reshape(-1, x.shape[1])
        projected: Tensor = self.proj(out.index_select(0, plan.scatter))
        return projected

    def _placed(self, x: Tensor, plan: Windows) -> Tensor:
        """Query, key and value of the token at each place of each window: places×3C."""
        if _recorded() or len(plan.gather) > FEW * len(x):
            return self._rows(x).index_select(0, plan.gather)
        # Padding points behind the last token: any other will do, as it is overwritten.
        placed = x.index_select(0, plan.gather.clamp(max=len(x) - 1))
        placed.index_fill_(0, plan.padding, 0)
        out: Tensor = self.qkv(placed)
        return out

    def _rows(self, x: Tensor) -> Tensor:
        """Query, key and value of each token, (N·H·W+1)×3C; the last row is a padded token's."""
        # A padded token is zero before this product, so its row is the product's bias.
        out: Tensor = self.qkv(F.pad(x, (0, 0, 0, 1)))
        return out


def _recorded() -> bool:
    """Whether somebody follows the operations: then nothing may be written in place."""
    return torch.is_grad_enabled() or torch.compiler.is_compiling()


def _forget(attention: WindowAttention, _: object) -> None:
    attention.forget()


class Mlp(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = Linear(channels, hidden)
        self.fc2 = Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens×C to the same shape."""
        # Past the layer: its product and the activation are one pass.
        out: Tensor = self.fc2(linear(x, self.fc1.weight, self.fc1.bias, "gelu"))
        return out


class SwinBlock(nn.Module):
    """Window attention and MLP, each behind a norm and with a residual."""

    def __init__(self, channels: int, heads: int, size: int, shift: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, heads, size, shift)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, 4 * channels)

    def forward(self, x: Tensor, n: int, height: int, width: int) -> Tensor:
        """Tokens N·H·W×C to the same shape; without gradients in place."""
        attended: Tensor = self.attn(self.norm1(x), n, height, width)
        if _recorded():
            x = x + attended
            out: Tensor = x + self.mlp(self.norm2(x))
            return out
        # In place: the tokens belong to the stage, which gives them to nobody else.
        x.add_(attended)
        # On a CPU the hidden features of a few thousand tokens stay in the cache, those of all
        # do not.
        for part in torch.split(x, CHUNK) if x.device.type == "cpu" else (x,):
            part.add_(self.mlp(self.norm2(part)))
        return x


class PatchMerging(nn.Module):
    """Halve a map: four neighbours become one token of twice the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduction = Linear(4 * channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(4 * channels)

    def forward(self, x: Tensor) -> Tensor:
        """N×H×W×C to N×⌈H/2⌉×⌈W/2⌉×2C."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        four = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
        out: Tensor = self.reduction(self.norm(torch.cat(four, -1)))
        return out


class Stage(nn.Module):
    """The blocks of one resolution, every second one shifted by half a window."""

    def __init__(self, channels: int, depth: int, heads: int, size: int, last: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinBlock(channels, heads, size, size // 2 if i % 2 else 0) for i in range(depth)
        )
        self.downsample = None if last else PatchMerging(channels)

    def forward(self, x: Tensor) -> Tensor:
        """N×H×W×C to the same shape (the merging belongs to the caller)."""
        n, height, width, channels = x.shape
        x = x.reshape(-1, channels)
        for block in self.blocks:
            x = block(x, n, height, width)
        return x.view(n, height, width, channels)


class PatchEmbed(nn.Module):
    """Cut the image into 4×4 patches, a token each."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, 4, stride=4)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """N×3×H×W to N×⌈H/4⌉×⌈W/4⌉×C."""
        x = F.pad(x, (0, -x.shape[3] % 4, 0, -x.shape[2] % 4))
        out: Tensor = self.norm(self.proj(x).permute(0, 2, 3, 1))
        return out


class Swin(nn.Module):
    """Backbone: four maps at strides 4, 8, 16, 32, each through its own norm."""

    def __init__(
        self, channels: int, depths: tuple[int, ...], heads: tuple[int, ...], size: int
    ) -> None:
        super().__init__()
        self.channels = [channels << i for i in range(len(depths))]
        self.patch_embed = PatchEmbed(channels)
        self.layers = nn.ModuleList(
            Stage(c, depth, h, size, last=c == self.channels[-1])
            for c, depth, h in zip(self.channels, depths, heads, strict=True)
        )
        for i, c in enumerate(self.channels):
            self.add_module(f"norm{i}", nn.LayerNorm(c))
        self.apply(_init_linear)

    def forward(self, x: Tensor) -> list[Tensor]:
        """N×3×H×W to N×C×H/4×W/4 and on to N×8C×H/32×W/32."""
        maps = []
        x = self.patch_embed(x)
        for i, stage in enumerate(cast("Iterable[Stage]", self.layers)):
            x = stage(x)
            norm: nn.Module = self.get_submodule(f"norm{i}")
            maps.append(norm(x).permute(0, 3, 1, 2))
            if stage.downsample is not None:
                x = stage.downsample(x)
        return maps


def _init_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
