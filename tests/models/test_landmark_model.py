"""`clnf_torch.models.landmark_model`: what belongs together, and moves together."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.pdm import PDM
from tests.factories import make_experts, make_model, make_pdm, make_rules


def test_early_termination_is_optional_and_moves_along():
    assert make_model().early_termination is None
    model = make_model(rules=make_rules()).to(torch.float32)
    rules = model.early_termination
    assert rules is not None
    for found, given in zip(rules, make_rules(), strict=True):
        torch.testing.assert_close(found, given.float())
    assert model.num_scales == 2


def test_nothing_asks_for_a_gradient():
    assert not any(parameter.requires_grad for parameter in make_model().parameters())


def test_state_dict_round_trip():
    model, other = make_model(rules=make_rules()), make_model(rules=make_rules(), seed=30)
    other.load_state_dict(model.state_dict())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value)


def test_experts_for_other_landmarks_are_refused():
    with pytest.raises(ValueError, match=r"the PDM has 4 landmarks, the patch experts of the scales are for \[5\]"):
        LandmarkModel(PDM(torch.zeros(4, 3), torch.zeros(2, 4, 3), torch.ones(2)), [make_experts()])


def test_no_experts_are_refused():
    with pytest.raises(ValueError, match="has 5 landmarks"):
        LandmarkModel(make_pdm(), [])
