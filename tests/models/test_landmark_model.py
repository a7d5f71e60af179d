"""`clnf_torch.models.landmark_model`: what belongs together, and moves together."""

from __future__ import annotations

import pytest
import torch
from torch import nn

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


class Numbers(nn.Module):
    """What a model's numbers are, for `functional_call`."""

    def __init__(self, model: LandmarkModel) -> None:
        super().__init__()
        self.model = model

    def forward(self) -> dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in self.model.state_dict().items()}


def test_shared_experts_keep_their_numbers_in_functional_calls():
    experts = make_experts()
    model = LandmarkModel(make_pdm(), [experts, experts])
    own = dict(model.named_parameters())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    given = {f"model.{name}": 2 * value for name, value in own.items()}
    found = torch.func.functional_call(Numbers(model), given, ())
    assert all(torch.equal(found[name], 2 * before[name]) for name in own)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(model.get_parameter(name) is value for name, value in own.items())


def test_functional_calls_with_all_of_a_state_leave_the_model_as_it_was():
    """Shared experts had several names in it, and kept what was given by the second."""
    experts = make_experts()
    model = LandmarkModel(make_pdm(), [experts, experts])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    given = {f"model.{name}": 2 * value for name, value in before.items()}
    found = torch.func.functional_call(Numbers(model), given, ())
    assert all(torch.equal(found[name], 2 * value) for name, value in before.items())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("names", ["own", "older"])
def test_states_of_shared_experts_are_loaded(names):
    """Older ones have all names of shared experts."""
    experts, others = make_experts(), make_experts(seed=9)
    model, other = nn.Sequential(LandmarkModel(make_pdm(), [experts, experts])), LandmarkModel(make_pdm(), [others] * 2)
    given = {f"0.{name}": value.clone() for name, value in other.state_dict().items()}
    if names == "older":
        given |= {name.replace("experts.0", "experts.1"): value for name, value in given.items()}
    model.load_state_dict(given)
    for name, value in model.state_dict().items():
        assert torch.equal(value, given[name]), name


def test_experts_for_other_landmarks_are_refused():
    with pytest.raises(ValueError, match=r"the PDM has 4 landmarks, the patch experts of the scales are for \[5\]"):
        LandmarkModel(PDM(torch.zeros(4, 3), torch.zeros(2, 4, 3), torch.ones(2)), [make_experts()])


def test_no_experts_are_refused():
    with pytest.raises(ValueError, match="has 5 landmarks"):
        LandmarkModel(make_pdm(), [])
