"""BlazeFace's map from keypoints to the extent of 68 landmarks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clnf_torch.detection import load_face_detector
from clnf_torch.detection.blazeface import keypoint_features, landmark_corners
from clnf_torch.media.images import read_image
from clnf_torch.training.calibration.face_boxes import calibrated, fit_map
from tests.factories import seeded


def some_faces(count: int = 60) -> torch.Tensor:
    """Faces (K, 8, 2): keypoints around a box."""
    rng = seeded(3)
    middle = 100 + 20 * torch.randn(count, 1, 2, generator=rng, dtype=torch.float64)
    size = 60 + 30 * torch.rand(count, 1, 2, generator=rng, dtype=torch.float64)
    keypoints = middle + 0.3 * size * torch.randn(count, 6, 2, generator=rng, dtype=torch.float64)
    return torch.cat((middle, size, keypoints), 1)


def test_a_map_is_found_again_whatever_some_faces_say():
    faces = some_faces()
    wanted = 0.1 * torch.randn(4, keypoint_features(faces).shape[1], generator=seeded(1), dtype=torch.float64)
    corners = landmark_corners(faces, wanted).flatten(1)
    corners[::20] += 40
    # 0.002: the ridge
    torch.testing.assert_close(fit_map(faces, corners), wanted, rtol=0, atol=0.01)


def test_faces_of_which_most_are_met_exactly_do_not_lose_their_weight():
    face = some_faces(1).round()
    corners = torch.tensor([[80.0, 80.0, 120.0, 120.0]], dtype=torch.float64)
    wanted = fit_map(face.expand(5, -1, -1), corners.expand(5, -1))
    torch.testing.assert_close(landmark_corners(face, wanted).flatten(1), corners, rtol=0, atol=0.01)


def test_boxes_become_those_of_the_faces():
    image = read_image(Path(__file__).parents[3] / "docs" / "images" / "astronaut.jpg")
    detector = load_face_detector("blazeface")
    before = detector.detect(image[None]).boxes[0]
    wanted = before + torch.tensor([10.0, -5, -8, 12])
    after = calibrated(detector, [(image, wanted)] * 3)
    torch.testing.assert_close(after.detect(image[None]).boxes[0], wanted, rtol=0, atol=0.5)
    assert torch.equal(detector.detect(image[None]).boxes[0], before)


def test_no_face_is_an_error():
    with pytest.raises(ValueError, match="finds none of the faces"):
        calibrated(load_face_detector("blazeface"), [(torch.zeros(3, 64, 64, dtype=torch.uint8), torch.ones(4))])
