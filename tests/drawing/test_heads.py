"""Heads as an image shows them: far sides and axes."""

import math

import pytest
import torch

from clnf_torch.drawing.heads import OUTWARD, SeenHeads
from clnf_torch.geometry.camera import Intrinsics, project
from clnf_torch.geometry.landmarks68 import MIRROR
from clnf_torch.geometry.rotation import euler_to_matrix


def turned(*degrees):
    """Weak perspectives of heads that are turned about y, (B, 6)."""
    return torch.tensor([[1.0, 0.0, math.radians(yaw), 0.0, 0.0, 0.0] for yaw in degrees], dtype=torch.float64)


def test_outward_angles_are_mirrored():
    assert all(abs(OUTWARD[point] + OUTWARD[partner]) <= 1 for point, partner in enumerate(MIRROR))


def test_all_is_seen_from_the_front_and_the_side_that_turns_away_is_not():
    front, some, more, other = SeenHeads.of(turned(0, 25, 75, -75)).hidden_landmarks()
    assert not front.any()
    assert 0 < some.sum() < more.sum() < 34
    assert torch.equal(more[list(MIRROR)], other)
    # The far ear lies farther from the camera, whose axis is z
    ear, far = torch.tensor([71.0, -40.0, 62.0]), bool(more[16])
    depth = -math.sin(math.radians(75)) * ear[0]
    assert far == bool(depth > 0) and more[0] != far


def test_axes_point_right_up_and_forward():
    pose = torch.tensor([[2.0, 0, 0, 0, 10, 20], [2.0, 0, math.pi / 2, 0, 10, 20]], dtype=torch.float64)
    front, side = SeenHeads.of(pose).axes()
    torch.testing.assert_close(front, torch.tensor([[10.0, 20], [100, 20], [10, -70], [10, 20]], dtype=torch.float64))
    # Forward is across the image, right along the camera's axis
    torch.testing.assert_close(side[[1, 2]], torch.tensor([[10.0, 20], [10, -70]], dtype=torch.float64))
    assert abs(side[3, 0] - 10) == pytest.approx(140)


def test_axes_lie_where_a_camera_sees_those_of_the_pose():
    camera, place = Intrinsics.of(1e6, 1e6, 320, 240), torch.tensor([[3e5, -2e5, 1e6]], dtype=torch.float64)
    angles = torch.tensor([[0.3, -0.5, 0.1]], dtype=torch.float64)
    tips = torch.tensor([[0.0, 0, 0], [45, 0, 0], [0, -45, 0], [0, 0, -70]], dtype=torch.float64)
    seen = project(tips @ euler_to_matrix(angles).mT + place[:, None], camera)
    pose = torch.cat((torch.ones(1, 1), 0 * angles, seen[:, 0]), dim=1)
    axes = SeenHeads.of(pose, torch.cat((place, angles), dim=1)).axes()
    # What is left is how much nearer the tips are than the head
    torch.testing.assert_close(axes, seen, atol=0.01, rtol=0)


def test_a_far_side_is_far_from_the_camera_not_across_its_axis():
    # Turned by 45 degrees, and looking into the camera from there
    pose, angle = turned(0), math.radians(45)
    head = torch.tensor([[-500.0, 0, 500, 0, -angle, 0], [500.0, 0, 500, 0, -angle, 0]], dtype=torch.float64)
    facing = [SeenHeads.of(pose, row[None]).hidden_landmarks().sum() for row in head]
    assert min(facing) == 0 and max(facing) > 20
