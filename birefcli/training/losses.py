"""What BiRefNet is trained to minimise (Zheng et al., CAAI AIR 2024, section 3.4; matting models).

The same sum on the last logits and on the side output of every level, each resized to
the truth, and the gradient supervision of section 3.3.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from birefcli.birefnet import Supervision
from birefcli.training.schedule import MATTING, LossWeights

GRADIENT = 1.0
"""Weight of the gradient supervision."""
SIDE = 4
"""Side outputs are compared with the truth at one part in this of its height and width."""

WINDOW, SIGMA = 11, 1.5  # of SSIM, in pixels
C1, C2 = 0.01**2, 0.03**2


def total(
    out: Supervision, image: Tensor, alpha: Tensor, terms: LossWeights = MATTING
) -> tuple[Tensor, Tensor]:
    """Everything that is minimised, and the last matte's share of it: a number each.

    ``image``: the network's input N×3×H×W; ``alpha``: the truth N×1×H×W, 0..1.
    """
    loss = last = matte(out.logits, alpha, terms)
    # The finest side output has an eighth of the photo's resolution: a truth of a quarter
    # is all it can learn from, at a sixteenth of the cost.
    coarse = F.avg_pool2d(alpha, SIDE)
    for side in out.sides:
        loss = loss + matte(side, coarse, terms)
    edges = laplacian(image.mean(1, keepdim=True))
    for side, predicted in zip(out.sides, out.gradients, strict=True):
        target = gradient_target(edges, side)
        loss = loss + GRADIENT * F.binary_cross_entropy_with_logits(
            _resize(predicted, target), target
        )
    return loss, last


def matte(logits: Tensor, alpha: Tensor, terms: LossWeights = MATTING) -> Tensor:
    """BCE, MAE, SSIM and IoU of logits N×1×h×w against alpha N×1×H×W in 0..1, weighted."""
    logits = _resize(logits, alpha)
    predicted = torch.sigmoid(logits)
    loss = terms.mae * (predicted - alpha).abs().mean() + terms.ssim * ssim_loss(predicted, alpha)
    if terms.bce:
        loss = loss + terms.bce * F.binary_cross_entropy_with_logits(logits, alpha)
    if terms.iou:
        loss = loss + terms.iou * iou_loss(predicted, alpha)
    return loss


def ssim_loss(predicted: Tensor, alpha: Tensor) -> Tensor:
    """1 − structural similarity (Wang et al., IEEE TIP 2004), Gaussian window 11×11, σ 1.5.

    Both N×1×H×W in 0..1.
    """
    mean_p, mean_pp, mean_pa = _gaussian(torch.stack([predicted, predicted**2, predicted * alpha]))
    mean_a, mean_aa = _gaussian(torch.stack([alpha, alpha**2]))
    var_p, var_a = mean_pp - mean_p**2, mean_aa - mean_a**2
    covariance = mean_pa - mean_p * mean_a
    likeness = (2 * mean_p * mean_a + C1) * (2 * covariance + C2)
    likeness = likeness / ((mean_p**2 + mean_a**2 + C1) * (var_p + var_a + C2))
    return 1 - likeness.mean()


def iou_loss(predicted: Tensor, alpha: Tensor) -> Tensor:
    """1 − intersection over union of soft maps N×1×H×W, mean over the photos."""
    both = (predicted * alpha).sum((1, 2, 3))
    either = (predicted + alpha).sum((1, 2, 3)) - both
    return 1 - (both / either.clamp(min=1e-6)).mean()


def gradient_target(edges: Tensor, side: Tensor) -> Tensor:
    """Where a level should see the subject's edges and texture: N×1×H×W in 0..1.

    Sigmoid of ``edges``, the :func:`laplacian` of the mean grey image, times the level's side
    logits ``side`` (N×1×h×w), which gate it to the subject; no gradient flows back through it.
    """
    return torch.sigmoid(edges * _resize(side.detach(), edges))


def laplacian(grey: Tensor) -> Tensor:
    """5×5 Laplacian, normalised to absolute weights that sum to one; mirrored at the borders.

    N×1×H×W to the same. Its kernel is one everywhere and −24 in the middle: a box mean does it.
    """
    mean = F.avg_pool2d(F.pad(grey, (2, 2, 2, 2), mode="reflect"), 5, stride=1)
    return (mean - grey) * (25 / 48)


def _gaussian(maps: Tensor) -> tuple[Tensor, ...]:
    """Each of the stacked ``maps`` blurred, with zeros beyond the border.

    As products with banded matrices: torch's convolution of one-channel maps is many times slower
    on CPUs.
    """
    down, right = (_band(length, maps) for length in maps.shape[-2:])
    return (down @ maps @ right).unbind()


def _band(length: int, like: Tensor) -> Tensor:
    at = torch.arange(length, dtype=like.dtype, device=like.device)
    apart = (at - at[:, None]).abs()
    bell = torch.exp(-(apart**2) / (2 * SIGMA**2)) * (apart <= WINDOW // 2)
    return bell / bell[length // 2].sum()


def _resize(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear to the height and width of ``like``, corners aligned as inside the network."""
    if x.shape[2:] == like.shape[2:]:
        return x
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)
