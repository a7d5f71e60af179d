"""Landmarks stay where the others, the fit and their own expert agree, and enough of them do."""

from __future__ import annotations

from dataclasses import replace

import torch

from clnf_torch.quality import check_landmark_quality
from clnf_torch.quality.repair import ENOUGH, NEAR_FIT, NEAR_SHAPE, good_landmarks


def judged(detector, landmarks):
    """Their quality, all experts in favour."""
    quality = check_landmark_quality(landmarks, detector)
    return replace(quality, support=torch.ones_like(quality.support))


def test_each_of_the_three_has_a_veto(detector, fitted):
    quality = judged(detector, fitted)
    pixels = quality.shape.params.scale[0]
    assert good_landmarks(fitted, fitted, quality).all()
    elsewhere, odd, unseen = fitted.clone(), quality.shape.residuals.clone(), quality.support.clone()
    elsewhere[0, 5, 0] += 1.1 * NEAR_FIT * pixels
    odd[0, 6] = 1.1 * NEAR_SHAPE
    unseen[0, 7] = 0.1
    doubted = replace(quality, support=unseen, shape=replace(quality.shape, residuals=odd))
    good = good_landmarks(fitted, elsewhere, doubted)
    assert (~good[0]).nonzero().flatten().tolist() == [5, 6, 7]


def test_too_few_are_none(detector, fitted):
    quality = judged(detector, fitted.repeat(2, 1, 1))
    support = quality.support.clone()
    few = round(68 * ENOUGH)
    support[0, : 68 - few + 1] = 0
    support[1, : 68 - few - 1] = 0
    good = good_landmarks(*[fitted.repeat(2, 1, 1)] * 2, replace(quality, support=support))
    assert not good[0].any() and good[1].sum() == few + 1


def test_without_frames_nothing_is_known_to_be_good(detector, fitted):
    assert not good_landmarks(fitted, fitted, check_landmark_quality(fitted, detector)).any()
