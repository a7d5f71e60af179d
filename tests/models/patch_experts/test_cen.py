"""`clnf_torch.models.patch_experts.cen`: against a loop over faces, landmarks and cells."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.models.numerics import EXACT, OPENFACE
from clnf_torch.models.patch_experts import cen
from clnf_torch.models.patch_experts.cen import CENExperts
from clnf_torch.models.patch_experts.patches import lay_out
from tests.factories import EXPERT, FLIPPED, N, make_experts, make_stack
from tests.models.patch_experts.test_mlp_stack import naive_network
from tests.models.patch_experts.test_patches import looked_at, naive_fill, naive_patch


def naive_response(
    experts: CENExperts, area: torch.Tensor, view: int, landmark: int, checkerboard: bool
) -> torch.Tensor:
    """The response map (R, R) of one landmark, cell by cell; borrowed experts see a mirrored area."""
    window, number = area.shape[-1] - experts.support + 1, EXPERT[view][landmark]
    if number < 0:
        return torch.zeros(window, window, dtype=torch.float64)
    stack, expert = (experts.stacks[0], number) if number < 4 else (experts.stacks[1], number - 4)
    flipped = bool(FLIPPED[view][landmark])
    area = area.flip(-1) if flipped else area
    answers = {
        (y, x): naive_network(stack, expert, naive_patch(area, y, x, experts.support))
        for y, x in looked_at(window, checkerboard)
    }
    response = torch.tensor(naive_fill(answers, window), dtype=torch.float64)
    return response.flip(-1) if flipped else response


@pytest.mark.parametrize("numerics", [OPENFACE, EXACT], ids=lambda numerics: numerics.name)
@pytest.mark.parametrize("view", [0, 1, 2])
@pytest.mark.parametrize(("support", "window"), [(3, 5), (5, 3)])
def test_responses_landmark_by_landmark(rng, numerics, view, support, window):
    experts, width = make_experts(support=support), window + support - 1
    areas = 255 * torch.rand(2, N, width, width, generator=rng, dtype=torch.float64)
    expected = [
        torch.stack([naive_response(experts, area, view, i, numerics.checkerboard) for i, area in enumerate(face)])
        for face in areas
    ]
    torch.testing.assert_close(experts.respond(areas, view, numerics), torch.stack(expected))


@pytest.mark.parametrize("numerics", [OPENFACE, EXACT], ids=lambda numerics: numerics.name)
@pytest.mark.parametrize("window", [1, 3, 11])
@pytest.mark.parametrize("faces", [0, 1, 5])
def test_batch_shape_device_and_dtype(rng, numerics, window, faces, device, dtype):
    experts = make_experts(dtype=dtype).to(device)
    areas = 255 * torch.rand(faces, N, window + 2, window + 2, generator=rng, dtype=torch.float64).to(device, dtype)
    together = experts.respond(areas, 2, numerics)
    assert together.shape == (faces, N, window, window)
    assert together.dtype == dtype and together.device.type == device.type
    for i in range(faces):
        torch.testing.assert_close(experts.respond(areas[i : i + 1], 2, numerics)[0], together[i])


def test_blocks_of_any_size_give_the_same(rng, monkeypatch):
    experts = make_experts()
    areas = 255 * torch.rand(7, N, 7, 7, generator=rng, dtype=torch.float64)
    expected = experts.respond(areas, 0, OPENFACE)
    for some_experts, some_rows in [(1, 1), (1, 30), (3, 10_000)]:
        monkeypatch.setattr(cen, "CPU_EXPERTS", some_experts)
        monkeypatch.setattr(cen, "CPU_ROWS", some_rows)
        torch.testing.assert_close(experts.respond(areas, 0, OPENFACE), expected)


def test_a_face_seen_in_a_mirror_answers_mirrored(rng):
    experts = make_experts()
    areas = 255 * torch.rand(3, N, 7, 7, generator=rng, dtype=torch.float64)
    mirrored = areas[:, [1, 0, 2, 4, 3]].flip(-1)
    responses = experts.respond(areas, 1, OPENFACE)
    torch.testing.assert_close(experts.respond(mirrored, 2, OPENFACE)[:, [1, 0, 2, 4, 3]].flip(-1), responses)


def test_invisible_landmarks_answer_zero_and_nothing_goes_in(rng):
    areas = (255 * torch.rand(1, N, 7, 7, generator=rng, dtype=torch.float64)).requires_grad_()
    responses = make_experts().respond(areas, 1, EXACT)
    assert (responses[:, 1] == 0).all() and (responses[:, 0] > 0).all()
    responses.sum().backward()
    assert (areas.grad[:, 1] == 0).all() and areas.grad[:, 0].abs().sum() > 0


def test_half_weights_answer_like_their_widened_twins(rng):
    areas = 255 * torch.rand(2, N, 7, 7, generator=rng)
    half = make_experts(dtype=torch.float16)
    twin = make_experts(dtype=torch.float16).float()
    found = half.respond(areas, 0, OPENFACE)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, twin.respond(areas, 0, OPENFACE))


@pytest.mark.parametrize("view", [0, 1, 2])
def test_gradients_of_areas_weights_and_biases(rng, view):
    experts = make_experts().requires_grad_()
    areas = (9 * torch.rand(1, N, 5, 5, generator=rng, dtype=torch.float64)).requires_grad_()
    learned = dict(experts.named_parameters())

    def run(areas, *values):
        own = dict(zip(learned, values, strict=True))
        return torch.func.functional_call(experts, own, (areas, torch.tensor([view]), EXACT))

    assert torch.autograd.gradcheck(run, (areas, *learned.values()), fast_mode=True)


def test_experts_of_one_view_in_any_order_of_landmarks(rng):
    """Runs of neighbouring experts are a matter of speed: any table gives every landmark its own expert's answer."""
    stack = make_stack(6, (9, 4, 1), ["relu", "sigmoid"], 0, torch.float64)
    table = torch.tensor([[4, 0, 4, 1, 2]])
    seen = torch.ones(1, N, dtype=torch.bool)
    experts = CENExperts(0.25, 3, torch.zeros(1, 3), seen, torch.ones(1, N), table, ~seen, [stack])
    areas = 255 * torch.rand(2, N, 5, 5, generator=rng, dtype=torch.float64)
    responses = experts.respond(areas, 0, EXACT)
    for landmark, number in enumerate(table[0].tolist()):
        cells = [naive_patch(areas[1, landmark], y, x, 3) for y, x in looked_at(3, False)]
        answers = torch.tensor([naive_network(stack, number, cell) for cell in cells], dtype=torch.float64)
        torch.testing.assert_close(responses[1, landmark], lay_out(answers, False))
