"""Boxes to start from."""

from __future__ import annotations

import numpy as np
import torch

from clnf_torch.geometry.boxes import box_around
from clnf_torch.training.data.annotations import read_annotations
from clnf_torch.training.data.boxes import box_of_face, perturb_boxes

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
