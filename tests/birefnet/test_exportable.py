"""The network as an exporter follows it computes what the network computes."""

import pytest
import torch
from conftest import TINY
from support import known_image, known_network

from birefcli.birefnet import MINI
from birefcli.birefnet.exportable import ExportableNetwork


@pytest.mark.parametrize("size", [(64, 96), (96, 32)])
@pytest.mark.parametrize("photos", [1, 3])
def test_it_gives_alpha_of_any_number_of_photos_as_the_network_does(size, photos):
    network = known_network(
        TINY
    )  # its offsets are not zero, and maps of 3×2 are padded and shifted
    images = torch.cat([known_image(*size, seed) for seed in range(photos)])
    with torch.inference_mode():
        logits = network(images)
        assert logits.std() > 0.01
        exportable, raw = (ExportableNetwork(network, *size, logits=kind) for kind in (False, True))
        assert torch.allclose(exportable.eval()(images), torch.sigmoid(logits), atol=1e-5)
        assert torch.allclose(raw.eval()(images), logits, atol=1e-4)


def test_it_shares_the_weights_and_leaves_the_network_as_it_is():
    network = known_network(TINY)
    names = [name for name, _ in network.named_modules()]
    exportable = ExportableNetwork(network, 64, 96)
    ours = {tensor.data_ptr() for tensor in network.parameters()}
    theirs = {tensor.data_ptr() for tensor in exportable.parameters()}
    assert theirs <= ours
    assert [name for name, _ in network.named_modules()] == names


@pytest.mark.slow
def test_a_backbone_without_windows_is_followed_as_it_is():
    network, image = known_network(MINI), known_image(64, 64, 1)
    with torch.inference_mode():
        wanted = torch.sigmoid(network(image))
        assert torch.allclose(ExportableNetwork(network, 64, 64).eval()(image), wanted, atol=1e-4)
