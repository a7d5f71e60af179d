"""Spoilt landmarks: each kind does what it says, a seed means one outcome, and other faces are spared."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clnf_torch.training.augmentation.landmark_corruption import CORRUPTIONS, corrupt_landmarks

ONLY = {
    "eyes swapped": range(36, 48),
    "eyes crossed": range(36, 48),
    "mouth inverted": range(48, 68),
    "jaw collapsed": range(17),
    "jaw dragged": range(17),
}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def mean() -> Tensor:
    """Something as wide as high with the jaw around it and the mouth below."""
    around = torch.linspace(0, torch.pi, 17)
    jaw = torch.stack([-32 * around.cos(), 36 * around.sin()], 1)
    grid = torch.cartesian_prod(torch.linspace(-24, 24, 8), torch.linspace(-24, 20, 7))[:51]
    return torch.cat([jaw, grid]) + torch.rand(68, 2, generator=seeded(9))  # no two distances alike


@pytest.fixture
def faces(mean) -> Tensor:
    return (2 * mean + 100).repeat(8, 1, 1) + torch.arange(8.0)[:, None, None]


def of_kind(faces, mean, name, seed=1):
    return corrupt_landmarks(faces, torch.full((len(faces),), list(CORRUPTIONS).index(name)), mean, seeded(seed))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_kind_moves_landmarks_and_stays_finite(faces, mean, name):
    corrupted = of_kind(faces, mean, name)
    moved = torch.linalg.vector_norm(corrupted - faces, dim=-1)
    assert corrupted.isfinite().all() and (moved.amax(1) > 2).all()
    if name in ONLY:
        assert set(moved.amax(0).nonzero().flatten().tolist()) <= set(ONLY[name])


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_it_grows_with_the_face_and_goes_with_it(faces, mean, name):
    torch.testing.assert_close(
        of_kind(3 * faces - 50, mean, name), 3 * of_kind(faces, mean, name) - 50, atol=1e-2, rtol=0
    )


def test_a_seed_means_one_outcome(faces, mean):
    assert torch.equal(of_kind(faces, mean, "noisy"), of_kind(faces, mean, "noisy"))
    assert not torch.equal(of_kind(faces, mean, "noisy"), of_kind(faces, mean, "noisy", seed=2))


def test_each_face_gets_its_kind_and_others_stay(faces, mean):
    kind = torch.tensor([-1, 0, -1, 5, 2, -1, 11, -1])
    corrupted = corrupt_landmarks(faces, kind, mean, seeded(1))
    assert torch.equal(corrupted[kind < 0], faces[kind < 0])
    assert all(not torch.equal(one, other) for one, other in zip(corrupted[kind >= 0], faces[kind >= 0], strict=True))


def test_eyes_are_exchanged(faces, mean):
    corrupted = of_kind(faces, mean, "eyes swapped")
    assert torch.equal(corrupted[:, 36:42], faces[:, 42:48]) and torch.equal(corrupted[:, 42:48], faces[:, 36:42])


def test_a_drifted_face_is_upright_and_the_mean(faces, mean):
    turned = torch.stack((-faces[..., 1], faces[..., 0]), -1)
    corrupted = of_kind(turned, mean, "drifted to the mean")
    centred = corrupted - corrupted.mean(1, keepdim=True)
    shape = (mean - mean.mean(0)).expand_as(centred)
    likeness = (centred * shape).sum((1, 2)) / (centred.flatten(1).norm(dim=1) * shape.flatten(1).norm(dim=1))
    assert (likeness > 0.85).all()  # cos 0.4 and some noise
