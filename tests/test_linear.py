"""oneDNN's products against torch's own, and when they are left alone."""

import pytest
import torch
from torch.nn import functional as F

from birefcli.birefnet import linear as module
from birefcli.birefnet.linear import Linear, linear

PLAIN = {"none": lambda x: x, "relu": F.relu, "gelu": F.gelu}


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return Linear(72, 40)


@pytest.fixture
def calls(monkeypatch):
    """How often oneDNN's operator is asked for."""
    seen = []
    there = module._there

    def counted():
        seen.append(there())
        return seen[-1]

    monkeypatch.setattr(module, "_there", counted)
    return seen


@pytest.mark.parametrize("then", PLAIN)
@pytest.mark.parametrize("shape", [(1, 72), (300, 72), (2, 5, 7, 72), (0, 72)])
@pytest.mark.parametrize("biased", [True, False])
def test_product_is_that_of_torch(layer, then, shape, biased):
    x = torch.randn(shape)
    bias = layer.bias if biased else None
    with torch.inference_mode():
        got = linear(x, layer.weight, bias, then)
        wanted = PLAIN[then](F.linear(x.double(), layer.weight.double(),
                                      None if bias is None else bias.double()))  # fmt: skip
    assert got.dtype == torch.float32
    assert got.shape == wanted.shape
    torch.testing.assert_close(got.double(), wanted, rtol=1e-5, atol=1e-6)


def test_rows_that_do_not_lie_together_are_multiplied_too(layer):
    x = torch.randn(72, 50).T
    with torch.inference_mode():
        torch.testing.assert_close(linear(x, layer.weight, None), x @ layer.weight.T)


def test_gradients_flow_through_torchs_own(layer, calls):
    x = torch.randn(3, 72, requires_grad=True)
    linear(x, layer.weight, layer.bias, "gelu").sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is not None
    assert not calls


def test_other_dtypes_and_autocast_are_torchs(layer, calls):
    with torch.inference_mode():
        x = torch.randn(3, 72)
        assert linear(x.double(), layer.weight.double(), None).dtype == torch.float64
        with torch.autocast("cpu", torch.bfloat16):
            assert linear(x, layer.weight, None).dtype == torch.bfloat16
        assert not calls
        layer(x)
        assert len(calls) == 1


def test_torch_without_the_operator_is_served_as_well(layer, monkeypatch):
    x = torch.randn(3, 72)
    with torch.inference_mode():
        wanted = linear(x, layer.weight, layer.bias, "gelu")
        monkeypatch.setattr(module.platform, "machine", lambda: "arm64")
        monkeypatch.setattr(module, "_there", module._there.__wrapped__)
        assert not module._there()
        torch.testing.assert_close(linear(x, layer.weight, layer.bias, "gelu"), wanted)


def test_parameters_are_those_of_torchs_layer(layer):
    other = torch.nn.Linear(72, 40)
    other.load_state_dict(layer.state_dict())
    with torch.inference_mode():
        x = torch.randn(3, 72)
        torch.testing.assert_close(other(x), layer(x))
