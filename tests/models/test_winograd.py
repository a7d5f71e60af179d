"""`clnf_torch.models.kernels.cpu.winograd` and the layer that chooses it: against convolutions in double precision."""

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("numba", reason="the compiled loops need numba")
from clnf_torch.compilation.compiler import f32
from clnf_torch.compilation.products import LOWEST, NOTHING
from clnf_torch.compilation.tiles import LANES
from clnf_torch.models.kernels.cpu.convolution_layer import Layer, score_rows
from clnf_torch.models.kernels.cpu.convolutions import heatmaps_of
from clnf_torch.models.kernels.cpu.winograd import TILES, can_be_tiles, divides_into_tiles
from tests.factories import seeded

# Of results whose deviation is 0.6. Measured: 1.5e-5, ten times that of plain sums: the transforms multiply by up to 8
WITHIN = 1e-4


def make_layer(channels: int, width: int, side: int = 3, stride: int = 1) -> nn.Conv2d:
    with torch.random.fork_rng():
        torch.manual_seed(channels)
        return nn.Conv2d(channels, width, side, stride, padding=side // 2).requires_grad_(False)


def bordered(maps: torch.Tensor) -> np.ndarray:
    return nn.functional.pad(maps, (1, 1, 1, 1)).permute(0, 2, 3, 1).contiguous().numpy()


def inner(maps: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(maps[:, 1:-1, 1:-1]).permute(0, 3, 1, 2)


# Whole vectors and parts of one, one face, and more tiles than are worked off at once
@pytest.mark.parametrize("channels", [(16, 16), (24, 17), (35, 48), (17, 100)])
@pytest.mark.parametrize("size", [(1, 8, 8), (3, 8, 12), (2, 20, 16), (1, 28, 40)])
@pytest.mark.parametrize("ends", ["nothing", "relu", "added"])
def test_tiles_are_a_convolution(channels, size, ends):
    faces, *sides = size
    convolution = make_layer(*channels)
    layer, maps = Layer.of(convolution), torch.randn(faces, channels[0], *sides, generator=seeded(1))
    added = torch.randn(faces, channels[1], *sides, generator=seeded(2))
    assert divides_into_tiles(bordered(maps))
    expected = convolution.double()(maps.double()) + added if ends == "added" else convolution.double()(maps.double())
    least, more = (LOWEST if ends == "nothing" else f32(0)), (bordered(added).ravel() if ends == "added" else NOTHING)
    found = layer(bordered(maps), least, more)
    expected = expected if ends == "nothing" else expected.relu()
    torch.testing.assert_close(inner(found), expected.float(), atol=WITHIN, rtol=0)
    frame = found.copy()
    frame[:, 1:-1, 1:-1] = 0
    assert (frame == 0).all()


def test_a_face_is_worked_off_as_alone():
    layer, maps = Layer.of(make_layer(24, 40)), torch.randn(5, 24, 12, 12, generator=seeded(3))
    assert 5 * 9 > TILES
    together = layer(bordered(maps))
    for row in range(5):
        np.testing.assert_array_equal(layer(bordered(maps[row : row + 1]))[0], together[row])


def test_a_number_that_is_none_stays_with_its_face():
    layer, maps = Layer.of(make_layer(24, 40)), torch.randn(3, 24, 12, 12, generator=seeded(3))
    sound = layer(bordered(maps))
    maps[1, 5, 6, 6] = torch.nan
    found = layer(bordered(maps))
    np.testing.assert_array_equal(found[[0, 2]], sound[[0, 2]])
    assert np.isnan(found[1, 7, 7]).all()


@pytest.mark.parametrize(
    ("shape", "stride"), [((5, 5, 24, 24), 1), ((1, 1, 24, 24), 1), ((3, 3, 24, 24), 2), ((3, 3, LANES - 1, 24), 1)]
)
def test_other_layers_are_not(shape, stride):
    assert not can_be_tiles(shape, stride)


@pytest.mark.parametrize("sides", [(4, 4), (6, 8), (8, 10)])
def test_maps_of_other_sides_are_not(sides):
    convolution, maps = make_layer(24, 24), torch.randn(2, 24, *sides, generator=seeded(1))
    assert not divides_into_tiles(bordered(maps))
    found = Layer.of(convolution)(bordered(maps), LOWEST)
    torch.testing.assert_close(inner(found), convolution.double()(maps.double()).float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("sides", [(4, 4), (16, 8), (17, 13)])
def test_heatmaps_are_the_softmax_of_scores(sides):
    head, maps = make_layer(24, 68, 1), 9 * torch.randn(2, 24, *sides, generator=seeded(1))
    found = np.empty((2, 68, *sides), np.float32)
    heatmaps_of(bordered(maps), score_rows(head), found)
    scores = head.double()(maps.double())
    expected = scores.flatten(2).softmax(-1).view(scores.shape)
    torch.testing.assert_close(torch.from_numpy(found), expected.float(), atol=1e-6, rtol=1e-4)
