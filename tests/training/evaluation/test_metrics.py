"""The field's numbers on errors that can be counted by hand, and on OpenFace's landmarks of AFW."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from clnf_torch.geometry.landmarks68 import INNER_POINTS
from clnf_torch.training.data.annotations import read_annotations
from clnf_torch.training.evaluation.metrics import cumulative_curve, face_errors, quantile, roc_auc, score


@pytest.fixture
def truth(rng) -> torch.Tensor:
    """Three faces whose outer eye corners are 50 pixels apart."""
    truth = 100 * torch.rand(3, 68, 2, generator=rng)
    truth[:, 36], truth[:, 45] = torch.tensor([10.0, 20.0]), torch.tensor([40.0, 60.0])
    return truth


def test_an_error_is_a_share_of_the_eyes_distance(truth):
    moved = truth + torch.tensor([3.0, 4.0])
    torch.testing.assert_close(face_errors(moved, truth), torch.full((3,), 0.1))


def test_the_jaw_is_not_among_the_inner_points(truth):
    found = truth.clone()
    found[:, :17] += 1000
    found[0, 17] += torch.tensor([51 * 5.0, 0.0])
    torch.testing.assert_close(face_errors(found, truth, INNER_POINTS), torch.tensor([0.1, 0.0, 0.0]))
    assert (face_errors(found, truth) > 5).all()


def test_a_face_without_landmarks_is_infinitely_wrong(truth):
    found = truth.clone()
    found[1, 40, 0] = math.nan
    assert face_errors(found, truth).tolist() == [0, math.inf, 0]


def test_numbers_by_hand():
    numbers = score(torch.tensor([0.02, 0.04, 0.08, 0.09, math.inf]))
    assert (numbers.faces, numbers.not_found) == (5, 1)
    assert numbers.mean == pytest.approx(0.0575)
    assert numbers.median == pytest.approx(0.08)
    assert numbers.percentile_90 == math.inf
    assert (numbers.failure_rate_008, numbers.failure_rate_010) == (pytest.approx(0.4), pytest.approx(0.2))
    assert numbers.auc_008 == pytest.approx((0.75 + 0.5) / 5)


def test_no_faces_have_no_numbers():
    numbers = score(torch.zeros(0))
    assert (
        numbers.faces == 0 and math.isnan(numbers.mean) and math.isnan(numbers.median) and math.isnan(numbers.auc_008)
    )


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_quantiles_are_numpys(rng, share):
    errors = torch.rand(38, generator=rng, dtype=torch.float64)
    assert quantile(errors, share) == pytest.approx(np.quantile(errors.numpy(), share))


def test_the_area_is_that_under_the_curve(rng):
    errors = 0.2 * torch.rand(500, generator=rng)
    places, shares = cumulative_curve(errors, 0.08, steps=8000)
    assert score(errors).auc_008 == pytest.approx(float(torch.trapezoid(shares, places)) / 0.08, abs=1e-4)


def test_the_curve_counts():
    places, shares = cumulative_curve(torch.tensor([0.05, 0.1, math.inf, 0.3]), 0.2, steps=4)
    torch.testing.assert_close(places, torch.tensor([0, 0.05, 0.1, 0.15, 0.2], dtype=torch.float64))
    torch.testing.assert_close(shares[[0, 3, 4]], torch.tensor([0, 0.5, 0.5], dtype=torch.float64), check_dtype=False)


@pytest.mark.parametrize(
    ("key", "mean", "median"), [("ccnf_default", 0.1107, 0.0561), ("ccnf_multiview", 0.0606, 0.0465)]
)
def test_openface_on_afw(shared, key, mean, median):
    faces = read_annotations(shared / "faces").of_split("afw")
    reference = np.load(shared / "golden" / "afw_reference.npz")
    assert [f"{path.parent.name}/{path.name}" for path in faces.images] == reference["names"].tolist()
    numbers = score(face_errors(torch.from_numpy(reference[key]), faces.landmarks))
    assert (round(numbers.mean, 4), round(numbers.median, 4)) == (mean, median)


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
