"""Training samples: landmarks lie where the image shows them, however the face was jittered and mirrored."""

from __future__ import annotations

from dataclasses import replace

import torch

from clnf_torch.training.augmentation.pose_warp import PoseWarp
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.data.heatmap_samples import FaceDataset, PoseJitter, draw_samples
from tests.factories import seeded
from tests.training.heads import MIRROR, make_crops, make_gaussian, make_heads

STILL = PoseJitter(rotation=0, scale=0, translation=0, aspect=0)
STIFF = PoseWarp()
CPU = torch.device("cpu")


def make_stage(levels: int = 1) -> FaceDataset:
    """Six heads with a dark dot at every landmark."""
    pdm = make_gaussian().pdm()
    params = make_heads(pdm, 6)
    return FaceDataset.of(make_crops(pdm.landmarks(params)), pdm, params, levels)


def dots_are_dark(samples) -> torch.Tensor:
    """Gray levels at the landmarks, of those inside the image."""
    side = samples.gray.shape[-1]
    near = samples.landmarks.round().long()
    inside = ((near >= 0) & (near < side)).all(-1)
    x, y = near.clamp(0, side - 1).unbind(-1)
    rows = torch.arange(len(near))[:, None].expand_as(x)
    return samples.gray[rows, y, x][inside]


def test_landmarks_lie_on_their_dots_wherever_the_face_is():
    jitter = PoseJitter(rotation=0.5, scale=0.2, translation=6.0, aspect=0.1)
    dataset, sampler = make_stage(), Sampler(seeded(5), CPU)
    samples = draw_samples(dataset, torch.arange(6), jitter, STIFF, 0.8, 128, MIRROR, sampler)
    seen = dots_are_dark(samples)
    assert len(seen) > 300 and seen.max() < 130 and samples.gray.median() > 150


def test_landmarks_lie_on_their_dots_when_heads_and_features_are_others():
    jitter, warp = (
        PoseJitter(rotation=0.3, scale=0.1, translation=3.0),
        PoseWarp(pitch=0.15, yaw=0.3, shape=0.4, probability=1),
    )
    dataset = make_stage()
    warped, stiff = (
        draw_samples(dataset, torch.arange(6), jitter, warp, 0.8, 128, MIRROR, Sampler(seeded(5), CPU))
        for warp in (warp, STIFF)
    )
    seen = dots_are_dark(warped)
    assert len(seen) > 300 and (seen < 150).float().mean() > 0.95 and warped.gray.median() > 150
    assert (warped.landmarks - stiff.landmarks).abs().amax((1, 2)).amin() > 2


def test_a_fit_that_knows_a_box_alone_misses_turned_faces_by_more():
    dataset = make_stage()
    middles = [
        draw_samples(
            dataset, torch.arange(6), replace(STILL, from_box=boxed), STIFF, 0.8, 128, MIRROR, Sampler(seeded(5), CPU)
        ).landmarks.mean(1)
        for boxed in (0.0, 1.0)
    ]
    away = [torch.linalg.vector_norm(middle - 63.5, dim=-1) for middle in middles]
    assert (away[0] < 0.2).all() and (away[1] > 0.5).all() and (away[1] < 20).all()


def test_halved_images_are_not_shifted():
    """A ramp reads the same at every level of the pyramid, but for the rounding of its gray levels."""
    dataset = make_stage(2)
    ramp = torch.arange(96.0) + 1.5 * torch.arange(96.0)[:, None]
    crops = FaceCrops(gray=ramp.round().to(torch.uint8).expand(6, 96, 96), landmarks=dataset.landmarks)
    pdm = make_gaussian().pdm()
    sharp, mixed = (FaceDataset.of(crops, pdm, make_heads(pdm, 6), levels) for levels in (1, 2))
    one, other = (
        draw_samples(dataset, torch.arange(6), STILL, STIFF, 0.3, 24, MIRROR, Sampler(seeded(5), CPU)).gray
        for dataset in (sharp, mixed)
    )
    assert not torch.equal(one, other)
    torch.testing.assert_close(one, other, rtol=0, atol=1.0)


def test_the_face_is_upright_and_in_the_middle_when_nothing_is_off():
    dataset, sampler = make_stage(), Sampler(seeded(6), CPU)
    samples = draw_samples(dataset, torch.arange(6), STILL, STIFF, 0.8, 128, MIRROR, sampler)
    torch.testing.assert_close(samples.landmarks.mean(1), torch.full((6, 2), 63.5), rtol=0, atol=0.1)
    assert (samples.landmarks.amax(1) - samples.landmarks.amin(1)).amin() > 50


def test_a_seed_repeats():
    dataset, rows, jitter = make_stage(), torch.tensor([0, 3]), PoseJitter(rotation=0.3, scale=0.1, translation=3.0)
    one, other = (
        draw_samples(dataset, rows, jitter, STIFF, 0.8, 64, MIRROR, Sampler(seeded(7), CPU)) for _ in range(2)
    )
    assert torch.equal(one.gray, other.gray) and torch.equal(one.landmarks, other.landmarks)
