"""The chains of landmarks that pens follow."""

from __future__ import annotations

import torch

from clnf_torch.training.augmentation.facial_curves import FACIAL_CURVES, curve_ranges, curve_weights


def test_chains_go_through_their_landmarks(rng):
    landmarks = torch.rand(68, 2, generator=rng)
    for chain, weights in zip(FACIAL_CURVES, curve_weights(12 * 11 * 2 + 1), strict=True):
        curve = weights @ landmarks
        for anchor in chain.through:
            middle = landmarks[list(anchor) if isinstance(anchor, tuple) else [anchor]].mean(0)
            assert float((curve - middle).norm(dim=1).amin()) < 0.03


def test_chains_move_with_the_face(rng):
    landmarks = torch.rand(68, 2, generator=rng)
    weights = curve_weights(9)
    torch.testing.assert_close(weights @ (3 * landmarks + 7), 3 * (weights @ landmarks) + 7)


def test_every_chain_has_its_mirror_image_or_is_its_own(rng):
    mirror = torch.tensor([-1.0, 1.0])
    other_side = torch.tensor([
        *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
        45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
        54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
    ])  # fmt: skip
    face = torch.randn(68, 2, generator=rng)
    face = (face + face[other_side] * mirror) / 2  # a symmetric one
    curves = curve_weights(5) @ face
    both_ways = torch.cat([curves, curves.flip(1)])
    for curve in curves:
        assert float((both_ways - curve * mirror).abs().amax((1, 2)).amin()) < 1e-5


def test_ranges_are_in_order():
    ranges = curve_ranges()
    assert ranges.shape == (len(FACIAL_CURVES), 2, 2) and (ranges[:, 0] <= ranges[:, 1]).all()
