"""`clnf_torch.models.layers`: every kind of layer by hand."""

from __future__ import annotations

import math
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from clnf_torch.compilation.conditions import loops_in
from clnf_torch.models import layers
from clnf_torch.models.layers import build_network, respond_to_all
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


def convolution(outputs: int, inputs: int, *sides: int) -> dict[str, object]:
    weight = randn(outputs, inputs, *sides) / math.sqrt(inputs * math.prod(sides))
    return {"kind": "conv", "weight": weight, "bias": randn(outputs)}


def linear(outputs: int, inputs: int) -> dict[str, object]:
    return {"kind": "linear", "weight": randn(outputs, inputs) / math.sqrt(inputs), "bias": randn(outputs)}


def pooling(side: int, stride: int) -> dict[str, object]:
    return {"kind": "max_pool", "kernel": [side, side], "stride": [stride, stride]}


def prelu(channels: int) -> dict[str, object]:
    return {"kind": "prelu", "slope": randn(channels)}


# Fewer channels than a vector has numbers and more, with and without what may follow a layer
NETWORKS = {
    "proposals": (
        3,
        [convolution(10, 3, 3, 3), prelu(10), pooling(2, 2), convolution(16, 10, 3, 3), convolution(6, 16, 1, 1)],
    ),
    "overlapping": (
        1,
        [convolution(28, 1, 5, 4), {"kind": "relu"}, pooling(3, 2), convolution(50, 28, 2, 2), prelu(50)],
    ),
    "close": (2, [convolution(3, 2, 4, 4), pooling(3, 1)]),
    "vectors": (3, [convolution(20, 3, 3, 3), pooling(2, 2), linear(50, 20 * 9 * 14), {"kind": "relu"}, linear(7, 50)]),
}


@pytest.fixture(params=list(NETWORKS))
def network(request):
    pytest.importorskip("numba", reason="the compiled loops need numba")
    channels, records = NETWORKS[request.param]
    return build_network(records).requires_grad_(False), randn(5, channels, 20, 30)


def test_loops_agree_with_torch(network, monkeypatch):
    built, images = network
    assert built.has_loops_for(images) and not built.double().has_loops_for(images.double())
    found = built.float()(images)
    monkeypatch.setattr(layers, "load_kernels", lambda module: None)
    torch.testing.assert_close(found, built(images), atol=2e-5, rtol=1e-5)


def test_loops_give_an_image_the_same_alone_in_a_batch_and_in_threads(network):
    built, images = network
    together = built(images)
    with loops_in(2):
        shared = respond_to_all(built, images.split(2))
    assert torch.equal(torch.cat(shared), together)
    assert all(torch.equal(built(images[i : i + 1])[0], together[i]) for i in range(5))


def test_each_batch_is_taken_once_where_all_threads_look_at_the_last(monkeypatch):
    pytest.importorskip("numba", reason="the compiled loops need numba")
    from clnf_torch.models.kernels.cpu import layers as loops

    def slowly(frame, event, argument):
        time.sleep(0.002)
        return slowly

    def work(job):
        # Before each line, so that others have looked before one takes
        sys.settrace(slowly)
        try:
            job()
        finally:
            sys.settrace(None)

    def together(jobs):
        with ThreadPoolExecutor(len(jobs)) as pool:
            list(pool.map(work, jobs))

    taken = []
    monkeypatch.setattr(loops, "layers_of", lambda network: ())
    monkeypatch.setattr(loops, "_respond", lambda layers, images: taken.append(images) or images)
    monkeypatch.setattr(loops, "together", together)
    with loops_in(4):
        found = loops.respond(None, list(range(7)))
    assert found == list(range(7)) == sorted(taken)


def test_a_number_that_is_none_reaches_the_end_of_the_loops(network):
    built, images = network
    images[2, :, 4, 6] = math.nan
    assert built(images).isnan().flatten(1).any(1).tolist() == [False, False, True, False, False]


def test_loops_know_when_weights_change(network):
    built, images = network
    before = built(images)
    next(built.parameters()).mul_(2)
    assert not torch.equal(built(images), before)


def test_loops_refuse_images_of_another_size(network):
    built, images = network
    assert not built.has_loops_for(images[:0])
    with pytest.raises((ValueError, RuntimeError)):
        built(images[:, :, :2, :3])


def test_no_loops_for_layers_in_another_order():
    built = build_network([convolution(4, 1, 3, 3), {"kind": "sigmoid"}])
    images = randn(2, 1, 6, 6)
    assert not built.has_loops_for(images)
    assert built(images).shape == (2, 4, 4, 4)


def test_gradients_go_through_torch():
    pytest.importorskip("numba", reason="the compiled loops need numba")
    built, images = build_network(NETWORKS["close"][1]), randn(1, 2, 9, 9).requires_grad_()
    assert not built.has_loops_for(images)
    built(images).sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("kind", ["forward", "forward_pre"])
@pytest.mark.parametrize("where", ["layer", "network", "all"])
def test_hooks_are_called_though_there_are_loops(network, where, kind, before):
    built, images = network
    expected, calls = respond_to_all(built, [images]) if before else None, []
    if where == "all":
        register = getattr(torch.nn.modules.module, f"register_module_{kind}_hook")
    else:
        register = getattr(built[0] if where == "layer" else built, f"register_{kind}_hook")
    with register(lambda *_: calls.append(1)):
        (hooked,) = respond_to_all(built, [images])
        assert calls
        calls.clear()
        built(images)
    assert calls and built.has_loops_for(images)
    if expected is not None:
        torch.testing.assert_close(hooked, expected[0], atol=1e-3, rtol=1e-4)


def test_layers_that_were_exchanged_count(network):
    built, images = network
    before = built(images)
    built[0] = torch.nn.Sequential(built[0], torch.nn.Hardtanh(0, 0.1))
    assert not torch.equal(built(images), before)
