"""`clnf_torch.geometry.camera`: OpenFace's default cameras, projection and its derivatives, and the way back."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.geometry.camera import (
    Intrinsics,
    back_project,
    project,
    projection_jacobian,
    weak_perspective_origin,
)

CAMERA = Intrinsics.of(400.0, 500.0, 320.0, 240.0)


def points_in_front(rng, *shape):
    """Points half a metre to a metre away."""
    points = 100 * torch.randn(*shape, 3, generator=rng, dtype=torch.float64)
    points[..., 2] = 500 + 500 * torch.rand(*shape, generator=rng, dtype=torch.float64)
    return points


@pytest.mark.parametrize(
    ("size", "focal"), [((640, 480), 500), ((512, 512), (400 + 533 + 1 / 3) / 2), ((1920, 1080), 1312.5)]
)
def test_cameras_of_unknown_images(size, focal):
    camera = Intrinsics.for_image(*size)
    torch.testing.assert_close(camera.focal, torch.tensor((focal, focal), dtype=torch.float64))
    torch.testing.assert_close(camera.center, torch.tensor(size, dtype=torch.float64) / 2)


def test_projects():
    points = torch.tensor([[[0.0, 0.0, 700.0], [50.0, -100.0, 1000.0]]], dtype=torch.float64)
    seen = torch.tensor([[[320.0, 240.0], [340.0, 190.0]]], dtype=torch.float64)
    torch.testing.assert_close(project(points, CAMERA), seen)


def test_a_point_at_depth_0_stays_where_it_is():
    points = torch.tensor([[[3.0, -4.0, 0.0]]], dtype=torch.float64, requires_grad=True)
    seen = project(points, CAMERA)
    torch.testing.assert_close(seen, points[..., :2])
    seen.sum().backward()
    assert points.grad.isfinite().all()


@pytest.mark.parametrize("faces", [0, 1, 5])
def test_back_and_forth(rng, faces):
    points = points_in_front(rng, faces, 7)
    torch.testing.assert_close(back_project(project(points, CAMERA), points[..., 2], CAMERA), points)


def test_a_camera_per_face(rng):
    points = points_in_front(rng, 3, 7)
    focal, center = 300 + 200 * torch.rand(3, 2, generator=rng), 300 * torch.rand(3, 2, generator=rng)
    cameras = Intrinsics(focal.double(), center.double())
    seen = project(points, cameras)
    for row in range(3):
        alone = Intrinsics(cameras.focal[row], cameras.center[row])
        torch.testing.assert_close(seen[row : row + 1], project(points[row : row + 1], alone))
        slopes = projection_jacobian(points[row : row + 1], alone)
        torch.testing.assert_close(projection_jacobian(points, cameras)[row : row + 1], slopes)
    torch.testing.assert_close(back_project(seen, points[..., 2], cameras), points)


def test_slopes_are_the_derivatives(rng):
    points = points_in_front(rng, 2, 4)
    for row, slopes in zip(points, projection_jacobian(points, CAMERA), strict=True):
        full = torch.func.jacrev(lambda one: project(one[None], CAMERA)[0])(row)  # (N, 2, N, 3)
        torch.testing.assert_close(slopes, full.diagonal(dim1=0, dim2=2).permute(0, 2, 1))


def test_origin_of_a_weak_perspective():
    scale, translation = torch.tensor([0.5, 2.0]).double(), torch.tensor([[320.0, 240.0], [420.0, 140.0]]).double()
    origin = weak_perspective_origin(scale, translation, CAMERA)
    expected = torch.tensor([[0.0, 0.0, 800.0], [50.0, -40.0, 200.0]], dtype=torch.float64)  # depth from fx alone
    torch.testing.assert_close(origin, expected)


def test_gradients(rng):
    points = points_in_front(rng, 2, 3).requires_grad_()
    focal, center = CAMERA.focal.clone().requires_grad_(), CAMERA.center.clone().requires_grad_()
    pixels, depth = project(points, CAMERA).detach().requires_grad_(), points[..., 2].detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda p, f, c: project(p, Intrinsics(f, c)), (points, focal, center))
    assert torch.autograd.gradcheck(lambda p, f: projection_jacobian(p, Intrinsics(f, center)), (points, focal))
    assert torch.autograd.gradcheck(lambda p, d, f: back_project(p, d, Intrinsics(f, center)), (pixels, depth, focal))


def test_device_and_dtype(device, dtype):
    points = torch.ones(2, 5, 3, device=device, dtype=dtype)
    camera = CAMERA.to(points)
    for result in (project(points, camera), projection_jacobian(points, camera), camera.focal, camera.center):
        assert result.dtype == dtype and result.device.type == device.type


@pytest.mark.parametrize("focal", [(0.0, 500.0), (500.0, -1.0), (float("nan"), 500.0), (float("inf"), 500.0)])
def test_impossible_cameras_are_refused(focal):
    with pytest.raises(ValueError, match="expected two positive numbers"):
        Intrinsics.of(*focal, 320.0, 240.0)


def test_a_camera_of_arrays_or_lists_is_one_of_tensors():
    focal, center = torch.tensor([[500.0, 510.0]]), torch.tensor([[320.0, 240.0]])
    for camera in (Intrinsics(focal.numpy(), center.numpy()), Intrinsics(focal.tolist(), center.tolist())):
        assert torch.equal(camera.focal, focal) and torch.equal(camera.center, center)
