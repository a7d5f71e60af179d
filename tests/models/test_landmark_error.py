"""`clnf_torch.models.landmark_error`: expected errors from the spread of responses."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.fitting.responses import ResponseField
from clnf_torch.models.landmark_error import LEAST_SPREAD, LandmarkErrorModel
from clnf_torch.models.schema import Context, SchemaError

N = 3


def make_model() -> LandmarkErrorModel:
    return LandmarkErrorModel(torch.tensor([0.0, 0.5, -1.0]).double(), torch.tensor(2.0).double())


def test_errors_grow_with_the_spread_as_a_power_of_it():
    spreads = torch.tensor([[1.0, 2.0, 4.0]]).double() - LEAST_SPREAD
    expected = torch.tensor([[1.0, 4.0, 16.0]]).double() * torch.tensor([0.0, 0.5, -1.0]).double().exp()
    torch.testing.assert_close(make_model()(spreads), expected)


def test_what_has_no_spread_has_no_error():
    assert make_model()(torch.tensor([1.0, torch.nan, 2.0]).double()).isnan().tolist() == [False, True, False]


def test_the_neutral_one_gives_the_spreads():
    spreads = torch.rand(4, N)
    found = LandmarkErrorModel.of_spreads(N, spreads)(spreads)
    torch.testing.assert_close(found, spreads + LEAST_SPREAD)


def test_spreads_are_root_mean_squares_in_pixels():
    responses = torch.zeros(1, 3, 5, 5, dtype=torch.float64)
    responses[0, 0, 2, 0] = responses[0, 0, 2, 4] = 0.7
    responses[0, 1, 3, 1] = 5.0
    to_image = torch.tensor([[[0.0, -3.0], [3.0, 0.0]]], dtype=torch.float64)
    field = ResponseField(
        responses=responses.requires_grad_(), base=torch.zeros(1, 3, 2).double(), to_reference=to_image.inverse(),
        to_image=to_image, weight=torch.ones(1, 3),
    )  # fmt: skip
    found = field.spreads()
    torch.testing.assert_close(found[0, 0], torch.tensor(6.0).double())
    assert found[0, 1] < 0.01 and bool(found[0, 2].isnan())
    found[0, :2].sum().backward()
    assert bool(responses.grad.isfinite().all())


def test_records_come_back():
    model = make_model()
    record = model.to_record()
    LandmarkErrorModel.check_record(record, "here", Context({"N": N}))
    again = LandmarkErrorModel.from_record(record, torch.float64)
    assert torch.equal(again.log_error, model.log_error) and torch.equal(again.slope, model.slope)


@pytest.mark.parametrize(("name", "value"), [("slope", torch.ones(2)), ("log_error", torch.full((N,), 99.0))])
def test_damaged_records_are_refused(name, value):
    with pytest.raises(SchemaError, match=rf"here\.{name}"):
        LandmarkErrorModel.check_record(make_model().to_record() | {name: value.double()}, "here", Context({"N": N}))
