"""oneDNN's products against torch's own, and when they are left alone."""

import platform
import warnings

import pytest
import torch
from torch.nn import functional as F

from birefcli.birefnet import linear as module
from birefcli.birefnet.aspp import DeformableASPP
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
    # 72 products of about 0.1, added in single precision in whatever order.
    torch.testing.assert_close(got.double(), wanted, rtol=1e-5, atol=1e-5)


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


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="oneDNN is for x86")
@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_this_torch_has_the_operator():
    assert module._there()


@pytest.mark.parametrize("lacking", ["processor", "operator", "its signature"])
def test_torch_without_the_operator_is_served_as_well(layer, monkeypatch, lacking):
    x = torch.randn(3, 72)
    with torch.inference_mode():
        wanted = linear(x, layer.weight, layer.bias, "gelu")
        if lacking == "processor":
            monkeypatch.setattr(module.platform, "machine", lambda: "arm64")
        elif lacking == "operator":
            monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", None)
        else:
            monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", torch.ops.aten.relu)
        monkeypatch.setattr(module, "_there", module._there.__wrapped__)
        assert not module._there()
        torch.testing.assert_close(linear(x, layer.weight, layer.bias, "gelu"), wanted)


def test_another_activation_is_an_error_whoever_computes(layer):
    with torch.inference_mode(), pytest.raises(KeyError):
        linear(torch.randn(3, 72), layer.weight, None, "swish")


def test_layers_can_be_traced(layer):
    x = torch.randn(3, 72)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is old, and says so
        traced = torch.jit.trace(layer, x)
        torch.testing.assert_close(traced(x), layer(x))


def test_pyramid_runs_under_autocast():
    torch.manual_seed(0)
    pyramid = DeformableASPP(8, 8, (1, 3)).eval()
    x = torch.randn(1, 8, 20, 20)
    with torch.no_grad():
        wanted = pyramid(x)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(pyramid(x).float(), wanted, rtol=0.1, atol=0.1)


def test_parameters_are_those_of_torchs_layer(layer):
    other = torch.nn.Linear(72, 40)
    other.load_state_dict(layer.state_dict())
    with torch.inference_mode():
        x = torch.randn(3, 72)
        torch.testing.assert_close(other(x), layer(x))
