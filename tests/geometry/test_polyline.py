"""Points along lines through points."""

from __future__ import annotations

import torch

from clnf_torch.geometry.polyline import along


def test_equal_distances_along_a_bent_line():
    line = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 3.0]]])
    found = along(line, torch.linspace(0, 1, 5))
    torch.testing.assert_close(found[0], torch.tensor([[0.0, 0], [1, 0], [1, 1], [1, 2], [1, 3]]))


def test_points_may_lie_on_each_other():
    assert along(torch.zeros(2, 4, 2), torch.linspace(0, 1, 3)).isfinite().all()
