"""`clnf_torch.models.kernels.cpu.separable` beside torch: filters of channels with a product, and enlarged maps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from tests.factories import seeded

pytest.importorskip("numba", reason="the compiled loops need numba")
from clnf_torch.compilation.compiler import f32
from clnf_torch.compilation.products import LOWEST, NOTHING, pack
from clnf_torch.compilation.tiles import LANES
from clnf_torch.models.kernels.cpu.separable import add_interpolated, separable


def randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed))


def bordered(maps: Tensor) -> Tensor:
    """Maps (B, C, H, W) as the loops take them."""
    return pad(maps, (1, 1, 1, 1)).permute(0, 2, 3, 1).contiguous()


# Channels that fill vectors, and that do not; maps of several bands
@pytest.mark.parametrize(("inputs", "outputs", "size"), [(LANES, 2 * LANES, (4, 6)), (LANES + 3, LANES + 5, (40, 24))])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_separable_convolution_is_that_of_torch(inputs, outputs, size, stride):
    maps, filters, offsets = randn(2, inputs, *size, seed=1), randn(inputs, 1, 3, 3, seed=2), randn(inputs, seed=3)
    weight, bias = randn(outputs, inputs, seed=4), randn(outputs, seed=5)
    expected = conv2d(conv2d(maps, filters, offsets, stride, 1, groups=inputs), weight[:, :, None, None], bias)
    numbers = torch.cat((offsets[None], filters.flatten(1).mT)).flatten().numpy()
    loops = bordered(maps).numpy(), numbers, stride, pack(weight.mT.contiguous().numpy()), bias.numpy()
    found = torch.from_numpy(separable(*loops, LOWEST, NOTHING))
    torch.testing.assert_close(found, bordered(expected), atol=1e-4, rtol=1e-5)
    again = torch.from_numpy(separable(*loops, LOWEST, bordered(expected).numpy().reshape(-1)))
    torch.testing.assert_close(again, bordered(2 * expected), atol=1e-4, rtol=1e-5)


def test_results_are_raised_to_the_least():
    maps, eye = randn(1, LANES, 4, 4, seed=1), torch.eye(LANES)
    middle = torch.zeros(10, LANES)
    middle[5] = 1
    found = separable(
        bordered(maps).numpy(), middle.flatten().numpy(), 1, pack(eye.numpy()), 0 * eye[0].numpy(), f32(0), NOTHING
    )  # fmt: skip
    assert torch.equal(torch.from_numpy(found), bordered(maps.relu()))


def test_smaller_maps_are_enlarged_as_by_torch():
    maps, smaller = randn(2, 5, 6, 10, seed=1), randn(2, 5, 3, 5, seed=2)
    expected = maps + interpolate(smaller, scale_factor=2.0, mode="bilinear", align_corners=False)
    found = bordered(maps).numpy()
    add_interpolated(found, bordered(smaller).numpy())
    torch.testing.assert_close(torch.from_numpy(found), bordered(expected), atol=1e-6, rtol=1e-6)
