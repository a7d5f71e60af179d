"""What learns: the experts alone, in copies of their own; and the best state is the one that stays."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.training.trainer import BestState, cosine_schedule, learnable_experts
from tests.factories import make_model


def test_experts_learn_and_the_shape_does_not():
    model = make_model(torch.float32)
    parameters = learnable_experts(model)
    assert parameters and all(parameter.requires_grad for parameter in parameters)
    assert not any(parameter.requires_grad for parameter in model.pdm.parameters())


def test_halves_learn_in_full_precision_and_files_stay_as_they_are():
    model = make_model(torch.float32)
    (weight, *_) = model.experts.parameters()
    weight.data = stored = weight.detach().half()
    before = stored.clone()
    learnable_experts(model)
    with torch.no_grad():
        weight.add_(1)
    assert weight.dtype == torch.float32 and torch.equal(stored, before)


def test_the_best_state_comes_back():
    parameter = torch.nn.Parameter(torch.zeros(3))
    best = BestState([parameter], error=5.0)
    for value, error in ((1.0, 6.0), (2.0, 3.0), (4.0, float("nan")), (8.0, 4.0)):
        parameter.data.fill_(value)
        best.offer(error)
    best.restore()
    assert parameter.tolist() == [2.0] * 3 and best.error == 3.0 and not parameter.requires_grad


def test_steps_that_only_do_harm_are_taken_back():
    parameter = torch.nn.Parameter(torch.zeros(3))
    best = BestState([parameter], error=1.0)
    parameter.data.fill_(7.0)
    best.offer(2.0)
    best.restore()
    assert parameter.tolist() == [0.0] * 3 and best.error == 1.0


def test_the_best_state_is_remembered_elsewhere():
    first, later = (torch.nn.Parameter(torch.full((3,), value)) for value in (2.0, 9.0))
    best = BestState([later], error=7.0)
    best.load(BestState([first], error=3.0).state())
    assert later.tolist() == [9.0] * 3 and best.error == 3.0
    best.restore()
    assert later.tolist() == [2.0] * 3


def test_the_learning_rate_rises_and_falls():
    rates = [cosine_schedule(step, 100, 3e-3, 10) for step in range(100)]
    assert rates.index(max(rates)) == 9 and 0.97 * 3e-3 < max(rates) < 3e-3
    assert rates[0] == pytest.approx(3e-4) and rates[50] == pytest.approx(1.5e-3) and rates[-1] < 1e-6
