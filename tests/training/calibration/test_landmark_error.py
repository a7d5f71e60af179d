"""`clnf_torch.training.calibration.landmark_error`: the regression of errors on spreads."""

from __future__ import annotations

from pathlib import Path

import torch

import clnf_torch
from clnf_torch.geometry.gray import to_gray
from clnf_torch.media.images import read_image
from clnf_torch.training.calibration.landmark_error import learn_error_model, with_error_model
from clnf_torch.training.data.crops import FaceCrops
from tests.factories import seeded
from tests.training.untrained import untrained_model


def make_trials(slope: float, faces: int = 4000) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Spreads, errors that follow a power of them up to noise, and what they are expected to be."""
    rng = seeded(1)
    spreads = 1 + 4 * torch.rand(faces, 3, generator=rng)
    expected = torch.tensor([0.5, 1.0, 2.0]) * spreads**slope
    return spreads, expected * torch.randn(faces, 3, generator=rng).abs() / 0.798, expected


def test_a_power_law_is_found():
    for slope in (0.5, 2.0):
        spreads, errors, expected = make_trials(slope)
        found = learn_error_model(spreads, errors)(spreads)
        torch.testing.assert_close(found, expected, rtol=0.25, atol=0)
        torch.testing.assert_close(found.mean(0), errors.mean(0), rtol=1e-3, atol=0)


def test_what_is_not_known_changes_nothing():
    spreads, errors, _ = make_trials(1.0)
    holes = torch.rand(spreads.shape, generator=seeded(2)) < 0.3
    found = learn_error_model(torch.where(holes, torch.nan, spreads), torch.where(holes, 99.0, errors))
    torch.testing.assert_close(found(spreads), learn_error_model(spreads, errors)(spreads), rtol=0.1, atol=0)


def test_a_model_tells_errors_of_the_size_that_it_makes():
    image = read_image(Path(__file__).parents[3] / "docs" / "images" / "astronaut.jpg")
    detector = clnf_torch.load()
    (box,) = clnf_torch.load_face_detector().detect(image[None]).boxes
    where = detector.fit(image[None], box[None]).landmarks
    gray = to_gray(image[None]).to(torch.uint8).expand(12, -1, -1)
    faces = FaceCrops(gray=gray, landmarks=where + 4 * torch.randn(12, 68, 2, generator=seeded(5)))
    assert with_error_model(detector.model, faces, 0) is detector.model
    told = detector.fit(image[None], box[None]).landmark_errors
    # The mean length of such deviations is 5.0
    assert 4.4 < told.mean() < 5.6


def test_a_model_that_fits_nothing_stays_without():
    model, black = untrained_model(), torch.zeros(2, 40, 40, dtype=torch.uint8)
    # Fits of faces that small fail
    nowhere = FaceCrops(gray=black, landmarks=20 + 3 * torch.rand(2, 68, 2))
    assert with_error_model(model, nowhere, 0).error_model is None


def test_spreads_that_hardly_differ_tell_nothing():
    spreads = 3 + 1e-6 * torch.randn(500, 3, generator=seeded(4))
    errors = 2 * torch.rand(500, 3, generator=seeded(5))
    found = learn_error_model(spreads, errors)
    assert found.slope.abs() < 0.1
    torch.testing.assert_close(found(spreads).mean(0), errors.mean(0), rtol=1e-3, atol=0)
