"""Poor landmarks are fitted again, inliers stay as they are, it is counted; and the landmarks of adjacent frames."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.quality import (
    REASONS,
    QualityConfig,
    RepairStatistics,
    adjacent_frames,
    check_landmark_quality,
    repair_landmarks,
)
from clnf_torch.quality.repair import MIN_INLIERS, NEAR_FIT, NEAR_SHAPE, inliers_of
from clnf_torch.training.augmentation.landmark_corruption import CORRUPTIONS, corrupt_landmarks

CONFIG = QualityConfig(min_expert_agreement=0.05)  # the free model's experts agree on little
SETTINGS = {"config": CONFIG, "multi_view": False}  # and find faces at any angle
KINDS = ("eyes swapped", "mouth inverted", "jaw dragged", "drawn to a pen mark", "noisy", "outside")


@pytest.fixture(scope="module")
def corrupted(detector, fitted):
    """A good face, and what became of it in six ways."""
    kind = torch.tensor([-1, *(list(CORRUPTIONS).index(name) for name in KINDS)])
    mean = detector.model.pdm.mean[:, :2]
    return corrupt_landmarks(fitted.repeat(len(kind), 1, 1), kind, mean, torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def repaired(detector, image, corrupted):
    return repair_landmarks(corrupted, detector, image, torch.zeros(len(corrupted), dtype=torch.int64), **SETTINGS)


def test_poor_faces_are_fitted_again_and_become_good(repaired, corrupted, fitted):
    assert repaired.before.poor.tolist() == [False, *(True for _ in KINDS)] == repaired.refitted.tolist()
    assert not repaired.after.poor.any() and (repaired.after.score >= repaired.before.score).all()
    away = [
        torch.linalg.vector_norm(landmarks - fitted, dim=-1).mean(-1) for landmarks in (corrupted, repaired.landmarks)
    ]
    assert (away[1][1:] < 8).all() and away[1].mean() < away[0].mean() / 4


def test_good_faces_stay_as_they_are_to_the_last_bit(detector, image, fitted):
    landmarks = fitted.double() + 1e-9  # more digits than the detector computes with
    done = repair_landmarks(landmarks, detector, image, **SETTINGS)
    assert torch.equal(done.landmarks, landmarks) and done.landmarks.dtype == torch.float64
    assert done.landmarks is not landmarks and not done.refitted.any()
    assert torch.equal(done.after.violation, done.before.violation)


def test_what_was_given_is_not_changed(detector, image, corrupted):
    kept = corrupted.clone()
    repair_landmarks(corrupted[1:2], detector, image, **SETTINGS)
    assert torch.equal(corrupted, kept)


def test_arrays_and_lists_are_repaired_as_tensors(detector, image, corrupted, fitted):
    low = fitted.amin(1)
    some, boxes = corrupted[:2], torch.cat((low, fitted.amax(1) - low), 1).repeat(2, 1)
    given = {"boxes": boxes, "previous": some, "following": some, "confidence": torch.tensor([0.9, 0.8])}
    expected = repair_landmarks(some, detector, image, torch.zeros(2, dtype=torch.int64), **given, **SETTINGS)
    arrays = {name: value.numpy() for name, value in given.items()}
    done = repair_landmarks(some.numpy(), detector, image.numpy(), np.zeros(2, np.int64), **arrays, **SETTINGS)
    torch.testing.assert_close(done.landmarks, expected.landmarks, rtol=0, atol=0)
    assert expected.refitted.tolist() == done.refitted.tolist() == [False, True]
    lists = {name: value.tolist() for name, value in given.items()}
    done = repair_landmarks(some.tolist(), detector, image, [0, 0], **lists, **SETTINGS)
    torch.testing.assert_close(done.landmarks, expected.landmarks, rtol=0, atol=0)


@pytest.mark.parametrize("as_given", [torch.Tensor.long, lambda given: given.int().numpy()])
def test_fits_of_whole_numbers_are_not_rounded(detector, image, corrupted, as_given):
    whole = corrupted[1:2].round()
    expected = repair_landmarks(whole, detector, image, **SETTINGS)
    done = repair_landmarks(as_given(whole), detector, image, **SETTINGS)
    assert done.refitted.all() and done.landmarks.dtype == torch.float32
    torch.testing.assert_close(done.landmarks, expected.landmarks, rtol=0, atol=0)


def test_faces_do_not_see_each_other(detector, image, corrupted):
    image_index = torch.zeros(len(corrupted), dtype=torch.int64)
    together = repair_landmarks(corrupted, detector, image, image_index, **SETTINGS)
    for row in (0, 2, 5):
        alone = repair_landmarks(corrupted[row : row + 1], detector, image, **SETTINGS)
        assert torch.equal(alone.landmarks[0], together.landmarks[row])
        assert alone.refitted[0] == together.refitted[row]


def test_unknown_faces_are_found_by_their_box(detector, image, fitted):
    unknown = torch.full((3, 68, 2), torch.nan)
    low = fitted.amin(1)
    boxes = torch.cat((low, fitted.amax(1) - low), 1).repeat(3, 1)
    boxes[1] = torch.nan
    image_index = torch.tensor([0, 0, 9])  # the last one is in no frame
    done = repair_landmarks(unknown, detector, image, image_index, boxes=boxes, **SETTINGS)
    assert done.refitted[0] and not done.refitted[2]
    assert torch.linalg.vector_norm(done.landmarks[0] - fitted[0], dim=-1).mean() < 8
    assert done.landmarks[2].isnan().all() and done.after.poor[2]


def unlucky(fitted: torch.Tensor) -> dict[str, torch.Tensor]:
    """Landmarks (68, 2) that say little about a face, or nothing."""
    few = {}
    for known in range(8):
        few[f"{known} known"] = torch.full_like(fitted[0], torch.nan)
        few[f"{known} known"][:known] = fitted[0, :known]
    along = torch.linspace(0, 1, 68)[:, None] * torch.tensor([30.0, 40.0])
    return few | {
        "two known, far from each other": few["2 known"] * torch.tensor([[1.0], [1e4], *[[1.0]] * 66]),
        "all equal": fitted[0, :1].expand(68, 2),
        "all zero": torch.zeros_like(fitted[0]),
        "collinear": fitted[0, :1] + along,
        "far away": fitted[0] + 3e5,
        "too far to count": fitted[0] * 1e30,
        "infinite": torch.full_like(fitted[0], torch.inf),
        "one infinite": fitted[0].index_fill(0, torch.tensor([30]), -torch.inf),
        "outside the image": fitted[0] - 500,
        "tiny": fitted[0, 30] + 1e-6 * (fitted[0] - fitted[0, 30]),
        "huge": fitted[0, 30] + 1e3 * (fitted[0] - fitted[0, 30]),
        "upside down": fitted[0].flip(1),
        "any order": fitted[0, torch.randperm(68, generator=torch.Generator().manual_seed(1))],
    }


def test_a_repair_is_never_worse_than_the_fault(detector, image, fitted):
    given = torch.stack([*unlucky(fitted).values()])
    done = repair_landmarks(given, detector, image, torch.zeros(len(given), dtype=torch.int64), **SETTINGS)
    assert not (done.refitted & done.unrepaired).any() and not done.after.poor[done.refitted].any()
    torch.testing.assert_close(done.landmarks[~done.refitted], given[~done.refitted], rtol=0, atol=0, equal_nan=True)
    repaired, edge = done.landmarks[done.refitted], torch.tensor([image.shape[3], image.shape[2]])
    assert ((repaired > -0.5) & (repaired < edge - 0.5)).all(-1).float().mean(-1).ge(0.75).all()
    failed = {name for name, poor in zip(unlucky(fitted), done.unrepaired.tolist(), strict=True) if poor}
    assert failed >= {*(f"{known} known" for known in range(8)), "infinite", "too far to count", "all equal"}
    assert "one infinite" not in failed
    assert done.statistics.poor_after == len(failed)
    assert f", {len(failed)} poor ones without a better fit\n" in str(done.statistics)


@pytest.mark.parametrize(("supported", "clear"), [(False, False), (True, False), (False, True)])
def test_a_fit_far_from_what_was_given_needs_consent(detector, image, fitted, monkeypatch, supported, clear):
    def doubting(name):
        real = getattr(LandmarkDetector, name)

        def doubted(self, *arguments, **options):
            fit = real(self, *arguments, **options)
            return replace(fit, confidence=fit.confidence * 0.5, success=torch.zeros_like(fit.success))

        return doubted

    for name in ("fit", "fit_from_params"):
        monkeypatch.setattr(LandmarkDetector, name, doubting(name))
    monkeypatch.setattr("clnf_torch.quality.repair.MIN_SUPPORT", 0.25 if supported else 1.1)
    monkeypatch.setattr("clnf_torch.quality.repair.CLEARLY_SEEN", 1.0 if clear else 0.0)
    crossed = fitted.clone()
    crossed[:, 36:48] = crossed[:, [*range(42, 48), *range(36, 42)]]
    done = repair_landmarks(crossed, detector, image, **SETTINGS)
    assert done.refitted.item() == (supported or clear) != done.unrepaired.item()


def test_few_landmarks_are_repaired_by_a_box(detector, image, fitted):
    low = fitted.amin(1)
    box = torch.cat((low, fitted.amax(1) - low), 1)
    done = repair_landmarks(unlucky(fitted)["2 known"][None], detector, image, boxes=box, **SETTINGS)
    assert done.refitted.all() and not done.unrepaired.any() and not done.after.poor.any()
    assert torch.linalg.vector_norm(done.landmarks - fitted, dim=-1).mean() < 8


@pytest.mark.parametrize("confidence", [0.0, torch.nan])
def test_confidence_without_sense_repairs_no_face_for_the_worse(detector, image, fitted, confidence):
    done = repair_landmarks(fitted, detector, image, confidence=torch.tensor([confidence]), **SETTINGS)
    assert done.landmarks.isfinite().all() and not done.after.poor[done.refitted].any()
    assert torch.linalg.vector_norm(done.landmarks - fitted, dim=-1).mean() < 8


def test_doubted_faces_are_fitted_again(detector, image, fitted):
    done = repair_landmarks(fitted, detector, image, confidence=torch.tensor([0.1]), **SETTINGS)
    assert done.before.reasons["unsure"].all() and done.refitted.all() and not done.after.poor.any()


def test_statistics_count_faces_and_reasons(repaired):
    counted = repaired.statistics
    assert (counted.faces, counted.refitted, counted.poor_before, counted.poor_after) == (7, 6, 6, 0)
    assert dict(zip(REASONS, counted.before, strict=True))["eyes crossed"] >= 1 and sum(counted.after) == 0
    assert str(counted).startswith("7 faces, 6 fitted again\npoor before   85.7%   after    0.0%\n")
    assert "  eyes crossed" in str(counted) and "jumped" not in str(counted)


def test_statistics_of_batches_add_up(detector, image, corrupted, repaired):
    total = RepairStatistics()
    for some in corrupted.split(3):
        image_index = torch.zeros(len(some), dtype=torch.int64)
        total += repair_landmarks(some, detector, image, image_index, **SETTINGS).statistics
    assert total == repaired.statistics


def test_no_faces_and_no_poor_faces(detector, image):
    done = repair_landmarks(torch.zeros(0, 68, 2), detector, image)
    assert done.landmarks.shape == (0, 68, 2) and done.statistics == RepairStatistics()
    assert repair_landmarks([], detector, image).landmarks.shape == (0, 68, 2)


def test_faces_need_a_frame_each(detector, image, corrupted):
    with pytest.raises(ValueError, match="7 faces in 2 frames"):
        repair_landmarks(corrupted, detector, image.repeat(2, 1, 1, 1))


def test_inliers_of_poor_faces_stay(detector, image, fitted, monkeypatch):
    monkeypatch.setattr("clnf_torch.quality.repair.MIN_AGREEMENT", 0.0)  # the free model's experts have no opinion
    crossed = fitted.double() + 1e-9
    crossed[:, 36:48] = crossed[:, [*range(42, 48), *range(36, 42)]]
    done = repair_landmarks(crossed, detector, image, **SETTINGS)
    assert done.refitted.all() and done.before.reasons["eyes crossed"].all() and not done.after.poor.any()
    assert not done.inliers[:, 36:48].any() and done.inliers.sum() > 45
    assert torch.equal(done.landmarks[done.inliers], crossed[done.inliers])
    everything = repair_landmarks(crossed, detector, image, keep_inliers=False, **SETTINGS)
    assert not everything.inliers.any() and not torch.equal(everything.landmarks[:, :17], crossed[:, :17])


def test_nothing_stays_that_the_other_method_is_unsure_of(detector, image, fitted):
    done = repair_landmarks(fitted, detector, image, confidence=torch.tensor([0.1]), **SETTINGS)
    assert done.refitted.all() and not done.inliers.any()


def quality_of(detector, landmarks):
    """Their quality, all experts in favour."""
    quality = check_landmark_quality(landmarks, detector)
    return replace(quality, expert_agreement=torch.ones_like(quality.expert_agreement))


def test_shape_fit_and_expert_each_reject_a_landmark(detector, fitted):
    quality = quality_of(detector, fitted)
    pixels = quality.shape.params.scale[0]
    assert inliers_of(fitted, fitted, quality).all()
    elsewhere, odd, unseen = fitted.clone(), quality.shape.residuals.clone(), quality.expert_agreement.clone()
    elsewhere[0, 5, 0] += 1.1 * NEAR_FIT * pixels
    odd[0, 6] = 1.1 * NEAR_SHAPE
    unseen[0, 7] = 0.1
    doubted = replace(quality, expert_agreement=unseen, shape=replace(quality.shape, residuals=odd))
    inliers = inliers_of(fitted, elsewhere, doubted)
    assert (~inliers[0]).nonzero().flatten().tolist() == [5, 6, 7]


def test_too_few_inliers_are_none(detector, fitted):
    quality = quality_of(detector, fitted.repeat(2, 1, 1))
    agreement = quality.expert_agreement.clone()
    few = round(68 * MIN_INLIERS)
    agreement[0, : 68 - few + 1] = 0
    agreement[1, : 68 - few - 1] = 0
    inliers = inliers_of(*[fitted.repeat(2, 1, 1)] * 2, replace(quality, expert_agreement=agreement))
    assert not inliers[0].any() and inliers[1].sum() == few + 1


def test_without_frames_there_are_no_inliers(detector, fitted):
    assert not inliers_of(fitted, fitted, check_landmark_quality(fitted, detector)).any()


def test_frames_before_and_after_are_found_in_any_order():
    image_index = torch.tensor([7, 5, 6, 9])
    landmarks = image_index[:, None, None].float().expand(4, 68, 2)
    before, after = adjacent_frames(landmarks, image_index)
    nan = float("nan")
    torch.testing.assert_close(before[:, 0, 0], torch.tensor([6.0, nan, 5.0, nan]), equal_nan=True)
    torch.testing.assert_close(after[:, 67, 1], torch.tensor([nan, 6.0, 7.0, nan]), equal_nan=True)


def test_adjacent_frames_of_arrays_and_lists():
    landmarks, frame, identity = np.random.default_rng(1).normal(size=(3, 68, 2)), [5, 6, 6], np.array([1, 1, 2])
    expected = adjacent_frames(torch.as_tensor(landmarks), torch.tensor(frame), torch.as_tensor(identity))
    torch.testing.assert_close(adjacent_frames(landmarks, frame, identity), expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"landmarks": torch.zeros(2, 136)}, "landmarks are torch.float32 of shape (2, 136); expected real numbers of"),
        ({"landmarks": torch.zeros(2, 68, 2) > 0}, "landmarks are torch.bool of shape (2, 68, 2); expected real"),
        ({"landmarks": []}, "landmarks are torch.float32 of shape (0,); expected"),
        ({"frame": [1, 2, 3]}, "frame is torch.int64 of shape (3,); expected one whole number per face, (2,)"),
        ({"frame": [True, False]}, "frame is torch.bool of shape (2,); expected one whole number per face"),
        ({"identity": 1}, "identity are of type int; expected a tensor"),
        ({"identity": np.array([1j, 2])}, "identity is torch.complex128 of shape (2,); expected one whole number"),
    ],
)
def test_adjacent_frames_of_other_shapes_are_refused(change, sentence):
    given = {"landmarks": torch.zeros(2, 68, 2), "frame": [1, 2], "identity": [0, 0], **change}
    with pytest.raises(ValueError, match=re.escape(sentence)):
        adjacent_frames(**given)


def test_faces_are_kept_apart():
    image_index, identity = torch.tensor([0, 1, 1, 2, 0]), torch.tensor([4, 4, -2, -2, 9])
    landmarks = (10.0 * identity + image_index)[:, None, None].expand(5, 68, 2)
    before, after = adjacent_frames(landmarks, image_index, identity)
    nan = float("nan")
    torch.testing.assert_close(before[:, 3, 0], torch.tensor([nan, 40.0, nan, -19.0, nan]), equal_nan=True)
    torch.testing.assert_close(after[:, 3, 0], torch.tensor([41.0, nan, -18.0, nan, nan]), equal_nan=True)


def test_no_faces():
    before, after = adjacent_frames(torch.zeros(0, 68, 2), torch.zeros(0, dtype=torch.int64))
    assert before.shape == after.shape == (0, 68, 2)


def test_a_regularisation_per_face_is_refused_in_a_sentence(detector, image, fitted):
    preset = replace(detector.preset("default"), regularisation=torch.tensor([20.0]))
    with pytest.raises(ValueError, match=r"preset has a regularisation per face; only poor faces .*: give one number"):
        repair_landmarks(fitted, detector, image, preset=preset)
