"""How well confidences separate: by hand, with ties, with faces that were not found."""

from __future__ import annotations

import math

import pytest
import torch

from clnf_torch.training.validator_evaluation import roc_auc, validator_scores


def test_area_by_counting_pairs(rng):
    confidence = torch.randint(6, (80,), generator=rng) / 6  # many ties
    good = torch.rand(80, generator=rng) < 0.3 + 0.5 * confidence
    pairs = [
        1.0 if c > d else 0.5 if c == d else 0.0 for c in confidence[good].tolist() for d in confidence[~good].tolist()
    ]
    assert roc_auc(confidence, good) == pytest.approx(sum(pairs) / len(pairs))


def test_area_of_perfect_and_inverted_verdicts():
    good = torch.tensor([True, True, False])
    assert roc_auc(torch.tensor([0.9, 0.8, 0.1]), good) == 1
    assert roc_auc(torch.tensor([0.1, 0.1, 0.9]), good) == 0
    assert math.isnan(roc_auc(torch.tensor([0.1, 0.9]), torch.tensor([True, True])))


def test_numbers_by_hand():
    confidence = torch.tensor([0.975, 0.775, 0.725, 0.025, 0.875, 0.0])
    errors = torch.tensor([0.01, 0.07, 0.05, 0.5, 0.08, torch.inf])
    found = validator_scores(confidence, errors, limit=0.08)
    assert (found.fits, found.failed) == (6, 0.5)
    assert found.true_positive_rate == pytest.approx(2 / 3)  # 0.725 itself does not pass
    assert found.false_positive_rate == pytest.approx(1 / 3)
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.area == pytest.approx(7 / 9)
