"""`clnf_torch.measures.landmarks_3d`: depth from the model, direction from the image."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.geometry.camera import Intrinsics, project
from clnf_torch.geometry.rotation import euler_to_matrix
from clnf_torch.measures.landmarks_3d import FittedShape, landmarks_3d
from clnf_torch.models.pdm import PDM, ShapeParams
from tests.measures.heads import CAMERA, FACE, cast, make_face, rows, spoiled


def test_points_are_seen_where_the_landmarks_are():
    face = make_face(5)
    torch.testing.assert_close(project(landmarks_3d(face, CAMERA), CAMERA), face.landmarks)


def test_depth_is_that_of_the_rotated_model():
    face = make_face(5)
    rotated = FACE.points(face.params.local) @ euler_to_matrix(face.params.rotation).mT
    depth = landmarks_3d(face, CAMERA)[..., 2]
    torch.testing.assert_close(depth, 450.0 / face.params.scale[:, None] + rotated[..., 2])  # fx alone


@pytest.mark.parametrize("faces", [0, 1, 4])
def test_faces_alone_and_together(faces):
    face = make_face(faces)
    together = landmarks_3d(face, CAMERA)
    assert together.shape == (faces, 68, 3)
    for row in range(faces):
        one = slice(row, row + 1)
        torch.testing.assert_close(together[one], landmarks_3d(rows(face, one), CAMERA), rtol=0, atol=0)


def test_a_camera_per_face():
    face, wide = make_face(2), Intrinsics.of(300.0, 300.0, 320.0, 240.0)
    both = Intrinsics(torch.stack((CAMERA.focal, wide.focal)), torch.stack((CAMERA.center, wide.center)))
    expected = [landmarks_3d(rows(face, slice(i, i + 1)), camera) for i, camera in enumerate((CAMERA, wide))]
    torch.testing.assert_close(landmarks_3d(face, both), torch.cat(expected))


def test_spoiled_rows_are_not_numbers_and_spare_the_others():
    face = make_face(5)
    points = landmarks_3d(spoiled(face), CAMERA)
    assert points[1:4].isnan().all()
    torch.testing.assert_close(points[[0, 4]], landmarks_3d(face, CAMERA)[[0, 4]], rtol=0, atol=0)


def test_spoiled_rows_send_no_nan_back():
    face = spoiled(make_face(5))
    pdm = PDM(FACE.mean.clone(), FACE.modes.clone(), FACE.variances.clone())
    pdm.mean.requires_grad_()
    landmarks_3d(FittedShape(pdm, face.params, face.landmarks), CAMERA)[[0, 4]].sum().backward()
    assert pdm.mean.grad.isfinite().all() and pdm.mean.grad.abs().sum() > 0


def test_gradients():
    face = make_face(2)
    inputs = [face.params.globals, face.params.local, face.landmarks, CAMERA.focal, CAMERA.center]

    def points(globals_, local, landmarks, focal, center):
        shape = FittedShape(FACE, ShapeParams.from_globals(globals_, local), landmarks)
        return landmarks_3d(shape, Intrinsics(focal, center))

    assert torch.autograd.gradcheck(points, [value.clone().requires_grad_() for value in inputs])


def test_device_and_dtype(device, dtype):
    points = landmarks_3d(cast(make_face(2), torch.zeros(1, device=device, dtype=dtype)), CAMERA)
    assert points.dtype == dtype and points.device.type == device.type
