"""`clnf_torch.measures.head_in_space`: depths and poses by a second shape, image positions exact."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.geometry.camera import project
from clnf_torch.geometry.rotation import euler_to_matrix
from clnf_torch.measures.face_measures import points_in_head
from clnf_torch.measures.head_in_space import measure_head
from clnf_torch.measures.head_pose import head_pose
from clnf_torch.measures.landmarks_3d import FittedShape, landmarks_3d
from clnf_torch.models.depth_shape import DepthShape
from clnf_torch.models.pdm import PDM
from tests.measures.heads import CAMERA, FACE, make_face, spoiled

CORNER = 54
ANCHORS = torch.tensor([point for point in range(68) if point != CORNER])


def flat_shape() -> PDM:
    """A shape model that follows images, and knows nothing of depth."""
    return PDM(FACE.mean * torch.tensor([1.0, 1.0, 0.2]), FACE.modes, FACE.variances)


def fitted(points: torch.Tensor) -> FittedShape:
    """Points in camera space (B, 68, 3), seen and fitted with the flat shape."""
    seen, pdm = project(points, CAMERA), flat_shape()
    return FittedShape(pdm, params_from_landmarks(pdm, seen), seen, depth=DepthShape(FACE, ANCHORS))


def turned_heads(yaw: torch.Tensor, moved: float = 0.0) -> torch.Tensor:
    """Heads half a metre away, a corner of the mouth moved sideways by so many millimetres."""
    rotation = euler_to_matrix(torch.stack((torch.full_like(yaw, 0.1), yaw, torch.zeros_like(yaw)), -1).double())
    head = FACE.mean.detach().clone()
    head[CORNER, 0] += moved
    return head @ rotation.mT + torch.tensor([20.0, 10.0, 500.0]).double()


YAW = torch.tensor([-0.7, -0.35, 0.0, 0.35, 0.7])


def test_points_and_poses_are_those_of_heads():
    points = turned_heads(YAW)
    found, pose = measure_head(fitted(points), CAMERA)
    torch.testing.assert_close(found, points, atol=4, rtol=0)
    torch.testing.assert_close(pose.rotation[:, 1], YAW.double(), atol=0.03, rtol=0)
    flat = head_pose(fitted(points), CAMERA).rotation[:, 1]
    assert bool(((flat - YAW).abs()[YAW != 0] > 2 * (pose.rotation[:, 1] - YAW).abs()[YAW != 0]).all())


def test_image_positions_stay():
    face = replace(make_face(4), depth=DepthShape(FACE, ANCHORS))
    torch.testing.assert_close(project(measure_head(face, CAMERA)[0], CAMERA), face.landmarks)


@pytest.mark.parametrize("moved", [5.0, -5.0])
def test_a_corner_that_moves_is_measured_in_full(moved):
    still, other = (
        points_in_head(*measure_head(fitted(turned_heads(YAW[1:4], move)), CAMERA)) for move in (0.0, moved)
    )
    change = other - still
    assert bool(((change[:, CORNER, 0] / moved - 1).abs() < 0.04).all())
    assert change[:, ANCHORS].abs().max() < 0.01


def test_a_mirrored_face_is_measured_as_the_mirror_image():
    """Of a shape model that is its own mirror image."""
    half = FACE.mean * torch.tensor([-1.0, 1.0, 1.0])
    symmetric = PDM(torch.cat((FACE.mean[:34], half[:34])), FACE.modes[:1] * 0, FACE.variances[:1])
    partner = torch.arange(68).roll(34)
    depth = DepthShape(symmetric, torch.arange(68))
    seen = project(turned_heads(YAW)[:, :34], CAMERA)
    seen = torch.cat((seen, seen * 0.97 + 12), 1)
    axis = torch.tensor([2 * 310.0, 0.0]).double()
    mirrored = (seen * torch.tensor([-1.0, 1.0]) + axis)[:, partner]
    faces = [
        FittedShape(symmetric, params_from_landmarks(symmetric, one), one, depth=depth) for one in (seen, mirrored)
    ]
    (points, pose), (others, other) = (measure_head(face, CAMERA) for face in faces)
    flip = torch.tensor([-1.0, 1.0, 1.0]).double()
    torch.testing.assert_close(others[:, partner] * flip, points, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(other.rotation * -flip, pose.rotation, atol=1e-4, rtol=1e-4)


def test_without_a_depth_shape_it_is_openfaces():
    face = make_face(3)
    points, pose = measure_head(face, CAMERA)
    assert torch.equal(points, landmarks_3d(face, CAMERA))
    assert torch.equal(pose.values, head_pose(face, CAMERA).values)


def test_unusable_rows_stay_rows():
    face = replace(spoiled(make_face(5)), depth=DepthShape(FACE, ANCHORS))
    points, pose = measure_head(face, CAMERA)
    alone, own = measure_head(replace(make_face(5), depth=face.depth), CAMERA)
    for row in (0, 4):
        torch.testing.assert_close(points[row], alone[row])
        torch.testing.assert_close(pose.values[row], own.values[row])
    assert bool(points[1:4].isnan().all()) and bool(pose.values[2:4].isnan().all())
    assert not pose.values[1].any()


def test_gradients_reach_the_landmarks():
    face = replace(make_face(2), depth=DepthShape(FACE, ANCHORS))
    landmarks = face.landmarks.clone().requires_grad_()
    points, pose = measure_head(replace(face, landmarks=landmarks), CAMERA)
    (points[..., 2].sum() + pose.rotation.sum()).backward()
    assert bool(landmarks.grad.isfinite().all()) and bool((landmarks.grad.abs().amax((1, 2)) > 0).all())
