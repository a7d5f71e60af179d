"""`clnf_torch.geometry.precision`: geometry in its own number types, whatever surrounds a call."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.geometry.precision import without_autocast
from clnf_torch.pipeline import LandmarkDetector
from tests.factories import CONFIG, make_boxes, make_images, make_model


def test_products_keep_their_type_inside_autocast():
    a = torch.eye(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (a @ a).dtype == torch.bfloat16
        assert without_autocast(torch.matmul)(a, a).dtype == torch.float32
        assert (a @ a).dtype == torch.bfloat16


@pytest.mark.parametrize("numerics", ["openface", "exact"])
def test_autocast_changes_no_bit_of_a_fit(numerics):
    detector = LandmarkDetector(make_model(dtype=torch.float32), numerics)
    expected = detector.fit(make_images(1), make_boxes(3), preset=CONFIG)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = detector.fit(make_images(1), make_boxes(3), preset=CONFIG)
        again = detector.fit_from_params(make_images(1), found.params, preset=CONFIG)
    assert torch.equal(found.landmarks, expected.landmarks) and found.landmarks.dtype == torch.float32
    assert torch.equal(
        again.landmarks, detector.fit_from_params(make_images(1), expected.params, preset=CONFIG).landmarks
    )


@pytest.mark.parametrize("cast", ["half", "bfloat16"])
def test_short_numbers_are_refused_and_change_nothing(cast):
    detector = LandmarkDetector(make_model(), "exact")
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    with pytest.raises(ValueError, match=r"leave the detector in float32"):
        getattr(detector, cast)()
    assert all(value.dtype == before[name].dtype for name, value in detector.state_dict().items())
    assert detector.fit(make_images(1), make_boxes(1), preset=CONFIG).success.all()


def test_double_is_float64_throughout():
    found = LandmarkDetector(make_model(), "exact").double().fit(make_images(1), make_boxes(2), preset=CONFIG)
    assert found.landmarks.dtype == torch.float64 and found.success.all()
