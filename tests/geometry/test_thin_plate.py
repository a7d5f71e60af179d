"""Thin-plate splines: through their points, the plane where a plane will do, and calm where points coincide."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clnf_torch.geometry.thin_plate import ThinPlate
from tests.factories import seeded


def scattered(seed: int = 1) -> torch.Tensor:
    """Twelve points in each of three planes, some 50 pixels from each other, not less than 20."""
    grid = torch.cartesian_prod(torch.arange(4.0), torch.arange(3.0))
    return 50 * grid + 30 * torch.rand(3, 12, 2, generator=seeded(seed)) + 40


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_points_are_moved_where_they_shall_be(seed):
    points = scattered(seed)
    shifts = 10 * torch.randn(points.shape, generator=seeded(seed + 1))
    torch.testing.assert_close(ThinPlate.through(points, shifts).at(points), shifts, atol=0.1, rtol=0)


def test_an_affine_map_is_kept_everywhere():
    points, places = scattered(), scattered(2)
    matrix = torch.tensor([[0.1, -0.2], [0.3, 0.05]])
    moved = ThinPlate.through(points, points @ matrix.mT + 5).at(places)
    torch.testing.assert_close(moved, places @ matrix.mT + 5, atol=1e-2, rtol=0)


def test_nothing_moves_when_nothing_is_moved():
    assert not ThinPlate.through(scattered(), torch.zeros(3, 12, 2)).at(scattered(3)).any()


def test_points_that_coincide_are_moved_by_their_mean():
    points, shifts = scattered(), torch.zeros(3, 12, 2)
    points[:, 1], shifts[:, 0], shifts[:, 1] = points[:, 0], 2.0, 4.0
    torch.testing.assert_close(
        ThinPlate.through(points, shifts).at(points)[:, :2], torch.full((3, 2, 2), 3.0), atol=0.05, rtol=0
    )
