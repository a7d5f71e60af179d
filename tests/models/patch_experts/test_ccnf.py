"""`clnf_torch.models.patch_experts.ccnf`: against loops over landmarks, cells, neurons; and what is kept of Sigma."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from clnf_torch.models.numerics import EXACT, OPENFACE
from clnf_torch.models.patch_experts.ccnf import CCNFExperts
from tests.factories import N
from tests.models.patch_experts.template_factories import VISIBLE, WINDOW, make_ccnf, number, relations
from tests.models.patch_experts.test_patches import naive_patch


def naive_response(experts: CCNFExperts, area: torch.Tensor, view: int, landmark: int) -> torch.Tensor:
    """The response map (R, R) of one landmark."""
    window, e = area.shape[-1] - experts.support + 1, number(view, landmark)
    if not VISIBLE[view, landmark]:
        return torch.zeros(window, window, dtype=torch.float64)
    raw = torch.zeros(window * window, dtype=torch.float64)
    for cell in range(window * window):
        patch = torch.tensor(naive_patch(area, cell // window, cell % window, experts.support), dtype=torch.float64)
        for k, alpha in enumerate(experts.alphas[e].tolist()):
            z = float(patch @ experts.weights[e, :, k]) + float(experts.biases[e, k])
            raw[cell] += 2 * alpha / (1 + math.exp(-z)) if alpha > 1e-4 else 0
    precision = experts.alphas[e].sum() * torch.eye(window**2, dtype=torch.float64)
    if window == WINDOW:
        precision = precision + experts.betas[e, 0] * relations()[0] + experts.betas[e, 1] * relations()[1]
    smooth = torch.linalg.solve(2 * precision, raw)
    return (smooth - min(0.0, float(smooth.min()))).reshape(window, window)


@pytest.mark.parametrize("numerics", [OPENFACE, EXACT], ids=lambda numerics: numerics.name)
@pytest.mark.parametrize("view", [0, 1, 2])
@pytest.mark.parametrize(("support", "window"), [(3, WINDOW), (5, WINDOW), (3, 3)])
def test_responses_landmark_by_landmark(rng, numerics, view, support, window):
    experts, width = make_ccnf(support), window + support - 1
    areas = 255 * torch.rand(2, N, width, width, generator=rng, dtype=torch.float64)
    expected = [torch.stack([naive_response(experts, area, view, i) for i, area in enumerate(face)]) for face in areas]
    torch.testing.assert_close(experts.respond(areas, view, numerics), torch.stack(expected))


def test_only_responses_below_zero_are_lifted(rng):
    areas = 255 * torch.rand(4, N, 7, 7, generator=rng, dtype=torch.float64)
    smoothed = make_ccnf().respond(areas, 0, OPENFACE).amin((-1, -2))
    alone = make_ccnf().respond(areas[..., :5, :5], 0, OPENFACE).amin((-1, -2))
    assert (smoothed == 0).any() and (alone > 0).all()


def test_sigma_is_computed_once():
    experts = make_ccnf()
    assert experts.sigma(1, WINDOW) is experts.sigma(1, WINDOW)
    assert not any("sigma" in name for name in experts.state_dict())


def change_in_place(experts: CCNFExperts) -> CCNFExperts:
    experts.betas.mul_(3)
    return experts


def load_others(experts: CCNFExperts) -> CCNFExperts:
    experts.load_state_dict(change_in_place(make_ccnf()).state_dict())
    return experts


def there_and_back(experts: CCNFExperts) -> CCNFExperts:
    return experts.half().double()


def replace(experts: CCNFExperts) -> CCNFExperts:
    experts.alphas = torch.nn.Parameter(2 * experts.alphas, requires_grad=False)
    return experts


def duplicate(experts: CCNFExperts) -> CCNFExperts:
    return change_in_place(copy.deepcopy(experts))


@pytest.mark.parametrize("change", [change_in_place, load_others, there_and_back, replace, duplicate])
def test_sigma_follows_the_numbers(change):
    """Whatever ran before, Sigma is that of the numbers as they are now."""
    warm, cold = make_ccnf(), make_ccnf()
    before = warm.sigma(0, WINDOW)
    after, expected = change(warm).sigma(0, WINDOW), change(cold).sigma(0, WINDOW)
    torch.testing.assert_close(after, expected, rtol=0, atol=0)
    assert not torch.equal(after, before)


def test_sigma_of_an_inference_serves_gradients(rng):
    experts = make_ccnf()
    areas = 255 * torch.rand(1, N, 7, 7, generator=rng, dtype=torch.float64)
    with torch.inference_mode():
        expected = experts.respond(areas, 0, OPENFACE)
    areas.requires_grad_()
    found = experts.respond(areas, 0, OPENFACE)
    torch.testing.assert_close(found, expected.clone())
    found.square().sum().backward()
    assert areas.grad.abs().sum() > 0


def test_learned_numbers_are_never_served_from_what_was_kept(rng):
    experts = make_ccnf()
    experts.sigma(0, WINDOW)
    experts.requires_grad_()
    experts.respond(255 * torch.rand(1, N, 7, 7, generator=rng, dtype=torch.float64), 0, OPENFACE).sum().backward()
    assert experts.betas.grad.abs().sum() > 0


@pytest.mark.parametrize("shape", [(3, 25, 25), (2, 25, 24), (2, 9, 9)])
def test_components_that_do_not_fit_are_refused(shape):
    made = make_ccnf()
    common = (made.scale, made.support, made.view_centers, made.visible, made.confidence)
    with pytest.raises(ValueError, match=r"components of window 5 have shape .* expected at most 2 of 25 x 25"):
        CCNFExperts(*common, made.weights, made.biases, made.alphas, made.betas, {5: torch.zeros(shape)})
