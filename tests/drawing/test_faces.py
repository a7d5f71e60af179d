"""Faces as they are drawn: what is known of them, and their gaze."""

import math

import pytest
import torch

from clnf_torch.drawing import DrawnFaces
from clnf_torch.drawing.faces import GAZE_LENGTH, gaze_arrows, weak_gaze
from clnf_torch.drawing.heads import SeenHeads
from clnf_torch.geometry.landmarks68 import EYE_CORNERS
from clnf_torch.measures.gaze import EYEBALL_RADIUS, gaze_directions
from tests.factories import seeded


def numbers(faces=2, **changes):
    """What `DrawnFaces.of_numbers` takes, of faces of 68 landmarks."""
    landmarks = 100 + 20 * torch.randn(faces, 68, 2, generator=seeded(1), dtype=torch.float64)
    pose = torch.cat([torch.full((faces, 1), 2.0), torch.zeros(faces, 3), torch.full((faces, 2), 100.0)], 1)
    known = {"landmarks": landmarks, "pose": pose, "confidence": torch.ones(faces), "found": torch.ones(faces).bool()}
    return {**known, **changes}


def test_gaze_is_that_of_the_measures_far_from_the_camera():
    generator, scale, distance = seeded(3), 2.0, 1e6
    rotation = 0.3 * torch.randn(3, 3, generator=generator, dtype=torch.float64)
    points = 30 * torch.randn(3, 68, 3, generator=generator, dtype=torch.float64)
    middle = torch.stack([(points[:, a] + points[:, b]) / 2 for a, b in EYE_CORNERS], 1)
    eyes = middle[:, :, None] + 3 * torch.randn(3, 2, 28, 3, generator=generator, dtype=torch.float64)
    away = torch.tensor([0, 0, distance])
    expected = gaze_directions(points + away, eyes + away, rotation, "exact")[..., :2]
    pose = torch.cat([torch.full((3, 1), scale), rotation, torch.zeros(3, 2)], 1)
    heads, flat = SeenHeads.of(pose), scale * eyes[..., :2].flatten(1, 2)
    arrows = gaze_arrows(flat, weak_gaze(scale * points[..., :2], flat, heads), heads.scale)
    torch.testing.assert_close(arrows[:, :, 0], scale * eyes[:, :, :8, :2].mean(2))
    found = (arrows[:, :, 1] - arrows[:, :, 0]) / (GAZE_LENGTH * EYEBALL_RADIUS * scale)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_a_gaze_that_was_measured_is_drawn():
    eyes, gaze = torch.rand(2, 56, 2), torch.tensor([[[0.6, 0.0, -0.8], [0.0, 0.6, -0.8]]] * 2)
    arrows = DrawnFaces.of_numbers(**numbers(eyes=eyes, gaze=gaze)).gaze
    assert arrows is not None
    along = torch.nn.functional.normalize(arrows[:, :, 1] - arrows[:, :, 0], dim=-1)
    torch.testing.assert_close(along, torch.tensor([[[1.0, 0.0], [0.0, 1.0]]] * 2, dtype=torch.float64))


def test_the_pose_that_was_measured_is_drawn_instead_of_the_fits():
    head = torch.tensor([[0.0, 0.0, 500.0, 0.5, -0.6, 0.1], [math.nan] * 6], dtype=torch.float64)
    drawn, weak = DrawnFaces.of_numbers(**numbers(head=head)), DrawnFaces.of_numbers(**numbers())
    turned = numbers()["pose"].clone()
    turned[:, 1:4] = head[:, 3:]
    expected = DrawnFaces.of_numbers(**numbers(pose=turned))
    torch.testing.assert_close(drawn.axes[0], expected.axes[0])
    assert torch.equal(drawn.near[0], expected.near[0]) and not drawn.near[0].all()
    # A row that could not be measured
    assert torch.equal(drawn.axes[1], weak.axes[1]) and torch.equal(drawn.near[1], weak.near[1])


def test_a_gaze_into_the_camera_is_a_point_wherever_the_face_is():
    head = torch.tensor([[200.0, -100.0, 500.0, 0, 0, 0]] * 2, dtype=torch.float64)
    gaze = -torch.nn.functional.normalize(head[:, None, :3], dim=-1).expand(2, 2, 3)
    arrows = DrawnFaces.of_numbers(**numbers(eyes=torch.rand(2, 56, 2), head=head, gaze=gaze)).gaze
    torch.testing.assert_close(arrows[:, :, 1], arrows[:, :, 0])


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
