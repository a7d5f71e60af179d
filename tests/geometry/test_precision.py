"""`clnf_torch.geometry.precision`: geometry in its own number types, whatever surrounds a call."""

from __future__ import annotations

import pytest
import torch

import clnf_torch
from clnf_torch.geometry.camera import Intrinsics
from clnf_torch.geometry.precision import without_autocast
from clnf_torch.measures.gaze import eyeball_centers, gaze_angles
from clnf_torch.measures.head_pose import head_pose, pose_to_line_of_sight
from clnf_torch.measures.landmarks_3d import FittedShape, landmarks_3d
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.quality import check_landmark_quality
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


def test_autocast_changes_no_bit_of_a_measure_or_a_check():
    detector = clnf_torch.load()
    pdm, rng = detector.model.pdm, torch.Generator().manual_seed(1)
    turned = 0.3 * torch.randn(2, 3, generator=rng)
    params = clnf_torch.ShapeParams(torch.ones(2), turned, torch.full((2, 2), 100.0), torch.zeros(2, pdm.num_modes))
    landmarks = pdm.landmarks(params)
    shape, camera = FittedShape(pdm=pdm, params=params, landmarks=landmarks), Intrinsics.for_image(200, 200)
    points = torch.randn(2, 68, 3, generator=rng)

    def computed():
        pose = head_pose(shape, camera)
        yield from (pose.values, pose_to_line_of_sight(pose).values, landmarks_3d(shape, camera))
        yield from (eyeball_centers(points, turned), gaze_angles(points[:, :2]))
        quality = check_landmark_quality(landmarks, detector=detector)
        yield from (value for value in vars(quality).values() if isinstance(value, torch.Tensor))

    expected = list(computed())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = list(computed())
    assert len(found) > 6
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype and torch.equal(one.nan_to_num(), other.nan_to_num())


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
