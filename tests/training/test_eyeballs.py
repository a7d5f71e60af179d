"""`clnf_torch.training.eyeballs`: eyeballs are found again from where eyes look, though some irises are wrong."""

from __future__ import annotations

import torch

from clnf_torch.geometry.rotation import euler_to_matrix
from clnf_torch.training.eyeballs import SeenEyes, closest_eyeballs, mirrored


def looking_eyes(eyeballs: torch.Tensor, count: int, generator: torch.Generator) -> SeenEyes:
    """Faces half a metre away whose irises lie where eyeballs (2, 4) put them."""
    rotation = 0.3 * torch.randn(count, 3, generator=generator, dtype=torch.float64)
    looks = 0.3 * torch.randn(count, 2, 3, generator=generator, dtype=torch.float64) - torch.tensor([0.0, 0, 1])
    gaze = torch.nn.functional.normalize(looks, dim=-1)
    corners = torch.tensor([[-45.0, 0, 500], [-15, 0, 500], [15, 0, 500], [45, 0, 500]], dtype=torch.float64)
    points = torch.ones(count, 68, 3, dtype=torch.float64)
    points[:, [36, 39, 42, 45]] = corners
    middle = torch.stack((corners[:2].mean(0), corners[2:].mean(0)))
    iris = middle + eyeballs[:, :3] @ euler_to_matrix(rotation).mT + eyeballs[:, 3:] * gaze
    eye_points = torch.ones(count, 2, 28, 3, dtype=torch.float64)
    eye_points[:, :, :8] = iris[:, :, None]
    eye_points[:, :, [8, 14]] = corners.view(2, 2, 3)
    return SeenEyes(
        points=points, eye_points=eye_points, rotation=rotation, gaze=gaze, seen=torch.ones(count, 2, dtype=torch.bool)
    )


def test_eyeballs_are_found_again_beside_irises_that_are_wrong(rng):
    truth = mirrored(torch.tensor([0.5, -1.0, 9.0, 10.0], dtype=torch.float64))
    eyes = looking_eyes(truth, 200, rng)
    eyes.eye_points[:20, :, :8, :2] += 15
    torch.testing.assert_close(closest_eyeballs(eyes), truth, atol=0.1, rtol=0)


def test_eyes_that_are_not_seen_do_not_count(rng):
    truth = mirrored(torch.tensor([0.0, -2.0, 8.0, 11.0], dtype=torch.float64))
    eyes = looking_eyes(truth, 60, rng)
    eyes.eye_points[:50, 1, :8, 0] += 9
    eyes.seen[:50, 1] = False
    torch.testing.assert_close(closest_eyeballs(eyes), truth, atol=0.02, rtol=0)
