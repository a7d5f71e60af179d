"""Faces as they are drawn: far sides, head axes and gaze."""

import math

import pytest
import torch

from clnf_torch.drawing import DrawnFaces
from clnf_torch.drawing.faces import GAZE_LENGTH, OUTWARD, gaze_arrows, head_axes, hidden_landmarks, weak_gaze
from clnf_torch.geometry.landmarks68 import EYE_CORNERS, MIRROR
from clnf_torch.measures.gaze import EYEBALL_RADIUS, gaze_directions
from tests.factories import seeded


def turned(*degrees):
    """Rotations about y, (B, 3)."""
    return torch.tensor([[0.0, math.radians(yaw), 0.0] for yaw in degrees], dtype=torch.float64)


def numbers(faces=2, **changes):
    """What `DrawnFaces.of_numbers` takes, of faces of 68 landmarks."""
    landmarks = 100 + 20 * torch.randn(faces, 68, 2, generator=seeded(1), dtype=torch.float64)
    pose = torch.cat([torch.full((faces, 1), 2.0), torch.zeros(faces, 3), torch.full((faces, 2), 100.0)], 1)
    known = {"landmarks": landmarks, "pose": pose, "confidence": torch.ones(faces), "found": torch.ones(faces).bool()}
    return {**known, **changes}


def test_outward_angles_are_mirrored():
    assert all(abs(OUTWARD[point] + OUTWARD[partner]) <= 1 for point, partner in enumerate(MIRROR))


def test_all_is_seen_from_the_front_and_the_side_that_turns_away_is_not():
    front, some, more, other = hidden_landmarks(turned(0, 25, 75, -75))
    assert not front.any()
    assert 0 < some.sum() < more.sum() < 34
    assert torch.equal(more[list(MIRROR)], other)
    # The far ear lies farther from the camera, whose axis is z
    ear, far = torch.tensor([71.0, -40.0, 62.0]), bool(more[16])
    depth = -math.sin(math.radians(75)) * ear[0]
    assert far == bool(depth > 0) and more[0] != far


def test_axes_point_right_up_and_forward():
    pose = torch.tensor([[2.0, 0, 0, 0, 10, 20], [2.0, 0, math.pi / 2, 0, 10, 20]], dtype=torch.float64)
    front, side = head_axes(pose)
    torch.testing.assert_close(front, torch.tensor([[10.0, 20], [100, 20], [10, -70], [10, 20]], dtype=torch.float64))
    # Forward is across the image, right along the camera's axis
    torch.testing.assert_close(side[[1, 2]], torch.tensor([[10.0, 20], [10, -70]], dtype=torch.float64))
    assert abs(side[3, 0] - 10) == pytest.approx(140)


def test_gaze_is_that_of_the_measures_far_from_the_camera():
    generator, scale, distance = seeded(3), 2.0, 1e6
    rotation = 0.3 * torch.randn(3, 3, generator=generator, dtype=torch.float64)
    points = 30 * torch.randn(3, 68, 3, generator=generator, dtype=torch.float64)
    middle = torch.stack([(points[:, a] + points[:, b]) / 2 for a, b in EYE_CORNERS], 1)
    eyes = middle[:, :, None] + 3 * torch.randn(3, 2, 28, 3, generator=generator, dtype=torch.float64)
    away = torch.tensor([0, 0, distance])
    expected = gaze_directions(points + away, eyes + away, rotation, "exact")[..., :2]
    pose = torch.cat([torch.full((3, 1), scale), rotation, torch.zeros(3, 2)], 1)
    flat = scale * eyes[..., :2].flatten(1, 2)
    arrows = gaze_arrows(flat, weak_gaze(scale * points[..., :2], flat, pose), pose)
    torch.testing.assert_close(arrows[:, :, 0], scale * eyes[:, :, :8, :2].mean(2))
    found = (arrows[:, :, 1] - arrows[:, :, 0]) / (GAZE_LENGTH * EYEBALL_RADIUS * scale)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    eyeballs = torch.tensor([[1.0, -2.0, 9.0, 10.0], [-1.0, -2.0, 9.0, 10.0]], dtype=torch.float64).expand(3, 2, 4)
    own = weak_gaze(scale * points[..., :2], flat, pose, eyeballs)
    expected = gaze_directions(points + away, eyes + away, rotation, "exact", eyeballs)[..., :2]
    torch.testing.assert_close(own, expected, atol=1e-4, rtol=0)


def test_a_gaze_that_was_measured_is_drawn():
    eyes, gaze = torch.rand(2, 56, 2), torch.tensor([[[0.6, 0.0, -0.8], [0.0, 0.6, -0.8]]] * 2)
    arrows = DrawnFaces.of_numbers(**numbers(eyes=eyes, gaze=gaze)).gaze
    assert arrows is not None
    along = torch.nn.functional.normalize(arrows[:, :, 1] - arrows[:, :, 0], dim=-1)
    torch.testing.assert_close(along, torch.tensor([[[1.0, 0.0], [0.0, 1.0]]] * 2, dtype=torch.float64))


def test_parts_that_are_not_known_are_left_out():
    faces = DrawnFaces.of_numbers(**numbers(pose=None))
    assert faces.axes is None and faces.gaze is None and faces.near.all()
    eyes = torch.rand(2, 56, 2)
    assert DrawnFaces.of_numbers(**numbers(eyes=eyes)).gaze is not None
    assert DrawnFaces.of_numbers(**numbers(eyes=eyes[:, :28])).gaze is None
    assert DrawnFaces.of_numbers(**numbers(landmarks=torch.rand(2, 5, 2), eyes=eyes)).gaze is None


def test_what_the_experts_do_not_see_is_far():
    visible = torch.ones(2, 68).bool()
    visible[1, 3] = False
    assert (~DrawnFaces.of_numbers(**numbers(visible=visible)).near).nonzero().tolist() == [[1, 3]]


def test_names_are_numbers_by_default():
    assert DrawnFaces.of_numbers(**numbers()).names == ("0", "1")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"landmarks": torch.zeros(68, 2)}, "expected \\(B, N, 2\\)"),
        ({"confidence": torch.ones(3)}, "confidence: expected one row for each of 2"),
        ({"names": ["a"]}, "names: expected"),
    ],
)
def test_shapes_that_do_not_belong_together_are_refused(changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        DrawnFaces.of_numbers(**numbers(**changes))
