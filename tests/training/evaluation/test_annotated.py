"""Landmarks found in images of several sizes are those found in each alone."""

from __future__ import annotations

import json

import pytest
import torch

import clnf_torch
from clnf_torch.converters import convert
from clnf_torch.media.images import read_image
from clnf_torch.training.evaluation.annotated import find_landmarks, stack_padded, validator_scores, with_pen_marks


@pytest.fixture(scope="module")
def detector(golden_dir, tmp_path_factory) -> clnf_torch.LandmarkDetector:
    path = tmp_path_factory.mktemp("bundle") / "free.pt"
    convert(golden_dir / "free_model", path)
    return clnf_torch.load(path)


@pytest.fixture(scope="module")
def image(golden_dir) -> torch.Tensor:
    return read_image(golden_dir / "free_model" / "image.png")


@pytest.fixture(scope="module")
def box(golden_dir) -> torch.Tensor:
    return torch.tensor(json.loads((golden_dir / "free_model" / "boxes.json").read_text())["image.png"][0])


def test_smaller_images_are_padded_on_the_right_and_below():
    stack = stack_padded([torch.full((2, 3), 5, dtype=torch.uint8), torch.full((4, 1), 7, dtype=torch.uint8)])
    assert stack.shape == (2, 4, 3) and stack.dtype == torch.uint8
    assert (stack[0, :2] == 5).all() and (stack[1, :, 0] == 7).all() and int(stack.sum()) == 6 * 5 + 4 * 7


@pytest.mark.parametrize("numerics", ["openface", "exact"])
def test_a_batch_of_sizes_finds_what_each_image_alone_does(detector, image, box, numerics):
    x, y, width, height = box.round().int().tolist()
    cut = image[:, : y + height - 9, : x + width - 14]  # the face is cut off where the padding begins
    images = [image, cut, image[:, 5:, 3:]]
    boxes = torch.stack([box, box, box - torch.tensor([3.0, 5.0, 0.0, 0.0])])
    exact = clnf_torch.LandmarkDetector(detector.model, numerics)
    told: list[int] = []
    together = find_landmarks(exact, images.__getitem__, boxes, batch=2, done=told.append)
    assert told == [2, 1]
    for row, alone in enumerate(images):
        result = exact.fit(alone[None], boxes[row][None])
        torch.testing.assert_close(together.landmarks[row], result.landmarks[0], atol=1e-3, rtol=0)
        assert together.success[row] == result.success[0]
    assert not torch.allclose(together.landmarks[0], together.landmarks[1], atol=0.1)


def test_a_face_without_a_box_is_not_found(detector, image, box):
    found = find_landmarks(detector, lambda _: image, torch.stack([box, torch.full((4,), torch.nan)]))
    assert found.landmarks[0].isfinite().all() and found.landmarks[1].isnan().all()
    assert not found.success[1]


def test_no_faces_are_found_in_no_images(detector):
    found = find_landmarks(detector, lambda _: torch.zeros(3, 9, 9), torch.zeros(0, 4))
    assert found.landmarks.shape == (0, 68, 2) and found.success.shape == (0,)


def test_pen_marks_belong_to_the_row_and_the_seed(image, detector, box):
    landmarks = detector.fit(image[None], box[None]).landmarks.expand(3, -1, -1)
    read = with_pen_marks(lambda _: image, landmarks, seed=4)
    assert torch.equal(read(1), read(1)) and not torch.equal(read(1), image)
    assert not torch.equal(read(1), read(2))
    assert not torch.equal(read(1), with_pen_marks(lambda _: image, landmarks, seed=5)(1))


def test_numbers_by_hand():
    confidence = torch.tensor([0.975, 0.775, 0.725, 0.025, 0.875, 0.0])
    errors = torch.tensor([0.01, 0.07, 0.05, 0.5, 0.08, torch.inf])
    found = validator_scores(confidence, errors, limit=0.08)
    assert (found.fits, found.failure_rate) == (6, 0.5)
    assert found.true_positive_rate == pytest.approx(2 / 3)  # 0.725 itself does not pass
    assert found.false_positive_rate == pytest.approx(1 / 3)
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.roc_auc == pytest.approx(7 / 9)
