"""The shape that most landmarks agree on is the right one, however wrong the others are."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.quality.robust_fit import robust_fit


def everything(faces: torch.Tensor) -> torch.Tensor:
    return torch.ones(faces.shape[:2], dtype=torch.bool)


def test_faces_of_the_model_are_found_again(detector, faces):
    shape = robust_fit(detector.model.pdm, faces, everything(faces))
    assert shape.residuals.amax() < 1.5 and shape.mahalanobis.amax() < 1
    torch.testing.assert_close(shape.landmarks, faces, atol=1.5, rtol=0)


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_wrong_landmarks_do_not_pull(detector, faces, share):
    rng = torch.Generator().manual_seed(1)
    wrong = torch.rand(6, 68, generator=rng) < share
    away = 60 + 200 * torch.rand(6, 68, 2, generator=rng)
    shape = robust_fit(detector.model.pdm, torch.where(wrong[..., None], faces + away, faces), everything(faces))
    torch.testing.assert_close(shape.landmarks, faces, atol=4.0, rtol=0)
    assert (shape.residuals[wrong] > 30).all() and (shape.residuals[~wrong] < 4).all()


def test_landmarks_that_do_not_count_may_be_anything(detector, faces):
    trusted = everything(faces)
    trusted[:, 3], trusted[5] = False, False
    holed = faces.clone()
    holed[:, 3] = torch.nan
    shape = robust_fit(detector.model.pdm, holed, trusted)
    torch.testing.assert_close(shape.landmarks[:5], faces[:5], atol=2.5, rtol=0)
    assert shape.residuals[:, 3].isinf().all() and shape.landmarks.isfinite().all()


def test_a_tilted_head_is_tilted(detector):
    mean = detector.model.pdm.mean
    turned = torch.stack([mean[:, 0] * torch.tensor(0.7).cos() + mean[:, 2] * torch.tensor(0.7).sin(), mean[:, 1]], -1)
    shape = robust_fit(detector.model.pdm, torch.stack((mean[:, :2], turned)) + 100, everything(torch.zeros(2, 68)))
    torch.testing.assert_close(shape.tilt, torch.tensor([0.0, 0.7]), atol=0.03, rtol=0)
