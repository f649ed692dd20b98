"""Make mini of two trainings: ``python man/make/mix_weights.py FIRST SECOND SHARE FACTOR OUT``.

Weights of one network before and after fine-tuning, averaged: what it newly knows without what it
forgot (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022). SHARE, 0..1, is that
of SECOND; its logits are multiplied by FACTOR, which makes edges steeper.
"""

import argparse
import copy
from pathlib import Path

import torch

from birefcli.models import weights
from birefcli.options import Size
from birefcli.training.save_weights import save_weights


def main() -> None:
    """Write the average."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first")
    parser.add_argument("second")
    parser.add_argument("share", type=float)
    parser.add_argument("factor", type=float)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    first = weights.load_network(weights.resolve(given.first)).state_dict()
    checkpoint = weights.resolve(given.second)
    network = copy.deepcopy(weights.load_network(checkpoint))
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.lerp_(first[name].to(value), 1 - given.share)
    head = network.decoder.conv_out1[0]
    assert isinstance(head, torch.nn.Conv2d)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.mul_(given.factor)
    save_weights(network.eval(), given.out, Size(*checkpoint.size))


if __name__ == "__main__":
    main()
