"""`clnf_torch.models.patch_experts.template_experts`: what CCNF and SVR experts share."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.models.numerics import EXACT, OPENFACE
from clnf_torch.models.patch_experts import template_experts
from tests.factories import N
from tests.models.patch_experts.template_factories import VISIBLE, make_ccnf, make_svr

BOTH = pytest.mark.parametrize("make", [make_ccnf, make_svr], ids=["ccnf", "svr"])


@BOTH
@pytest.mark.parametrize("window", [1, 3, 5])
@pytest.mark.parametrize("faces", [0, 1, 5])
def test_batch_shape_device_and_dtype(rng, make, window, faces, device, dtype):
    experts = make(dtype=dtype).to(device)
    areas = 255 * torch.rand(faces, N, window + 2, window + 2, generator=rng, dtype=torch.float64).to(device, dtype)
    together = experts.respond(areas, 2, OPENFACE)
    assert together.shape == (faces, N, window, window)
    assert together.dtype == dtype and together.device.type == device.type
    for i in range(faces):
        torch.testing.assert_close(experts.respond(areas[i : i + 1], 2, OPENFACE)[0], together[i])


@BOTH
@pytest.mark.parametrize("view", [0, 1, 2])
def test_invisible_landmarks_answer_zero_and_nothing_goes_in(rng, make, view):
    areas = (255 * torch.rand(2, N, 7, 7, generator=rng, dtype=torch.float64)).requires_grad_()
    responses = make().respond(areas, view, EXACT)
    assert (responses[:, ~VISIBLE[view]] == 0).all() and (responses >= 0).all()
    assert (responses[:, VISIBLE[view]].amax((-1, -2)) > 0).all()
    (responses * torch.rand(responses.shape, generator=rng, dtype=torch.float64)).sum().backward()
    moved = areas.grad.abs().amax((0, 2, 3))
    assert (moved[~VISIBLE[view]] == 0).all() and (moved[VISIBLE[view]] > 0).all()


@BOTH
def test_a_view_without_landmarks_answers_zero(make):
    experts = make()
    experts._experts[1], experts._landmarks_1 = slice(0, 0), torch.zeros(0, dtype=torch.int64)
    responses = experts.respond(torch.rand(2, N, 7, 7, dtype=torch.float64), 1, OPENFACE)
    assert responses.shape == (2, N, 5, 5) and not responses.any()


@BOTH
def test_blocks_of_any_size_give_the_same(rng, make, monkeypatch):
    experts = make()
    areas = 255 * torch.rand(7, N, 7, 7, generator=rng, dtype=torch.float64)
    expected = experts.respond(areas, 0, OPENFACE)
    for some_experts, rows in [(1, 1), (1, 60), (3, 10_000)]:
        monkeypatch.setattr(template_experts, "CPU_EXPERTS", some_experts)
        monkeypatch.setattr(template_experts, "CPU_ROWS", rows)
        torch.testing.assert_close(experts.respond(areas, 0, OPENFACE), expected)


@BOTH
def test_half_weights_answer_like_their_widened_twins(rng, make):
    areas = 255 * torch.rand(2, N, 7, 7, generator=rng)
    half, twin = (make(dtype=torch.float32, weight_type=torch.float16) for _ in range(2))
    twin.float()
    found = half.respond(areas, 0, OPENFACE)
    assert half.weights.dtype == torch.float16 and found.dtype == torch.float32
    torch.testing.assert_close(found, twin.respond(areas, 0, OPENFACE))


@BOTH
def test_flat_areas_are_no_trouble(make):
    experts = make()
    areas = torch.full((1, N, 7, 7), 200.0, dtype=torch.float64, requires_grad=True)
    responses = experts.respond(areas, 0, EXACT)
    assert responses.isfinite().all()
    responses.sum().backward()
    assert areas.grad.isfinite().all()


@BOTH
@pytest.mark.parametrize("window", [3, 5])
def test_gradients_of_areas_and_all_numbers(rng, make, window):
    experts = make().requires_grad_()
    areas = (9 * torch.rand(1, N, window + 2, window + 2, generator=rng, dtype=torch.float64)).requires_grad_()
    learned = dict(experts.named_parameters())

    def run(areas, *values):
        own = dict(zip(learned, values, strict=True))
        return torch.func.functional_call(experts, own, (areas, torch.tensor([1]), EXACT))

    assert torch.autograd.gradcheck(run, (areas, *learned.values()), fast_mode=True)


@BOTH
def test_numbers_for_another_count_of_experts_are_refused(make):
    experts = make()
    record = [experts.scale, 4, experts.view_centers, experts.visible, experts.confidence]
    rest = (experts.biases, experts.alphas, experts.betas, {}) if make is make_ccnf else ()
    rest = rest or (experts.scalings, experts.biases, ["raw", "gradient"])
    with pytest.raises(ValueError, match=r"templates of 16 pixels; there are \[13\] with 9"):
        type(experts)(*record, experts.weights, *rest)
    record[1], record[3] = 3, torch.ones_like(VISIBLE)
    with pytest.raises(ValueError, match="15 visible landmarks need as many experts"):
        type(experts)(*record, experts.weights, *rest)


@BOTH
@pytest.mark.parametrize("support", [3, 11])
def test_a_face_answers_to_the_last_bit_alike_wherever_it_stands(rng, make, support):
    """A bit more or less tips a kernel of the mean shift over, and moves landmarks by hundredths of a pixel."""
    experts = make(support, torch.float32)
    areas = 255 * torch.rand(11, N, support + 4, support + 4, generator=rng)
    together = experts.respond(areas, 0, OPENFACE)
    for i in range(len(areas)):
        assert torch.equal(experts.respond(areas[i : i + 1], 0, OPENFACE)[0], together[i])
