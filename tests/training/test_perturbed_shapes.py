"""Disturbed faces: from nearly right to hopeless, within what the shape model allows."""

from __future__ import annotations

import torch

from clnf_torch.models.pdm import ShapeParams
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.validator_samples import LOST, perturb_shapes
from tests.factories import M, make_pdm, seeded

CPU = torch.device("cpu")


def disturbed(count: int = 4000):
    pdm = make_pdm(torch.float32)
    one = ShapeParams(torch.ones(count), torch.zeros(count, 3), torch.full((count, 2), 50.0), torch.zeros(count, M))
    return pdm, pdm.landmarks(one), perturb_shapes(pdm, one, Sampler(seeded(4), CPU))


def test_some_lie_right_some_nearly_and_some_far_away():
    _, true, found = disturbed()
    error = (found - true).norm(dim=-1).mean(-1) / 62  # the eyes of this face are 62 mm apart
    shares = [
        float(((error > low) & (error < high)).float().mean()) for low, high in ((0, 0.08), (0.08, 0.3), (0.3, 9))
    ]
    assert min(shares) > 0.15
    assert shares[2] > 0.8 * LOST


def test_shapes_stay_within_the_limits_of_the_model():
    pdm, pose = make_pdm(torch.float32), (torch.ones(9), torch.zeros(9, 3), torch.zeros(9, 2))
    far, further = (
        perturb_shapes(pdm, ShapeParams(*pose, factor * pdm.local_limit.expand(9, -1)), Sampler(seeded(5), CPU))
        for factor in (100, 200)
    )
    assert torch.equal(far, further)


def test_the_same_seed_disturbs_alike():
    torch.testing.assert_close(disturbed(20)[2], disturbed(20)[2], rtol=0, atol=0)
