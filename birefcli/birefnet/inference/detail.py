"""What the image itself adds to the logits, for inference on a CPU."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from birefcli.birefnet.decoder import ImageBlock
from birefcli.birefnet.inference.convolution import Convolution, keep

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
    corner_constants: Tensor

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
        kernel, bias = cells.flatten(0, 1).to(weight), shift.repeat(CELL * CELL).to(weight)
        self.cells = Convolution(kernel, bias, stride=CELL, padding=2)
        self._correct(first, last[0], inner, weight.dtype)

    def _correct(self, first: Tensor, last: Tensor, inner: Tensor, dtype: torch.dtype) -> None:
        """Prepare what the pixels just outside would add to those just inside."""
        # By side: what the first convolution makes one row outside, which meets the image's
        # outermost row with its innermost; then how the second one reads that row.
        made = (first[:, :, 2], first[:, :, 0], first[:, :, :, 2], first[:, :, :, 0])
        read = (last[:, 0], last[:, 2], last[:, :, 0], last[:, :, 2])
        sides = [
            F.conv1d(m.transpose(0, 1), r.flip(1)[None], padding=2)[:, 0]
            for m, r in zip(made, read, strict=True)
        ]
        # A corner lies outside of two sides and must count once.
        ends = last[:, ::2, ::2]
        keep(
            self,
            sides=torch.stack(sides).to(dtype),
            constants=torch.stack([r.sum(1) @ inner for r in read]).to(dtype),
            corners=torch.einsum("oikl,okl->ikl", first.flip(2, 3)[:, :, ::2, ::2], ends).to(dtype),
            corner_constants=torch.einsum("o,okl->kl", inner, ends).to(dtype),
        )

    def forward(self, image: Tensor) -> Tensor:
        """N×3×H×W, channels last, to N×1×H×W."""
        height, width = image.shape[2:]
        cells = self.cells(image).permute(0, 2, 3, 1)  # in rows of four pixels, as they are wanted
        rows = cells.reshape(len(image), height // CELL, -1, CELL, CELL).transpose(2, 3)
        out: Tensor = rows.reshape(len(image), 1, height, width)
        for side, length in ((2, height), (3, width)):
            own = slice(2 * side - 4, 2 * side - 2)
            ends = (0, length - 1)
            pair = torch.cat([image.select(side, end) for end in ends], 1)
            lines = F.conv1d(pair, self.sides[own], self.constants[own], padding=2, groups=2)
            for end, line in zip(ends, torch.split(lines, 1, 1), strict=True):
                out.select(side, end).sub_(line)
        corner = (..., slice(None, None, height - 1), slice(None, None, width - 1))
        twice = torch.einsum("nikl,ikl->nkl", image[corner], self.corners) + self.corner_constants
        out[corner].add_(twice[:, None])
        return out
