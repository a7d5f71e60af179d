"""`clnf_torch.models.batch_invariant`: the numbers of PyTorch's layers, and the same bits in any batch and order."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

import clnf_torch
from clnf_torch.models import batch_invariant
from clnf_torch.models.batch_invariant import MANY, Conv2d, Linear, in_fast_order, row_product
from tests.factories import seeded

# Inputs, outputs, side of the filters, stride, padding: of the U-Net, of MTCNN and of the validator
CONVOLUTIONS = {
    "first": (1, 24, 5, 2, 2),
    "middle": (48, 96, 3, 1, 1),
    "many": (160, 256, 3, 2, 1),
    "pixels": (24, 68, 1, 1, 0),
    "strided pixels": (32, 6, 1, 2, 0),
    "valid": (64, 128, 2, 1, 0),
}


@contextmanager
def threads(count: int):
    """As many threads, and then as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def layer_of(kind: str, given: tuple[int, ...]) -> nn.Module:
    rng = seeded(1)
    layer = Conv2d(*given) if kind == "convolution" else Linear(*given)
    for parameter in layer.parameters():
        parameter.data = torch.randn(parameter.shape, generator=rng) / given[0]
    layer.weight.data = in_fast_order(layer.weight.data)
    return layer.requires_grad_(False)


def images(channels: int, count: int = 35, side: int = 4) -> Tensor:
    maps = torch.randn(count, channels, side, side, generator=seeded(2))
    return maps.contiguous(memory_format=torch.channels_last)


def numbers(layer: nn.Module, inputs: Tensor) -> Tensor:
    """What the layer gives each row alone, in one batch and in others, checked to be one and the same."""
    together = layer(inputs)
    for size in (1, 2, 3, 5, 15, 16, 17, 34):
        assert torch.equal(torch.cat([layer(block) for block in inputs.split(size)]), together), size
    order = torch.randperm(len(inputs), generator=seeded(3))
    assert torch.equal(layer(inputs[order]), together[order])
    return together


@pytest.mark.parametrize("given", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_a_convolution_is_that_of_torch_and_the_same_in_any_batch(given):
    layer, maps = layer_of("convolution", given), images(given[0])
    with threads(1):
        alone = numbers(layer, maps)
    with threads(2):
        assert torch.equal(numbers(layer, maps), alone)
    torch.testing.assert_close(alone, nn.Conv2d.forward(layer, maps), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("given", [(1152, 256), (576, 20), (128, 6), (300, 260)])
def test_a_fully_connected_layer_is_that_of_torch_and_the_same_in_any_batch(given):
    layer, rows = layer_of("linear", given), torch.randn(300, given[0], generator=seeded(4))
    with threads(1):
        alone = numbers(layer, rows)
    with threads(2):
        assert torch.equal(numbers(layer, rows), alone)
    torch.testing.assert_close(alone, nn.Linear.forward(layer, rows), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 4, 129])
def test_products_of_rows(count):
    rng = seeded(5)
    rows, weight, bias = (torch.randn(shape, generator=rng) for shape in ((count, 9), (9, 5), (5,)))
    torch.testing.assert_close(row_product(rows, weight, bias), rows @ weight + bias)


@pytest.mark.parametrize("shape", [(7, 5), (4, 3, 3, 2), (256, MANY // 256 // 9 + 1, 3, 3)])
def test_the_order_of_memory_changes_no_weight(shape):
    weight = torch.randn(shape, generator=seeded(6))
    ordered = in_fast_order(weight)
    assert torch.equal(ordered, weight) and ordered.stride() != weight.stride()


@pytest.mark.parametrize("given", [CONVOLUTIONS["many"], CONVOLUTIONS["valid"], CONVOLUTIONS["pixels"]])
def test_no_image_gives_no_map(given):
    layer = layer_of("convolution", given)
    assert layer(images(given[0], 0)).shape == nn.Conv2d.forward(layer, images(given[0], 0)).shape


def as_torch(layer: nn.Module, maps: Tensor) -> Tensor:
    """The layer's result, checked to be PyTorch's own."""
    found = layer(maps)
    torch.testing.assert_close(found, nn.Conv2d.forward(layer, maps), equal_nan=True)
    return found


@pytest.mark.parametrize("given", [CONVOLUTIONS["many"], CONVOLUTIONS["middle"], CONVOLUTIONS["pixels"]])
class TestLeftToTorch:
    """What the routines are not made for."""

    def test_other_number_types_and_devices(self, given):
        layer, maps = layer_of("convolution", given), images(given[0], 2)
        assert as_torch(layer.double(), maps.double()).dtype == torch.float64
        assert layer.to("meta")(maps.double().to("meta")).device.type == "meta"

    # Of PyTorch's own formulas for forward mode, from 2.14 on as another kind
    @pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
    @pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
    def test_gradients(self, given):
        layer, maps = layer_of("convolution", given), images(given[0], 1, 3).requires_grad_()
        (gradient,) = torch.autograd.grad(layer(maps).square().sum(), maps)
        (expected,) = torch.autograd.grad(nn.Conv2d.forward(layer, maps).square().sum(), maps)
        torch.testing.assert_close(gradient, expected)
        forward = torch.func.jvp(layer, (maps.detach(),), (torch.ones_like(maps),))[1]
        assert forward.isfinite().all() and forward.abs().sum() > 0

    def test_without_onednn_and_in_half_precision(self, given, monkeypatch):
        layer, maps = layer_of("convolution", given), images(given[0], 2)
        with monkeypatch.context() as patched:
            patched.setattr(batch_invariant, "ONEDNN", False)
            assert torch.equal(layer(maps), nn.Conv2d.forward(layer, maps))
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(maps).dtype == torch.bfloat16

    def test_export(self, given):
        layer, maps = layer_of("convolution", given), images(given[0], 2)
        exported = torch.export.export(layer, (maps,)).module()
        torch.testing.assert_close(exported(maps), layer(maps), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "load", [clnf_torch.load, clnf_torch.load_face_detector, lambda: clnf_torch.load_face_detector("blazeface")]
)
def test_weights_that_leave_the_processor_are_in_one_order(load):
    """A card would copy those of another order in every call. Back on the processor they are in its order again."""
    module = load()
    before = {name: weight.stride() for name, weight in module.named_parameters() if weight.ndim in (2, 4)}
    assert any(not weight.is_contiguous() for weight in module.parameters())
    module.to("meta")
    assert all(weight.is_contiguous() for weight in module.parameters())
    module.to_empty(device="cpu")
    assert {name: weight.stride() for name, weight in module.named_parameters() if weight.ndim in (2, 4)} == before
