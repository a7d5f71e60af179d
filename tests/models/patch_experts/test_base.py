"""`clnf_torch.models.patch_experts.base`: the nearest view, and grouping by view."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.models.numerics import EXACT
from tests.factories import YAWS, N, make_experts


def test_nearest_view_is_that_of_the_closest_centre(rng):
    rotation = torch.randn(50, 3, generator=rng, dtype=torch.float64)
    expected = [
        min(range(3), key=lambda v: (rx**2 + (ry - YAWS[v]) ** 2 + rz**2, v)) for rx, ry, rz in rotation.tolist()
    ]
    assert make_experts().nearest_view(rotation).tolist() == expected


def test_the_first_view_wins_a_tie():
    experts = make_experts()
    experts.view_centers[:, 1] = torch.tensor([0.0, -0.5, 0.5])
    rotation = torch.tensor([[0.0, 0.25, 0.0], [0.0, -0.25, 0.0]], dtype=torch.float64)
    assert experts.nearest_view(rotation).tolist() == [0, 0]
    experts.view_centers[0, 1] = 9.0
    assert experts.nearest_view(torch.zeros(1, 3, dtype=torch.float64)).tolist() == [1]


@pytest.mark.parametrize("views", [[], [1], [2, 2, 2], [2, 0, 1, 0, 2], [1, 0]])
def test_rows_in_mixed_views_are_answered_as_if_alone(rng, views):
    experts = make_experts()
    areas = 255 * torch.rand(len(views), N, 7, 7, generator=rng, dtype=torch.float64)
    together = experts(areas, torch.tensor(views, dtype=torch.int64), EXACT)
    assert together.shape == (len(views), N, 5, 5)
    for i, view in enumerate(views):
        torch.testing.assert_close(experts.respond(areas[i : i + 1], view, EXACT)[0], together[i])


@pytest.mark.parametrize("width", [2, 4, 6])
def test_areas_of_the_wrong_size_are_refused(width):
    message = f"areas are {width} px wide and the experts look at 3, .* cut areas of window \\+ support - 1"
    with pytest.raises(ValueError, match=message):
        make_experts()(torch.zeros(1, N, width, width), torch.tensor([0]), EXACT)
