"""Bent faces: landmarks go along with the image, and heads turn no farther than images can follow."""

from __future__ import annotations

from dataclasses import replace

import torch

from clnf_torch.training.augmentation.pose_warp import FARTHEST, PoseWarp, warp_faces
from clnf_torch.training.augmentation.random import Sampler
from tests.factories import seeded
from tests.training.heads import make_gaussian, make_heads

CPU = torch.device("cpu")
FAR = PoseWarp(pitch=0.15, yaw=0.3, shape=0.4, probability=1)


def bent_heads(warp: PoseWarp, count: int = 6):
    """Shape model, parameters, and the warped heads."""
    pdm = make_gaussian().pdm()
    params = make_heads(pdm, count)
    return pdm, params, warp_faces(pdm, params, pdm.landmarks(params), warp, Sampler(seeded(3), CPU))


def test_landmarks_are_those_of_the_other_head():
    pdm, params, faces = bent_heads(FAR)
    torch.testing.assert_close(faces.landmarks, pdm.landmarks(faces.params), atol=1e-3, rtol=0)
    assert (faces.params.rotation - params.rotation).abs()[:, 1].amin() > 0.01
    assert torch.equal(faces.params.scale, params.scale) and torch.equal(
        faces.params.rotation[:, 2], params.rotation[:, 2]
    )


def test_windows_show_the_landmarks_that_were_photographed():
    pdm, params, faces = bent_heads(FAR)
    low = faces.landmarks.amin(1) - 9
    windows = torch.tensor([[0.9, 0.1], [-0.1, 0.9]], dtype=low.dtype).expand(6, 2, 2)
    positions, landmarks = faces.windows(windows, low, 97)
    place = (landmarks / 48 - 1)[:, :, None]
    found = torch.nn.functional.grid_sample(positions.movedim(-1, 1), place, align_corners=True).squeeze(-1).mT
    inside = (place.abs() < 1).all(-1).squeeze(-1)
    away = torch.linalg.vector_norm(found - pdm.landmarks(params), dim=-1)[inside]
    assert inside.float().mean() > 0.9 and (away < 0.1).float().mean() > 0.97  # some are in a fold
    planned = (faces.landmarks - low[:, None]) @ torch.linalg.inv(windows).mT
    assert (landmarks - planned)[inside].abs().amax() < 8  # between its knots a spline is only nearly what it is


def test_stiff_faces_are_the_photographed_ones():
    pdm, params, faces = bent_heads(PoseWarp())
    torch.testing.assert_close(faces.landmarks, pdm.landmarks(params))
    windows = torch.eye(2, dtype=faces.landmarks.dtype).expand(6, 2, 2)
    found, landmarks = faces.windows(windows, faces.landmarks.new_zeros(6, 2), 9)
    assert found[0, 3].tolist() == [[float(x), 3.0] for x in range(9)]
    torch.testing.assert_close(landmarks, faces.landmarks)


def test_a_share_of_the_faces_is_bent():
    _, params, faces = bent_heads(PoseWarp(yaw=0.3, probability=0.5), 60)
    moved = (faces.params.rotation != params.rotation).any(-1)
    assert 15 < moved.sum() < 45


def test_heads_turn_no_farther_than_images_follow():
    _, params, faces = bent_heads(PoseWarp(yaw=3.0, probability=1))
    limit = params.rotation[:, 1].abs().clamp_min(FARTHEST[1])
    assert (faces.params.rotation[:, 1].abs() <= limit + 1e-6).all()


def test_sides_of_some_faces_move_each_for_itself():
    pdm, params, faces = bent_heads(PoseWarp(one_sided=0.5), 60)
    moved = (faces.landmarks - pdm.landmarks(params)).abs() > 1e-3
    assert 15 < moved.flatten(1).any(1).sum() < 45
    assert torch.equal(faces.params.local, params.local)  # nobody tells a fit


def test_without_them_warps_are_what_they_were():
    _, _, faces = bent_heads(FAR)
    _, _, sided = bent_heads(replace(FAR, one_sided=1.0))
    assert torch.equal(faces.params.local, sided.params.local) and torch.equal(
        faces.params.rotation, sided.params.rotation
    )
    assert not torch.equal(faces.landmarks, sided.landmarks)
