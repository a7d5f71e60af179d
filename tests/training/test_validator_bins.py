"""Bins of error against the runtime's confidences, and the targets of the training."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.detection.validator import confidence_of, is_face
from clnf_torch.training.validator_network import bin_positions, passing_bins, soft_targets


def test_as_many_bins_pass_as_the_runtime_lets_pass():
    assert (passing_bins(20), passing_bins(30), passing_bins(4)) == (5, 8, 1)


@pytest.mark.parametrize(("bins", "passing"), [(20, 0.08), (20, 0.1), (30, 0.08), (4, 0.2)])
def test_errors_below_the_limit_are_what_the_runtime_takes_for_faces(bins, failure_limit):
    errors = torch.tensor([0, 0.021, 0.053, failure_limit - 1e-4, failure_limit + 1e-4, 0.3, 5, torch.inf])
    scores = soft_targets(errors, bins, failure_limit, target_sigma=0.3)
    assert is_face(confidence_of(scores)).tolist() == (errors < failure_limit).tolist()
    place = bin_positions(errors, bins, failure_limit).long()
    assert scores.argmax(-1).tolist() == place.tolist()


def test_places_are_even_and_the_last_bin_has_no_end():
    found = bin_positions(torch.tensor([0, 0.008, 0.08, 0.31, torch.inf]), bins=20, failure_limit=0.08)
    torch.testing.assert_close(found, torch.tensor([0, 0.5, 5, 19.375, 19.5]))


def test_targets_are_gaussians():
    found = soft_targets(
        torch.tensor([0.04]), bins=4, failure_limit=0.02, target_sigma=2.0
    )  # in the middle: one bin is 0.02 wide
    weights = torch.tensor([1.5, 0.5, 0.5, 1.5]).square().mul(-1 / 8).exp()
    torch.testing.assert_close(found[0], weights / weights.sum())
