"""Each check by itself: a measurement of 1 at its threshold, 0 where nothing is known to measure."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clnf_torch.quality import REASONS, QualityConfig
from clnf_torch.quality.checks import CHECKS, Evidence, box_scale_ratio, run_checks
from clnf_torch.quality.robust_fit import robust_fit

LIMITS = QualityConfig()


@pytest.fixture
def evidence(detector, faces) -> Evidence:
    """Plausible faces of which nothing else is known."""
    known = torch.ones(faces.shape[:2], dtype=torch.bool)
    return Evidence(landmarks=faces, known=known, shape=robust_fit(detector.model.pdm, faces, known))


def violation(reason: str, evidence: Evidence) -> torch.Tensor:
    (check,) = [check for check in CHECKS if check.reason == reason]
    return check.violation(evidence, LIMITS)


def test_every_check_has_its_own_reason():
    assert len(set(REASONS)) == len(CHECKS) and REASONS == tuple(check.reason for check in CHECKS)


@pytest.mark.parametrize("reason", ["not finite", "outside", "jumped", "unlikely", "unsure"])
def test_nothing_known_is_no_violation(evidence, reason):
    assert violation(reason, evidence).tolist() == [0.0] * 6


def test_driver_runs_all_in_order(evidence):
    found = run_checks(replace(evidence, confidence=torch.full((6,), torch.nan)), LIMITS)
    assert found.shape == (6, len(REASONS)) and found[:, -1].isinf().all()
    torch.testing.assert_close(found[:, 1], violation("implausible", evidence))


def test_shares_outside_are_relative_to_their_thresholds(evidence):
    outside = torch.zeros(6, 68, dtype=torch.bool)
    outside[0, :17], outside[1, :34] = True, True
    found = violation("outside", replace(evidence, outside_image=outside))
    torch.testing.assert_close(found, torch.tensor([1.0, 2.0, 0.0, 0.0, 0.0, 0.0]))


def test_jumps_are_millimetres_to_the_nearer_adjacent_frame(evidence):
    pixels = evidence.shape.params.scale[:, None, None] * torch.tensor([LIMITS.jump, 0.0])
    adjacent = (evidence.landmarks + 3 * pixels, evidence.landmarks - 2 * pixels)
    torch.testing.assert_close(violation("jumped", replace(evidence, adjacent=adjacent)), torch.full((6,), 2.0))


def test_agreement_and_confidence_are_measured_from_one(evidence):
    low = torch.tensor([1.0, 0.8, 0.6, 0.4, 0.2, 0.0])
    has_image = torch.tensor([True] * 5 + [False])
    judged = replace(evidence, mean_agreement=low, min_agreement=0.6, has_image=has_image, confidence=low)
    torch.testing.assert_close(violation("unlikely", judged), torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 0.0]))
    torch.testing.assert_close(violation("unsure", judged), torch.tensor([0.0, 0.4, 0.8, 1.2, 1.6, 2.0]))


def test_box_scales_compare_square_roots_of_areas():
    landmarks = torch.tensor([[[0.0, 0.0], [20.0, 20.0]]]).expand(3, 2, 2)
    boxes = torch.tensor([[0.0, 0, 20, 20], [0, 0, 40, 40], [0, 0, torch.nan, 40]])
    torch.testing.assert_close(box_scale_ratio(landmarks, boxes), torch.tensor([0.0, 2.0, 1.0]).clamp_min(1).log())
