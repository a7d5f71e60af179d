"""Small CCNF and SVR experts: five landmarks, three views, two of whose landmarks are not visible."""

from __future__ import annotations

import torch

from clnf_torch.models.patch_experts.ccnf import CCNFExperts
from clnf_torch.models.patch_experts.svr import SVRExperts
from tests.factories import YAWS, N, V, seeded

VISIBLE = torch.tensor([[1, 1, 1, 1, 1], [1, 0, 1, 1, 1], [0, 1, 1, 1, 1]]).bool()
COUNT = int(VISIBLE.sum())  # experts
NEURONS, WINDOW = 3, 5  # WINDOW has components of Sigma, other sizes have none


def number(view: int, landmark: int) -> int:
    """The expert of a landmark in a view."""
    return int(VISIBLE.flatten()[: view * N + landmark].sum())


def common(support: int, dtype: torch.dtype) -> tuple:
    """Scale, support, view centres, visibility, confidence."""
    centers = torch.zeros(V, 3, dtype=dtype)
    centers[:, 1] = torch.tensor(YAWS, dtype=dtype)
    confidence = torch.rand(V, N, generator=seeded(1), dtype=torch.float64).to(dtype)
    return 0.25, support, centers, VISIBLE, confidence


def relations(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Two symmetric matrices with no negative eigenvalue between the cells of a window, (2, WINDOW**2, WINDOW**2)."""
    roots = torch.randn(2, WINDOW**2, 4, generator=seeded(2), dtype=torch.float64)
    return (roots @ roots.mT).to(dtype)


def make_ccnf(support: int = 3, dtype: torch.dtype = torch.float64, weight_type: torch.dtype | None = None):
    """CCNF experts; the last neuron of the first expert is too light to respond."""
    rng = seeded(3)
    weights = torch.randn(COUNT, support**2, NEURONS, generator=rng, dtype=torch.float64)
    biases = 0.3 * torch.randn(COUNT, NEURONS, generator=rng, dtype=torch.float64)
    alphas = 0.2 + torch.rand(COUNT, NEURONS, generator=rng, dtype=torch.float64)
    alphas[0, -1] = 1e-4
    betas = 0.1 + torch.rand(COUNT, 2, generator=rng, dtype=torch.float64)
    numbers = (biases.to(dtype), alphas.to(dtype), betas.to(dtype))
    return CCNFExperts(*common(support, dtype), weights.to(weight_type or dtype), *numbers, {WINDOW: relations(dtype)})


def make_svr(support: int = 3, dtype: torch.dtype = torch.float64, weight_type: torch.dtype | None = None):
    """SVR experts with a raw and a gradient template."""
    rng = seeded(4)
    weights = torch.randn(COUNT, support**2, 2, generator=rng, dtype=torch.float64)
    weights = weights - weights.mean(1, keepdim=True)
    weights = weights / weights.norm(dim=1, keepdim=True)
    scalings = 2 + 3 * torch.rand(COUNT, 2, generator=rng, dtype=torch.float64)
    biases = -torch.rand(COUNT, 2, generator=rng, dtype=torch.float64)
    numbers = (scalings.to(dtype), biases.to(dtype))
    return SVRExperts(*common(support, dtype), weights.to(weight_type or dtype), *numbers, ["raw", "gradient"])
