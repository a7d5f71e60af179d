"""`clnf_torch.models.patch_experts.ccnf`: smoothing matrices by hand, and where there are none."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.models.patch_experts.ccnf import lone_sigma, sigma_matrices
from tests.models.patch_experts.template_factories import relations


def test_two_cells_by_hand():
    components = torch.tensor([[[1.0, -1.0], [-1.0, 1.0]]])
    sigma = sigma_matrices(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5]]), components)
    # Q = [[3.5, -0.5], [-0.5, 3.5]], 2 Q = [[7, -1], [-1, 7]]
    torch.testing.assert_close(sigma, torch.tensor([[[7.0, 1.0], [1.0, 7.0]]]) / 48)


def test_inverse_of_many_experts(rng, dtype):
    alphas, betas = (torch.rand(9, size, generator=rng, dtype=torch.float64).to(dtype) for size in (3, 2))
    sigma = sigma_matrices(alphas, betas, relations(dtype))
    assert sigma.dtype == dtype
    precision = torch.einsum("ec,cpq->epq", betas, relations(dtype)) + alphas.sum(-1)[:, None, None] * torch.eye(25)
    product = 2 * precision.double() @ sigma.double()
    torch.testing.assert_close(product, torch.eye(25).double().expand(9, 25, 25), atol=5e-5, rtol=0)
    torch.testing.assert_close(sigma, sigma.mT)


def test_a_matrix_that_is_not_positive_definite_gives_zeros_and_spares_the_others():
    alphas = torch.tensor([[1.0], [-1.0], [2.0]])
    sigma = sigma_matrices(alphas, torch.zeros(3, 1), torch.zeros(1, 4, 4))
    expected = torch.stack([torch.eye(4) / 2, torch.zeros(4, 4), torch.eye(4) / 4])
    torch.testing.assert_close(sigma, expected)


def test_without_components():
    torch.testing.assert_close(lone_sigma(torch.tensor([[1.0, 1.5], [0.0, 0.0]])), torch.tensor([0.2, 0.0]))


@pytest.mark.parametrize("components", [relations(), relations()[:1]])
def test_gradcheck(rng, components):
    alphas = (1 + torch.rand(2, 3, generator=rng, dtype=torch.float64)).requires_grad_()
    betas = torch.rand(2, len(components), generator=rng, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: sigma_matrices(a, b, components), (alphas, betas), fast_mode=True)
    assert torch.autograd.gradcheck(lone_sigma, (alphas,))
