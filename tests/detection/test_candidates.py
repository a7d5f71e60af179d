"""`clnf_torch.detection.proposals`: corrections and squares by hand."""

from __future__ import annotations

from dataclasses import replace

import torch

from clnf_torch.detection.proposals import Candidates


def make_candidates(boxes: list[list[float]], corrections: list[list[float]] | None = None) -> Candidates:
    count = len(boxes)
    corrections = corrections or [[0.0] * 4] * count
    score = torch.arange(count, 0, -1) / (count + 1)
    return Candidates(torch.tensor(boxes), score, torch.tensor(corrections), torch.zeros(count, dtype=torch.int64))


def test_corrections_move_each_side_of_the_rounded_box():
    found = make_candidates([[10.4, 19.6, 39.5, 50.5]], [[0.1, -0.2, 0.25, 0.5]]).corrected()
    # 10, 20, 40, 50: x1 = 10 + 4, y1 = 20 - 10, x2 = 50 + 10, y2 = 70 + 25
    torch.testing.assert_close(found.boxes, torch.tensor([[14.0, 10.0, 46.0, 85.0]]))


def test_corrections_after_growing():
    found = make_candidates([[10.0, 20.0, 39.0, 49.0]], [[0.1, -0.2, 0.25, 0.5]]).corrected(grown=1)
    torch.testing.assert_close(found.boxes, torch.tensor([[14.0, 10.0, 46.0, 85.0]]))


def test_squares_go_towards_zero():
    boxes = [[10.0, 20.0, 7.0, 10.0], [-10.0, -20.0, 10.9, 7.0], [3.2, 4.8, 6.5, 6.5]]
    expected = [[8.0, 20.0, 10.0, 10.0], [-10.0, -21.0, 10.0, 10.0], [3.0, 4.0, 6.0, 6.0]]
    assert make_candidates(boxes).squared().boxes.tolist() == expected  # -20 - 1.95 is cut to -21


def test_frames_are_thinned_apart():
    found = replace(make_candidates([[0.0, 0.0, 10.0, 10.0]] * 4), image_index=torch.tensor([1, 0, 1, 0]))
    assert found.after_nms(0.5).image_index.tolist() == [0, 1]
    assert found.after_nms(0.5).score.tolist() == [found.score[1].item(), found.score[0].item()]
    assert len(found.after_nms(0.5, group=torch.arange(4)).score) == 4


def test_the_smaller_box_decides():
    found = make_candidates([[0.0, 0.0, 20.0, 20.0], [5.0, 5.0, 8.0, 8.0]])
    assert len(found.after_nms(0.7).score) == 2
    assert len(found.after_nms(0.7, of_smaller=True).score) == 1
