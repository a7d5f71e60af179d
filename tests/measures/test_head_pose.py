"""`clnf_torch.measures.head_pose`: poses under perspective, both forms, and rows that have none."""

from __future__ import annotations

import math

import pytest
import torch

from clnf_torch.geometry.camera import project
from clnf_torch.geometry.rotation import euler_to_matrix
from clnf_torch.measures.head_pose import HeadPose, head_pose, pose_to_line_of_sight
from clnf_torch.measures.landmarks_3d import FittedShape
from clnf_torch.models.pdm import PDM, ShapeParams
from tests.measures.heads import CAMERA, FACE, cast, make_face, rows, spoiled

NUMERICS = ["openface", "exact"]


def pose_of(*values: float) -> HeadPose:
    """One pose."""
    pose = torch.tensor([values], dtype=torch.float64)
    return HeadPose(pose[:, :3], pose[:, 3:])


@pytest.mark.parametrize("numerics", NUMERICS)
def test_finds_a_head_that_a_camera_has_seen(numerics):
    face = make_face(6)
    truth = HeadPose(torch.tensor([[30.0, -20.0, 520.0]]).double().expand(6, -1), face.params.rotation)
    points = FACE.points(face.params.local) @ euler_to_matrix(truth.rotation).mT + truth.translation[:, None]
    found = head_pose(FittedShape(FACE, face.params, project(points, CAMERA)), CAMERA, numerics)
    torch.testing.assert_close(found.translation, truth.translation, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.rotation, truth.rotation, rtol=0, atol=1e-8)


def test_both_starts_lead_to_the_same_pose():
    face = make_face(6, noise=2.0)
    one, other = (head_pose(face, CAMERA, numerics).values for numerics in NUMERICS)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("faces", [0, 1, 4])
def test_faces_alone_and_together(faces):
    face = make_face(faces)
    together = head_pose(face, CAMERA).values
    assert together.shape == (faces, 6)
    for row in range(faces):
        alone = head_pose(rows(face, slice(row, row + 1)), CAMERA).values[0]
        torch.testing.assert_close(together[row], alone, rtol=0, atol=1e-8)


def test_spoiled_rows():
    face = make_face(5)
    pose = head_pose(spoiled(face), CAMERA).values
    assert (pose[1] == 0).all()  # no scale: OpenFace's zeros
    assert pose[2:4].isnan().all()
    torch.testing.assert_close(pose[[0, 4]], head_pose(face, CAMERA).values[[0, 4]], rtol=0, atol=1e-8)


def test_spoiled_rows_send_no_nan_back():
    face = spoiled(make_face(5))
    pdm = PDM(FACE.mean.clone(), FACE.modes.clone(), FACE.variances.clone())
    pdm.mean.requires_grad_()
    pose = head_pose(FittedShape(pdm, face.params, face.landmarks), CAMERA)
    pose_to_line_of_sight(pose).values[[0, 1, 4]].sum().backward()
    assert pdm.mean.grad.isfinite().all() and pdm.mean.grad.abs().sum() > 0


def test_gradients():
    face = make_face(2, noise=1.0)
    inputs = [face.params.local.clone().requires_grad_(), face.landmarks.clone().requires_grad_()]

    def pose(local, landmarks):
        params = ShapeParams(face.params.scale, face.params.rotation, face.params.translation, local)
        return head_pose(FittedShape(FACE, params, landmarks), CAMERA).values

    assert torch.autograd.gradcheck(pose, inputs, eps=1e-4, atol=1e-5, rtol=1e-4, fast_mode=True)


def test_no_gradient_under_inference_mode():
    with torch.inference_mode():
        assert not head_pose(make_face(1), CAMERA).values.requires_grad


def test_single_precision_is_solved_in_double():
    face = make_face(3, noise=1.0)
    single = head_pose(cast(face, torch.zeros(1)), CAMERA).values
    torch.testing.assert_close(single, head_pose(face, CAMERA).values.float(), rtol=1e-5, atol=1e-5)


def test_a_head_that_looks_at_the_camera_is_not_turned_from_its_line_of_sight():
    x, y, z = 200.0, -120.0, 600.0
    facing = HeadPose(torch.tensor([[x, y, z]]).double(), torch.zeros(1, 3).double())
    line = (math.atan2(y, math.hypot(x, z)), -math.atan2(x, math.hypot(y, z)), 0.0)
    expected = torch.tensor([line], dtype=torch.float64)  # of a head that looks along the camera's axis
    torch.testing.assert_close(pose_to_line_of_sight(facing).rotation, expected)
    inverse = euler_to_matrix(expected).mT
    turned = pose_to_line_of_sight(pose_of(x, y, z, 0.0, 0.0, 0.0))
    torch.testing.assert_close(euler_to_matrix(turned.rotation) @ inverse, torch.eye(3).double()[None])


def test_a_head_on_the_axis_keeps_its_rotation():
    pose = pose_of(0.0, 0.0, 700.0, 0.2, -0.4, 0.1)
    torch.testing.assert_close(pose_to_line_of_sight(pose).values, pose.values)


def test_no_head_stays_no_head():
    assert (pose_to_line_of_sight(pose_of(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)).values == 0).all()


def test_gradients_of_the_line_of_sight():
    values = torch.tensor([[200.0, -120.0, 600.0, 0.2, -0.4, 0.1]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: pose_to_line_of_sight(HeadPose(v[:, :3], v[:, 3:])).values, (values,))


def test_device_and_dtype(device, dtype):
    pose = head_pose(cast(make_face(2), torch.zeros(1, device=device, dtype=dtype)), CAMERA)
    for values in (pose.values, pose_to_line_of_sight(pose).values):
        assert values.dtype == dtype and values.device.type == device.type


def test_other_numerics_are_refused():
    with pytest.raises(ValueError, match="numerics 'quick' is not known"):
        head_pose(make_face(1), CAMERA, "quick")
