"""`clnf_torch.measures.gaze`: eyes that look where they were made to look, and rays that miss."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.geometry.rotation import euler_to_matrix
from clnf_torch.measures.gaze import (
    EYEBALL_RADIUS,
    along_sight,
    eyeball_centers,
    gaze_angles,
    gaze_directions,
    in_camera_space,
)

ROTATION = torch.tensor([[0.1, -0.2, 0.05]], dtype=torch.float64)


def face_points(rng) -> torch.Tensor:
    """A face whose eyes are 60 mm apart, 600 mm away."""
    points = 50 * torch.randn(1, 68, 3, generator=rng, dtype=torch.float64)
    points[..., 2] += 600
    corners = {36: (-45.0, -30.0, 605.0), 39: (-15.0, -30.0, 600.0), 42: (15.0, -30.0, 600.0), 45: (45.0, -30.0, 605.0)}
    for landmark, place in corners.items():
        points[0, landmark] = torch.tensor(place)
    return points


def eyes_at(pupils: torch.Tensor, rng) -> torch.Tensor:
    """Eyes whose first eight landmarks have these means (1, 2, 3); the other landmarks are anywhere."""
    ring = torch.randn(1, 2, 8, 3, generator=rng, dtype=torch.float64)
    ring = ring - ring.mean(2, keepdim=True) + pupils[:, :, None]
    return torch.cat((ring, 99 * torch.randn(1, 2, 20, 3, generator=rng, dtype=torch.float64)), dim=2)


def directions(*vectors: tuple[float, float, float]) -> torch.Tensor:
    """Unit vectors, shape (1, n, 3)."""
    return torch.nn.functional.normalize(torch.tensor([vectors], dtype=torch.float64), dim=-1)


def test_eyeballs_are_behind_and_above_the_middle_of_the_corners(rng):
    points = face_points(rng)
    centers = eyeball_centers(points, torch.zeros(1, 3, dtype=torch.float64))
    expected = torch.tensor([[[-30.0, -33.5, 609.5], [30.0, -33.5, 609.5]]], dtype=torch.float64)
    torch.testing.assert_close(centers, expected)
    offset = euler_to_matrix(ROTATION) @ torch.tensor((0.0, -3.5, 7.0)).double()
    turned = eyeball_centers(points, ROTATION) - expected + torch.tensor((0.0, -3.5, 7.0))
    torch.testing.assert_close(turned, offset[:, None].expand(1, 2, 3))


@pytest.mark.parametrize("numerics", ["openface", "exact"])
@pytest.mark.parametrize("depth", [0.5, 1.0, 3.0])  # the depth of the eyes' own models does not matter
def test_eyes_look_where_their_pupils_are(rng, numerics, depth):
    points = face_points(rng)
    looks = directions((0.3, -0.2, -1.0), (-0.1, 0.4, -1.0))
    pupils = eyeball_centers(points, ROTATION) + EYEBALL_RADIUS * looks
    found = gaze_directions(points, eyes_at(depth * pupils, rng), ROTATION, numerics)
    torch.testing.assert_close(found, looks)


def test_a_gaze_along_the_sight_is_found_again_in_camera_space(rng):
    points = 50 * torch.randn(4, 2, 3, generator=rng, dtype=torch.float64)
    points[..., 2] += 400
    looks = torch.nn.functional.normalize(torch.randn(4, 2, 3, generator=rng, dtype=torch.float64), dim=-1)
    torch.testing.assert_close(in_camera_space(along_sight(looks, points), points), looks)
    # What looks into the camera looks so wherever it is
    at_camera = -torch.nn.functional.normalize(points, dim=-1)
    ahead = torch.tensor((0.0, 0.0, -1.0), dtype=torch.float64)
    torch.testing.assert_close(along_sight(at_camera, points), ahead.expand(4, 2, 3))


def test_the_sight_is_turned_the_shortest_way(rng):
    """A direction that is at right angles to the camera's axis and to the line of sight stays what it is."""
    points = torch.tensor([[[300.0, 0.0, 400.0], [0.0, -300.0, 400.0]]], dtype=torch.float64)
    across = directions((0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    torch.testing.assert_close(along_sight(across, points), across)
    torch.testing.assert_close(along_sight(directions((0.0, 0.0, -1.0), (0.0, 0.0, -1.0)), points)[0, 0, 0].item(), 0.6)


def test_a_ray_that_misses(rng):
    points = face_points(rng)
    centers = eyeball_centers(points, ROTATION)
    aside = centers + torch.tensor([[[40.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])  # the left eye's pupil is far off
    eyes = eyes_at(aside, rng)
    openface, exact = (gaze_directions(points, eyes, ROTATION, name)[0] for name in ("openface", "exact"))
    at_camera = torch.tensor((0.0, 0.0, -1.0)) - centers[0, 0]
    torch.testing.assert_close(openface[0], at_camera / at_camera.norm())
    assert exact[0, 0] > 0.99  # it looks as far to the side as an eye can
    torch.testing.assert_close(openface[1], exact[1])  # the other eye does not know


def test_no_jump_where_rays_begin_to_miss(rng):
    points = face_points(rng)
    centers = eyeball_centers(points, ROTATION)
    looks = []
    for aside in (11.998, 12.002):
        tangent = centers.clone()
        tangent[..., 0] += aside * centers.norm(dim=-1) / (centers[..., 1:].norm(dim=-1))
        looks.append(gaze_directions(points, eyes_at(tangent, rng), ROTATION, "exact"))
    torch.testing.assert_close(*looks, rtol=0, atol=0.06)


def test_rows_do_not_see_each_other(rng):
    points = torch.cat([face_points(rng) for _ in range(3)])
    rotation = 0.1 * torch.randn(3, 3, generator=rng, dtype=torch.float64)
    pupils = eyeball_centers(points, rotation) + 3 * torch.randn(3, 2, 3, generator=rng, dtype=torch.float64)
    eyes = torch.cat([eyes_at(row[None], rng) for row in pupils])
    eyes[1, 0, 0, 0] = torch.nan
    together = gaze_directions(points, eyes, rotation)
    for row in (0, 2):
        one = slice(row, row + 1)
        torch.testing.assert_close(together[one], gaze_directions(points[one], eyes[one], rotation[one]))
    assert together[1, 0].isnan().all() and together[1, 1].isfinite().all()


def test_angles():
    looks = directions((0.0, 0.0, -1.0), (0.0, 0.0, -1.0))
    torch.testing.assert_close(gaze_angles(looks), torch.zeros(1, 2, dtype=torch.float64))
    looks = torch.tensor([[[0.6, 0.0, -0.8], [0.0, 0.6, -0.8]]], dtype=torch.float64)  # right of the image; down
    expected = torch.tensor([[0.3, 0.3]], dtype=torch.float64).atan2(torch.tensor(0.8).double())
    torch.testing.assert_close(gaze_angles(looks), expected)


@pytest.mark.parametrize("aside", [2.0, 40.0])  # meets the eyeball; misses it
def test_gradients(rng, aside):
    points = face_points(rng)
    pupils = eyeball_centers(points, ROTATION) + torch.tensor((aside, 1.0, -11.0))
    inputs = [value.clone().requires_grad_() for value in (points, eyes_at(pupils, rng), ROTATION)]
    assert torch.autograd.gradcheck(lambda *v: gaze_directions(*v, "exact"), inputs, fast_mode=True)
    assert torch.autograd.gradcheck(lambda *v: gaze_angles(gaze_directions(*v, "exact")), inputs, fast_mode=True)


def test_shape_device_and_dtype(device, dtype):
    for faces in (0, 2):
        points = torch.ones(faces, 68, 3, device=device, dtype=dtype)
        eyes = torch.ones(faces, 2, 28, 3, device=device, dtype=dtype)
        found = gaze_directions(points, eyes, points[:, 0])
        assert found.shape == (faces, 2, 3) and found.dtype == dtype and found.device.type == device.type
        assert gaze_angles(found).shape == (faces, 2)


@pytest.mark.parametrize(("landmarks", "eye"), [(66, 28), (68, 6)])
def test_other_faces_are_refused(landmarks, eye):
    with pytest.raises(ValueError, match="gaze needs a face of 68 landmarks and both 28-point eyes"):
        gaze_directions(torch.ones(1, landmarks, 3), torch.ones(1, 2, eye, 3), torch.zeros(1, 3))
