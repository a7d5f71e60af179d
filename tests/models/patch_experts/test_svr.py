"""`clnf_torch.models.patch_experts.svr`: against loops over landmarks, cells and modalities."""

from __future__ import annotations

import math

import pytest
import torch

from clnf_torch.models.numerics import EXACT, OPENFACE
from clnf_torch.models.patch_experts.svr import SVRExperts, squared_gradient
from tests.factories import N
from tests.models.patch_experts.template_factories import VISIBLE, make_svr, number
from tests.models.patch_experts.test_patches import naive_patch


def naive_gradient(area: torch.Tensor) -> torch.Tensor:
    """Squared gradients of an area (A, A), pixel by pixel."""
    gradient = torch.zeros_like(area)
    for y in range(1, area.shape[0] - 1):
        for x in range(1, area.shape[1] - 1):
            gradient[y, x] = (area[y, x + 1] - area[y, x - 1]) ** 2 + (area[y + 1, x] - area[y - 1, x]) ** 2
    return gradient


def naive_response(experts: SVRExperts, area: torch.Tensor, view: int, landmark: int) -> torch.Tensor:
    """The response map (R, R) of one landmark."""
    window, e = area.shape[-1] - experts.support + 1, number(view, landmark)
    response = torch.full((window, window), float(VISIBLE[view, landmark]), dtype=torch.float64)
    if not VISIBLE[view, landmark]:
        return response
    for k, image in enumerate((area, naive_gradient(area))):
        for y in range(window):
            for x in range(window):
                patch = torch.tensor(naive_patch(image, y, x, experts.support), dtype=torch.float64)
                z = float(experts.scalings[e, k]) * float(patch @ experts.weights[e, :, k])
                response[y, x] /= 1 + math.exp(-z - float(experts.biases[e, k]))
    return response


@pytest.mark.parametrize("numerics", [OPENFACE, EXACT], ids=lambda numerics: numerics.name)
@pytest.mark.parametrize("view", [0, 1, 2])
@pytest.mark.parametrize(("support", "window"), [(3, 5), (5, 3)])
def test_responses_landmark_by_landmark(rng, numerics, view, support, window):
    experts, width = make_svr(support), window + support - 1
    areas = 255 * torch.rand(2, N, width, width, generator=rng, dtype=torch.float64)
    expected = [torch.stack([naive_response(experts, area, view, i) for i, area in enumerate(face)]) for face in areas]
    torch.testing.assert_close(experts.respond(areas, view, numerics), torch.stack(expected))


def test_squared_gradient_of_a_ramp():
    area = (3.0 * torch.arange(5.0) + 2.0 * torch.arange(5.0)[:, None])[None]
    expected = torch.zeros(1, 5, 5)
    expected[:, 1:-1, 1:-1] = 6.0**2 + 4.0**2
    torch.testing.assert_close(squared_gradient(area), expected)


def test_gradcheck_of_squared_gradient(rng):
    area = torch.rand(2, 5, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(squared_gradient, (area,))


def test_a_template_found_again_answers_with_confidence():
    experts = make_svr(support=5)
    template = experts.weights[0, :, 0].reshape(5, 5)
    area = torch.zeros(1, N, 7, 7, dtype=torch.float64)
    area[0, 0, 1:-1, 1:-1] = 128 + 40 * template
    raw = SVRExperts(
        *(experts.scale, 5, experts.view_centers, experts.visible, experts.confidence),
        *(numbers[..., :1] for numbers in (experts.weights, experts.scalings, experts.biases)),
        ["raw"],
    )
    found = raw.respond(area, 0, OPENFACE)[0, 0]
    torch.testing.assert_close(found[1, 1], torch.sigmoid(experts.scalings[0, 0] + experts.biases[0, 0]))
    assert found.argmax() == 4


def test_unknown_modalities_are_refused():
    made = make_svr()
    common = (made.scale, made.support, made.view_centers, made.visible, made.confidence, made.weights)
    for modalities in (["raw", "depth"], ["raw"]):
        with pytest.raises(ValueError, match="2 templates for modalities"):
            SVRExperts(*common, made.scalings, made.biases, modalities)
