"""`clnf_torch.detection.layers`: every kind of layer by hand."""

from __future__ import annotations

import math

import pytest
import torch

from clnf_torch.detection.layers import build_network
from tests.factories import seeded


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=seeded(11))


def test_convolution(dtype):
    weight, bias, maps = randn(2, 3, 2, 3), randn(2), randn(4, 3, 5, 6).to(dtype)
    found = build_network([{"kind": "conv", "weight": weight, "bias": bias}], dtype)(maps)
    assert found.shape == (4, 2, 4, 4) and found.dtype == dtype
    block = (weight[1].to(dtype) * maps[2, :, 1:3, 3:6]).sum() + bias[1].to(dtype)
    torch.testing.assert_close(found[2, 1, 1, 3], block)


@pytest.mark.parametrize("size", range(3, 12))
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (3, 1), (2, 1)])
def test_pooling_rounds_half_up_and_is_cut_at_the_border(size, kernel, stride):
    maps = randn(1, 1, size, size)
    found = build_network([{"kind": "max_pool", "kernel": [kernel, kernel], "stride": [stride, stride]}])(maps)
    count = math.floor((size - kernel) / stride + 0.5) + 1
    assert found.shape == (1, 1, count, count)
    for i in range(count):
        for j in range(count):
            window = maps[0, 0, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
            assert found[0, 0, i, j] == window.max()


@pytest.mark.parametrize(("kernel", "stride"), [([3, 3], [3, 3]), ([1, 1], [2, 2]), ([2, 2], [0, 1])])
def test_pooling_that_rounds_otherwise_is_refused(kernel, stride):
    with pytest.raises(ValueError, match="expected strides of 1 or 2"):
        build_network([{"kind": "max_pool", "kernel": kernel, "stride": stride}])


def test_fully_connected_over_maps_in_the_order_of_memory(dtype):
    """Whatever layout the maps before it have."""
    weight, bias, maps = randn(4, 12), randn(4), randn(3, 2, 2, 3).to(dtype)
    network = build_network([{"kind": "linear", "weight": weight, "bias": bias}], dtype)
    expected = maps.reshape(3, 12) @ weight.to(dtype).mT + bias.to(dtype)
    torch.testing.assert_close(network(maps), expected)
    torch.testing.assert_close(network(maps.contiguous(memory_format=torch.channels_last)), expected)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3)])
def test_rectifiers(shape):
    slope, values = torch.tensor([0.5, -0.25, 1.5]), randn(*shape)
    channels = slope.reshape(1, 3, *[1] * (len(shape) - 2))
    prelu = build_network([{"kind": "prelu", "slope": slope}])(values)
    torch.testing.assert_close(prelu, torch.where(values >= 0, values, channels * values))
    assert torch.equal(build_network([{"kind": "relu"}])(values), values.clamp_min(0))
    torch.testing.assert_close(build_network([{"kind": "sigmoid"}])(values), 1 / (1 + (-values).exp()))


def test_layers_follow_one_another_on_any_device(device):
    layers = [
        {"kind": "conv", "weight": randn(4, 3, 3, 3), "bias": randn(4)},
        {"kind": "prelu", "slope": randn(4)},
        {"kind": "max_pool", "kernel": [3, 3], "stride": [2, 2]},
        {"kind": "linear", "weight": randn(5, 16), "bias": randn(5)},
    ]
    network = build_network(layers).to(device)
    assert network(randn(2, 3, 6, 6).to(device)).shape == (2, 5)
    assert network(randn(0, 3, 6, 6).to(device)).shape == (0, 5)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert sum(parameter.numel() for parameter in network.parameters()) == 4 * 27 + 4 + 4 + 80 + 5


def test_gradients_reach_the_image():
    layers = [
        {"kind": "conv", "weight": randn(2, 1, 2, 2), "bias": randn(2)},
        {"kind": "prelu", "slope": randn(2)},
        {"kind": "linear", "weight": randn(1, 8), "bias": randn(1)},
    ]
    network = build_network(layers, torch.float64)
    assert torch.autograd.gradcheck(network, (randn(2, 1, 3, 3).double().requires_grad_(),))


def test_an_unknown_layer_is_named():
    with pytest.raises(ValueError, match=r"\['dropout'\] are not known.*max_pool"):
        build_network([{"kind": "relu"}, {"kind": "dropout"}])
