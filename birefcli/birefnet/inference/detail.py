"""What the image itself adds to the logits, for inference on a CPU."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from birefcli.birefnet.decoder import ImageBlock
from birefcli.birefnet.inference.convolution import Convolution

CELL = 4  # pixels on a side; an input has multiples of 32


class Detail(nn.Module):
    """Two convolutions of 3×3 with nothing between, and one of 1×1 to one channel, as one of 5×5.

    oneDNN computes sixteen channels where one is asked for, so here each of them is one of the
    pixels of a cell of 4×4: kernel 8×8, stride 4. The outermost pixels need a correction: the
    second convolution sees zeros beyond the border, where the one of 5×5 sees what the first one
    makes of what is there.
    """

    sides: Tensor
    constants: Tensor
    corners: Tensor
    constant: Tensor

    def __init__(self, block: ImageBlock, weight: Tensor) -> None:
        """``weight``: 1×out×1×1 of the convolution to one channel, which has no bias here."""
        super().__init__()
        first, last, inner, bias = block.chain(weight)
        both = F.conv2d(first.transpose(0, 1), last.flip(2, 3), padding=2)[:, 0]
        cells = both.new_zeros(CELL, CELL, len(both), 2 * CELL, 2 * CELL)
        for row in range(CELL):
            for column in range(CELL):
                cells[row, column, :, row : row + 5, column : column + 5] = both
        shift = torch.einsum("oikl,i->o", last, inner) + bias
        kernel = cells.flatten(0, 1).to(weight)
        self.cells = Convolution(
            kernel, shift.repeat(CELL * CELL).to(weight), stride=CELL, padding=2
        )
        self._correct(first, last[0], inner)

    def _correct(self, first: Tensor, last: Tensor, inner: Tensor) -> None:
        """Prepare what the pixels just outside would add to those just inside."""
        # By side: what the first convolution makes one row outside, which meets the image's
        # outermost row with its innermost; then how the second one reads that row.
        made = (first[:, :, 2], first[:, :, 0], first[:, :, :, 2], first[:, :, :, 0])
        read = (last[:, 0], last[:, 2], last[:, :, 0], last[:, :, 2])
        sides = [
            F.conv1d(m.transpose(0, 1), r.flip(1)[None], padding=2)[:, 0]
            for m, r in zip(made, read, strict=True)
        ]
        self.register_buffer("sides", torch.stack(sides), persistent=False)
        self.register_buffer(
            "constants", torch.stack([r.sum(1) @ inner for r in read]), persistent=False
        )
        # A corner lies outside of two sides and must count once.
        corners = torch.einsum("oikl,okl->ikl", first.flip(2, 3)[:, :, ::2, ::2], last[:, ::2, ::2])
        constant = torch.einsum("o,okl->kl", inner, last[:, ::2, ::2])
        self.register_buffer("corners", corners, persistent=False)
        self.register_buffer("constant", constant, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """N×3×H×W, channels last, to N×1×H×W."""
        out = F.pixel_shuffle(self.cells(image), CELL)
        for side, last, (a, b) in ((2, image.shape[2] - 1, (0, 2)), (3, image.shape[3] - 1, (2, 4))):
            pair = torch.cat([image.select(side, 0), image.select(side, last)], 1)
            lines = F.conv1d(pair, self.sides[a:b], self.constants[a:b], padding=2, groups=2)
            out.select(side, 0).sub_(lines[:, :1])
            out.select(side, last).sub_(lines[:, 1:])
        corner = (..., slice(None, None, image.shape[2] - 1), slice(None, None, image.shape[3] - 1))
        twice = torch.einsum("nikl,ikl->nkl", image[corner], self.corners) + self.constant
        out[corner].add_(twice[:, None])
        return out
