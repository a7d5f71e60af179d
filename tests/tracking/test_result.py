"""Results of faces that were not fitted: as many rows and fields as those of a fit."""

from __future__ import annotations

import torch

from clnf_torch.geometry.records import join_rows
from clnf_torch.models.landmark_model import LandmarkModel, Part
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.tracking.result import empty_result
from clnf_torch.tracking.state import Tracks
from tests.factories import CONFIG, make_boxes, make_experts, make_images, make_model, make_pdm


def test_they_can_stand_beside_fitted_faces():
    shared = torch.tensor([0, 1, 2])
    part = Part("part", make_model(), shared, shared)
    experts = [make_experts(0.25, 3), make_experts(0.5, 5)]
    model = LandmarkModel(make_pdm(), experts, parts=[part])
    fits = LandmarkDetector(model, "exact").fit(make_images(), make_boxes(2), preset=CONFIG)
    numbers = torch.arange(3)
    joined = join_rows(fits, empty_result(model, Tracks.uninitialised(model.pdm, numbers, numbers)))
    assert joined.landmarks.shape[0] == joined.parts["part"].landmarks.shape[0] == 5
    assert joined.success.tolist()[2:] == [False] * 3 and not joined.landmarks[2:].any()
    assert (joined.likelihood[2:] == -10).all()  # OpenFace ``CLNF::Reset``
