"""Landmarks are judged: good faces pass, every fault has its name, and faces do not see each other."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

import clnf_torch
from clnf_torch.quality import REASONS, LandmarkQuality, QualityConfig, check_landmark_quality
from clnf_torch.training.augmentation.landmark_corruption import CORRUPTIONS, corrupt_landmarks

EYES, MOUTH, JAW = "eyes crossed", "mouth crossed", "jaw collapsed"
FOUND_BY = {
    "eyes swapped": (EYES, "implausible"),
    "eyes crossed": (EYES,),
    "mouth inverted": (MOUTH,),
    "jaw collapsed": ("implausible",),
    "jaw dragged": (JAW,),
    "drawn to a pen mark": ("implausible",),
    "noisy": ("implausible",),
    "outside": ("implausible",),
}  # without an image


def named(quality: LandmarkQuality) -> list[set[str]]:
    """The reasons of each face."""
    return [{name for name, row in quality.reasons.items() if row[face]} for face in range(len(quality))]


def corrupted(detector, faces, name, seed=3):
    kind = torch.full((len(faces),), list(CORRUPTIONS).index(name))
    return corrupt_landmarks(faces, kind, detector.model.pdm.mean[:, :2], torch.Generator().manual_seed(seed))


def test_plausible_faces_are_good(detector, faces):
    quality = check_landmark_quality(faces, detector, size=(400, 400))
    assert named(quality) == [set()] * 6
    assert not quality.poor.any() and (quality.score > 0.6).all() and not quality.outliers.any()


@pytest.mark.parametrize("name", FOUND_BY)
def test_every_fault_is_found_and_named(detector, faces, name):
    quality = check_landmark_quality(corrupted(detector, faces, name), detector)
    assert quality.poor.all() and (quality.score < 0.5).all()
    assert all(reasons >= set(FOUND_BY[name]) for reasons in named(quality))


@pytest.mark.parametrize(("name", "points"), [("eyes swapped", range(36, 48)), ("outside", None)])
def test_the_landmarks_to_blame_are_outliers(detector, faces, name, points):
    wrong = corrupted(detector, faces, name)
    moved = torch.linalg.vector_norm(wrong - faces, dim=-1) > 30
    quality = check_landmark_quality(wrong, detector)
    assert torch.equal(quality.outliers, moved)
    assert points is None or moved[:, list(points)].all()


def test_arrays_and_lists_are_judged_as_tensors(detector, faces):
    frames, index = 255 * torch.rand(2, 400, 400, generator=torch.Generator().manual_seed(2)), torch.arange(6) % 2
    given = {"frames": frames, "image_index": index, "boxes": torch.tensor([[120.0, 120.0, 160.0, 160.0]] * 6)}
    given |= {"previous": faces, "following": faces + 1, "confidence": torch.linspace(0, 1, 6)}
    expected = check_landmark_quality(faces, detector, **given)
    for convert in (torch.Tensor.numpy, torch.Tensor.tolist):
        others = {name: value if name == "frames" else convert(value) for name, value in given.items()}
        found = check_landmark_quality(convert(faces), detector, **others)
        torch.testing.assert_close(found.violation, expected.violation, rtol=0, atol=0)


def test_a_single_outlier_makes_no_face_poor(detector, faces):
    wrong = faces.clone()
    wrong[2, 30] += torch.tensor([25.0, -25.0])
    quality = check_landmark_quality(wrong, detector)
    assert quality.outliers.nonzero().tolist() == [[2, 30]]
    assert not quality.poor.any()
    torch.testing.assert_close(quality.shape.landmarks[2, 30], faces[2, 30], atol=2.0, rtol=0)


def test_closed_eyes_and_lips_are_in_order(detector):
    face = (1.2 * detector.model.pdm.mean[:, :2] + 200)[None].clone()
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46), (61, 67), (62, 66), (63, 65)):
        face[:, lower] = face[:, upper] - torch.tensor([0.0, 0.5])  # as annotated by hand: not quite on each other
    assert not check_landmark_quality(face, detector).poor.any()


def test_what_is_not_finite_is_named(detector, faces):
    wrong = faces.clone()
    wrong[0, 5, 1], wrong[1, 7], wrong[2, 9, 0], wrong[3] = torch.nan, torch.inf, -1e30, torch.nan
    quality = check_landmark_quality(wrong, detector)
    assert [REASONS[0] in reasons for reasons in named(quality)] == [True] * 4 + [False] * 2
    assert quality.score[:4].tolist() == [0.0] * 4
    assert quality.outliers[0].nonzero().tolist() == [[5]] and quality.outliers[3].all()
    assert quality.shape.landmarks.isfinite().all() and not quality.violation.isnan().any()
    torch.testing.assert_close(quality.shape.landmarks[0, 5], faces[0, 5], atol=2.0, rtol=0)


def test_points_outside_the_image_or_the_box_are_named(detector, faces):
    assert named(check_landmark_quality(faces, detector, size=(400, 200))) == [{"outside"}] * 6
    low, high = faces.amin(1), faces.amax(1)
    boxes = torch.cat((low, high - low), 1)
    boxes[1, 0] += boxes[1, 2]  # beside the face
    boxes[2] = torch.cat((boxes[2, :2] - 2 * boxes[2, 2:], 5 * boxes[2, 2:]))  # five times as large
    boxes[3, 2] = torch.nan  # not known
    boxes[4, 3] = 0
    assert named(check_landmark_quality(faces, detector, boxes=boxes)) == [
        set(), {"outside"}, {"outside"}, set(), set(), set()
    ]  # fmt: skip


def test_a_face_that_jumped_away_and_back_is_named_and_its_adjacent_frames_are_not(detector, faces):
    clip = faces[:1].repeat(5, 1, 1)
    clip[2] += 80
    before, after = clip.roll(1, 0), clip.roll(-1, 0)
    before[0], after[4] = torch.nan, torch.nan
    quality = check_landmark_quality(clip, detector, previous=before, following=after)
    assert named(quality) == [set(), set(), {"jumped"}, set(), set()]
    alone = check_landmark_quality(clip, detector, previous=before)
    assert named(alone) == [set(), set(), {"jumped"}, {"jumped"}, set()]


def test_jumps_count_in_sizes_of_the_face(detector, faces):
    step = torch.tensor([12.0, 0.0])
    for factor, jumped in ((1.0, False), (0.3, True)):
        small = factor * faces
        quality = check_landmark_quality(small, detector, previous=small + step)
        assert quality.reasons["jumped"].tolist() == [jumped] * 6


@pytest.mark.parametrize("each", [(), (68,)])
def test_the_other_methods_doubts_are_named(detector, faces, each):
    confidence = torch.tensor([0.9, 0.4, 0.6, 0.1, 1.0, torch.nan]).view(6, *(1 for _ in each)).expand(6, *each)
    quality = check_landmark_quality(faces, detector, confidence=confidence)
    assert quality.reasons["unsure"].tolist() == [False, True, False, True, False, True]


def test_landmarks_beside_what_the_experts_see_are_unlikely(detector, image, fitted):
    moved = torch.cat((fitted, fitted + torch.tensor([40.0, 0.0])))
    image_index, unlikely, least = torch.zeros(2, dtype=torch.int64), REASONS.index("unlikely"), 0.1
    free = QualityConfig(min_expert_agreement=least)
    quality = check_landmark_quality(moved, detector, frames=image, image_index=image_index, config=free)
    agreement = 1 - quality.violation[:, unlikely] * (1 - least)  # the mean share of the best response nearby
    assert agreement[0] > agreement[1] + 0.01 and (agreement > 0).all() and (agreement < 1).all()
    between = QualityConfig(min_expert_agreement=float(agreement.mean()))
    quality = check_landmark_quality(moved, detector, frames=image, image_index=image_index, config=between)
    assert quality.reasons["unlikely"].tolist() == [False, True]
    nowhere = check_landmark_quality(fitted, detector, frames=image, image_index=torch.tensor([3]))
    assert nowhere.violation[0, unlikely] == 0


def test_faces_do_not_see_each_other(detector, faces, image):
    wrong = torch.cat((faces, corrupted(detector, faces, "noisy"), torch.full((1, 68, 2), torch.nan)))
    image_index = torch.zeros(13, dtype=torch.int64)
    together = check_landmark_quality(wrong, detector, frames=image, image_index=image_index)
    for row in (0, 5, 8, 12):
        alone = check_landmark_quality(wrong[row : row + 1], detector, frames=image, image_index=image_index[:1])
        torch.testing.assert_close(alone.violation, together.violation[row : row + 1], atol=1e-3, rtol=1e-3)
        assert torch.equal(alone.outliers, together.outliers[row : row + 1])


def test_moved_turned_and_scaled_faces_are_as_good(detector, faces):
    expected = check_landmark_quality(corrupted(detector, faces, "mouth inverted"), detector)
    cosine, sine = torch.tensor(0.6), torch.tensor(0.8)
    turned = (
        3 * corrupted(detector, faces, "mouth inverted") @ torch.stack((cosine, sine, -sine, cosine)).view(2, 2) - 900
    )
    found = check_landmark_quality(turned, detector)
    torch.testing.assert_close(found.violation, expected.violation, atol=0.05, rtol=0.05)


def test_no_faces(detector, image):
    quality = check_landmark_quality(torch.zeros(0, 68, 2), detector, frames=image)
    assert len(quality) == 0 and quality.poor.shape == quality.score.shape == (0,)


def test_bounds_may_be_changed(detector, faces):
    strict = replace(QualityConfig(), mean_residual=1e-3)
    assert check_landmark_quality(faces, detector, config=strict).reasons["implausible"].all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"landmarks": torch.zeros(2, 66, 2)}, r"expected real numbers of shape \(B, 68, 2\)"),
        ({"boxes": torch.zeros(2, 3)}, "boxes have shape"),
        ({"confidence": torch.zeros(4)}, "confidence has shape"),
        ({"previous": torch.zeros(2, 5, 2)}, "previous landmarks have shape"),
    ],
)
def test_wrong_shapes_are_refused(detector, faces, change, message):
    given = {"landmarks": faces[:2], **change}
    with pytest.raises(ValueError, match=message):
        check_landmark_quality(given.pop("landmarks"), detector, **given)


@pytest.mark.parametrize("kind", ["half", "int", "double", "numpy", "list"])
def test_numbers_of_every_type_are_judged(detector, faces, kind):
    values = getattr(faces, {"list": "tolist"}.get(kind, kind))()
    given = {"size": torch.tensor([400, 400]), "confidence": np.ones(6, np.float16), "boxes": np.ones((6, 4), int)}
    assert len(check_landmark_quality(values, detector, previous=values, **given)) == 6


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"boxes": torch.ones(2, 4)}, "boxes have 2 rows for 1 faces; give one per face, NaN where unknown"),
        ({"previous": torch.zeros(2, 68, 2)}, "previous landmarks have 2 rows for 1 faces; give one per face"),
        ({"following": []}, "following landmarks have 0 rows for 1 faces"),
        ({"size": (400,)}, "size is (400,); expected height and width of the images, pixels"),
        ({"size": ("a", "b")}, "size is ('a', 'b'); expected height"),
        ({"size": (-1, 5)}, "size is (-1, 5); expected height"),
        (
            {"confidence": torch.zeros(1, dtype=torch.complex64)},
            "confidence has shape (1,) and type torch.complex64; ",
        ),
    ],
)
def test_what_belongs_to_no_face_is_refused(detector, faces, change, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        check_landmark_quality(faces[:1], detector, **change)


@pytest.mark.parametrize("change", [{"mean_residual": 0.0}, {"jump": float("nan")}, {"min_expert_agreement": 1.0}])
def test_impossible_bounds_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        QualityConfig(**change)


def test_without_a_detector_the_installed_one_judges():
    installed = clnf_torch.load()
    mean = 2 * installed.model.pdm.mean[None, :, :2] + 300
    crossed = mean.clone()
    crossed[:, 36:48] = crossed[:, [*range(42, 48), *range(36, 42)]]
    faces = torch.cat((mean, crossed))
    quality = check_landmark_quality(faces)
    assert quality.poor.tolist() == [False, True] and EYES in named(quality)[1]
    assert torch.equal(quality.violation, check_landmark_quality(faces, installed).violation)
