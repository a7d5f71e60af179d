"""`clnf_torch.compilation.kept`: what is made of numbers is made anew when they change, however they do."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from clnf_torch.compilation.kept import Kept, Numbers
from tests.models.patch_experts.template_factories import make_ccnf


def load_in_inference_mode(module):
    other = {name: 2 * values for name, values in module.state_dict().items()}
    with torch.inference_mode():
        module.load_state_dict(other)


def scale_data(module):
    for values in module.parameters():
        values.data.mul_(0.5)


def copy_into_data(module):
    for values, other in zip(module.parameters(), copy.deepcopy(module).parameters(), strict=True):
        values.data.copy_(other * 3)


CHANGES = [load_in_inference_mode, scale_data, copy_into_data]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("in_inference_mode", [False, True])
def test_changes_are_seen(change, in_inference_mode):
    with torch.inference_mode(in_inference_mode):
        layer = nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)
    kept = Kept(lambda module: [values.detach().clone() for values in module.parameters()], nn.Module.parameters)
    first = kept(layer)
    assert kept(layer) is first
    change(layer)
    found = kept(layer)
    assert found is not first and kept(layer) is found
    assert all(torch.equal(own, values) for own, values in zip(found, layer.parameters(), strict=True))


@pytest.mark.parametrize("change", CHANGES)
def test_smoothing_is_that_of_the_changed_weights(change):
    experts = make_ccnf().requires_grad_(False)
    window = min(experts._windows)
    experts.sigma(None, window)
    change(experts)
    assert torch.equal(experts.sigma(None, window), experts._compute_sigma(None, window))


@pytest.mark.parametrize(
    "values",
    [
        torch.ones(40, dtype=torch.bfloat16),
        torch.arange(6)[None],
        torch.ones(9, 8)[::2, ::3],
        torch.ones(4, 4, requires_grad=True),
        torch.tensor(3.0),
        torch.tensor([torch.nan, 1.0]),
    ],
    ids=["bfloat16", "integers", "slice", "learned", "number", "NaN"],
)
def test_all_kinds_of_tensors_are_looked_at(values):
    numbers = Numbers([values, torch.empty(0), torch.ones(2, device="meta")])
    assert not numbers.are([values]) and Numbers([values]).are([values])
    known = Numbers([values])
    values.data.add_(1).mul_(2)
    assert not known.are([values])
