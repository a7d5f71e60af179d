"""The loss of heatmap experts: 0 for the wanted map, more for any other; points outside do not count."""

from __future__ import annotations

import torch

from clnf_torch.training.heatmap import heatmap_loss


def wanted(x: float, y: float, width: float, side: int = 9) -> torch.Tensor:
    """Scores whose softmax is a Gaussian around a point, shape (1, 1, H, H)."""
    steps = torch.arange(side, dtype=torch.float64)
    return (-((steps - x) ** 2 + (steps[:, None] - y) ** 2) / (2 * width**2))[None, None]


def test_the_wanted_map_costs_nothing():
    position = torch.tensor([[[3.3, 5.6]]], dtype=torch.float64)
    loss = heatmap_loss(wanted(3.3, 5.6, 0.8), position, 0.8)
    torch.testing.assert_close(loss, torch.zeros((), dtype=torch.float64), rtol=0, atol=1e-9)
    assert heatmap_loss(wanted(4.3, 5.6, 0.8), position, 0.8) > 0.5
    assert heatmap_loss(wanted(3.3, 5.6, 1.6), position, 0.8) > 0.1


def test_points_outside_do_not_count():
    scores = torch.cat((wanted(2.0, 2.0, 1.0), wanted(6.0, 6.0, 1.0)), 1)
    positions = torch.tensor([[[2.0, 2.0], [40.0, 2.0]]], dtype=torch.float64)
    torch.testing.assert_close(heatmap_loss(scores, positions, 1.0), heatmap_loss(scores[:, :1], positions[:, :1], 1.0))


def test_weights_share_out_the_loss():
    scores = torch.cat((wanted(2.0, 2.0, 1.0), wanted(4.0, 6.0, 1.0)), 1)
    positions = torch.tensor([[[2.0, 3.0], [6.0, 6.0]]], dtype=torch.float64)
    one, other = (heatmap_loss(scores[:, k : k + 1], positions[:, k : k + 1], 1.0) for k in range(2))
    weighted = heatmap_loss(scores, positions, 1.0, weight=torch.tensor([3.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(weighted, (3 * one + other) / 4)


def test_gradcheck(rng):
    scores = torch.randn(2, 3, 5, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    positions = 4 * torch.rand(2, 3, 2, generator=rng, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: heatmap_loss(s, positions, 0.8), (scores,))
