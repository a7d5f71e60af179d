"""`clnf_torch.detection.face_detector`: one face of each frame."""

from __future__ import annotations

import numpy as np
import torch

from clnf_torch.detection.face_detector import FaceBoxes, nearest, widest

BOXES = [[0, 0, 10, 90], [50, 0, 30, 30], [90, 0, 30, 10], [7, 7, 5, 5]]


def make_faces(device: torch.device | str = "cpu") -> FaceBoxes:
    """Three faces in frame 1, one in frame 3, none in 0, 2 and 4."""
    return FaceBoxes(
        boxes=torch.tensor(BOXES, dtype=torch.float32, device=device),
        score=torch.tensor([0.9, 0.8, 0.7, 0.6], device=device),
        image_index=torch.tensor([1, 1, 1, 3], device=device),
    )


def test_the_widest_face_and_of_several_the_surest(device):
    chosen = widest(make_faces(device), 5)
    assert chosen.image_index.tolist() == [0, 1, 2, 3, 4]
    assert chosen.boxes.tolist() == [[0] * 4, BOXES[1], [0] * 4, BOXES[3], [0] * 4]
    torch.testing.assert_close(chosen.score.cpu(), torch.tensor([-2, 0.8, -2, 0.6, -2]))


def test_the_nearest_face(device):
    points = torch.tensor([[0, 0], [110, 0], [0, 0], [999, 999], [0, 0]], device=device)
    chosen = nearest(make_faces(device), points)
    assert chosen.boxes.tolist() == [[0] * 4, BOXES[2], [0] * 4, BOXES[3], [0] * 4]
    points[1] = torch.tensor([4, 50])
    assert nearest(make_faces(device), points).boxes[1].tolist() == BOXES[0]


def test_the_nearest_face_to_an_array_of_points():
    points = [[0.0, 0.0], [110.0, 0.0], [0.0, 0.0], [999.0, 999.0]]
    expected = nearest(make_faces(), torch.tensor(points)).boxes
    assert torch.equal(nearest(make_faces(), np.array(points)).boxes, expected)


def test_the_first_of_equally_near_faces():
    points = torch.tensor([[85.0, 10.0]]).expand(5, 2)
    assert nearest(make_faces(), points).boxes[1].tolist() == BOXES[1]


def test_nobody_there():
    nobody = FaceBoxes(boxes=torch.zeros(0, 4), score=torch.zeros(0), image_index=torch.zeros(0, dtype=torch.int64))
    assert widest(nobody, 2).score.tolist() == [-2, -2]
    assert widest(nobody, 0).boxes.shape == (0, 4)
