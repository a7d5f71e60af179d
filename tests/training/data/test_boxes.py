"""Boxes of annotated faces: perturbed ones, detected ones, and the factors that calibrate a detector."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clnf_torch.detection import FaceBoxes
from clnf_torch.geometry.boxes import box_around
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.data.annotations import read_annotations
from clnf_torch.training.data.boxes import (
    box_of_face,
    boxes_to_start_from,
    detect_annotated,
    fit_factors,
    perturb_boxes,
)
from tests.factories import seeded

FACE = torch.tensor([[10.0, 20.0], [50.0, 30.0], [20.0, 100.0]])
EXTENT = torch.tensor([10.0, 20.0, 40.0, 80.0])


def test_a_box_holds_the_landmarks():
    assert torch.equal(box_around(FACE[None]), EXTENT[None])


def test_perturbed_boxes_scatter_as_they_should(rng):
    boxes = perturb_boxes(FACE.expand(20000, -1, -1), rng)
    factor = boxes[:, 2:] / torch.tensor([40.0, 80.0])
    moved = (boxes[:, :2] + boxes[:, 2:] / 2 - torch.tensor([30.0, 60.0])) / torch.tensor([40.0, 80.0])
    torch.testing.assert_close(factor[:, 0], factor[:, 1])
    spread = torch.stack([factor[:, 0], *moved.T])
    torch.testing.assert_close(spread.mean(1), torch.tensor([1.0, 0.0, 0.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(spread.std(1), torch.tensor([0.05, 0.03, 0.03]), rtol=0.02, atol=0)
    assert (torch.corrcoef(spread) - torch.eye(3)).abs().amax() < 0.03


def test_no_perturbed_box_vanishes_or_turns_over(rng):
    boxes = perturb_boxes(FACE.expand(20000, -1, -1), rng, size=1.0)
    torch.testing.assert_close(boxes[:, 2:].amin(0), torch.tensor([12.0, 24.0]))


def test_a_share_of_the_boxes_to_start_from_is_far_off():
    faces = FACE.expand(20000, -1, -1)
    usual, some = (boxes_to_start_from(faces, share, Sampler(seeded(3), torch.device("cpu"))) for share in (0.0, 0.3))
    assert torch.equal(usual, perturb_boxes(faces, seeded(3)))
    off = (some != usual).any(1)
    torch.testing.assert_close(off.float().mean(), torch.tensor(0.3), atol=0.01, rtol=0)
    torch.testing.assert_close((some[off, 2] / 40).std(), torch.tensor(0.25), rtol=0.03, atol=0)


def test_the_reference_boxes_of_afw_scatter_alike(shared):
    truth = read_annotations(shared / "faces").of_split("afw").landmarks
    boxes = torch.from_numpy(np.load(shared / "golden" / "afw_reference.npz")["boxes"])
    extent = box_around(truth)
    factor = boxes[:, 2:] / extent[:, 2:]
    moved = (boxes[:, :2] + boxes[:, 2:] / 2 - extent[:, :2] - extent[:, 2:] / 2) / extent[:, 2:]
    torch.testing.assert_close(factor[:, 0], factor[:, 1], rtol=1e-5, atol=0)
    torch.testing.assert_close(
        torch.stack([factor[:, 0].std(), *moved.std(0)]), torch.tensor([0.05, 0.03, 0.03]), rtol=0.1, atol=0
    )


def test_the_box_that_overlaps_most_belongs_to_the_face():
    found = torch.tensor([[0.0, 0.0, 300.0, 300.0], [12.0, 22.0, 40.0, 80.0], [30.0, 60.0, 40.0, 80.0]])
    assert torch.equal(box_of_face(found, EXTENT), found[1])


def test_a_face_that_no_box_overlaps_has_none():
    for found in (torch.tensor([[0.0, 0.0, 300.0, 300.0], [200.0, 0.0, 40.0, 80.0]]), torch.zeros(0, 4)):
        assert box_of_face(found, EXTENT).isnan().all()


FACTORS = (-0.02, 0.25, 1.05, 0.75)


def make_boxes(count: int, seed: int = 1) -> torch.Tensor:
    """Boxes of many sizes, anywhere, float64."""
    place, size = (torch.rand(count, 2, generator=seeded(seed + k), dtype=torch.float64) for k in range(2))
    return torch.cat((300 * place, 40 + 200 * size), dim=1)


def moved(boxes: torch.Tensor) -> torch.Tensor:
    """The extents that belong to boxes."""
    right, down, wider, higher = FACTORS
    x, y, width, height = boxes.unbind(-1)
    return torch.stack((x + right * width, y + down * height, wider * width, higher * height), dim=-1)


@pytest.mark.parametrize("count", [1, 2, 50])
def test_factors_are_found_again(count):
    boxes = make_boxes(count)
    assert fit_factors(boxes, moved(boxes)) == pytest.approx(FACTORS, abs=1e-12)


def test_noise_is_averaged_and_outliers_hardly_count():
    boxes = make_boxes(2000)
    noise = 0.03 * torch.randn(2000, 4, generator=seeded(3), dtype=torch.float64)
    extents = moved(boxes) + noise * boxes[:, [2, 3, 2, 3]]
    extents[::10, 0] += 3 * boxes[::10, 2]  # a tenth lies somewhere else
    factors = fit_factors(boxes, extents)
    assert factors == pytest.approx(FACTORS, abs=0.01)
    assert factors[1:] == pytest.approx(FACTORS[1:], abs=0.003)
    clean = fit_factors(boxes[1::10], extents[1::10])
    least_squares = ((extents - boxes)[1::10, 0] / boxes[1::10, 2]).mean()
    assert clean[0] == pytest.approx(float(least_squares), abs=2e-3)


class _Known:
    """Finds what it is told, frame by frame."""

    def __init__(self, *found: torch.Tensor) -> None:
        self.found = iter(found)

    def detect(self, frames: torch.Tensor) -> FaceBoxes:
        boxes = next(self.found)
        image_index = torch.zeros(len(boxes), dtype=torch.int64)
        return FaceBoxes(boxes=boxes, score=torch.ones(len(boxes)), image_index=image_index)


def test_the_box_on_the_face_is_taken():
    boxes = make_boxes(3).float()
    extents = moved(boxes)
    far = torch.tensor([[1000.0, 1000.0, 90.0, 90.0]])
    detector = _Known(torch.cat((far, boxes[:1])), far, torch.zeros(0, 4), boxes[2:])
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    found, wanted = detect_annotated(detector, [(image, extents[k].double()) for k in (0, 1, 1, 2)])
    assert torch.equal(found, boxes[[0, 2]]) and torch.equal(wanted, extents[[0, 2]])


def test_nothing_found():
    found, wanted = detect_annotated(_Known(torch.zeros(0, 4)), [(torch.zeros(3, 8, 8), torch.ones(4))])
    assert found.shape == wanted.shape == (0, 4)
