"""`clnf_torch.detection.proposals`: scales, cells, what a network sees, bounding-box regression and NMS by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clnf_torch.detection.proposals import PaddedFrames, Proposals, face_probability, propose, pyramid_scales
from tests.mtcnns import CONFIG, make_mtcnn

SCALES = [
    (60, 500, 1), (59, 500, 0), (45, 45, 0), (30, 30, 0), (1, 1, 0), (0, 40, 0), (85, 85, 2), (84, 400, 1),
    (1080, 1920, 9),
]  # fmt: skip


@pytest.mark.parametrize(("height", "width", "count"), SCALES)
def test_scales(height, width, count):
    scales = pyramid_scales(height, width, 60, 0.709)
    assert scales == pyramid_scales(width, height, 60, 0.709)
    assert scales == pytest.approx([0.2 * 0.709**k for k in range(count)])
    assert all(scale * min(height, width) >= 12 for scale in scales)


class Corner(torch.nn.Module):
    """Is sure of the first cell that it sees, and of a cell in column 4, row 1."""

    def forward(self, images):
        height, width = ((side - 10) // 2 for side in images.shape[2:])
        maps = images.new_zeros(images.shape[0], 6, height, width)
        maps[:, 1] = -9.0
        maps[:, 1, 0, 0] = 2.0
        maps[:, 1, 1, 4] = 3.0
        maps[:, 2:] = torch.arange(4).reshape(4, 1, 1) / 8
        return maps


def test_cells_become_boxes_of_the_frame():
    images = PaddedFrames.of(torch.zeros(2, 1, 80, 100))
    found = propose(Corner(), images, [0.2], 0.6, torch.float32)
    first = [5, 5, 55, 55]  # from trunc(1 / 0.2) to trunc(12 / 0.2)
    other = [45, 15, 55, 55]  # from trunc(9 / 0.2), trunc(3 / 0.2) to trunc(20 / 0.2), trunc(14 / 0.2)
    assert found.boxes.tolist() == [other, first, other, first]
    assert found.image_index.tolist() == [0, 0, 1, 1]
    assert found.regression.tolist() == [[0, 0.125, 0.25, 0.375]] * 4
    torch.testing.assert_close(found.score[:2], torch.tensor([3.0, 2.0]).sigmoid())


def test_nms_keeps_scales_apart_in_their_order():
    images = PaddedFrames.of(torch.zeros(1, 1, 200, 240))
    found = propose(Corner(), images, [0.2, 0.199], 0.6, torch.float32)  # nearly the same boxes twice
    assert found.boxes[:2].tolist() == [[45, 15, 55, 55], [5, 5, 55, 55]]
    assert len(found.boxes) == 4 and found.boxes[2, 0] == 45 and found.boxes[3, 0] == 5


def test_frames_do_not_see_each_other():
    mtcnn, rng = make_mtcnn(), torch.Generator().manual_seed(3)
    frames = 255 * torch.rand(3, 3, 60, 50, generator=rng, dtype=torch.float64)
    scales = pyramid_scales(60, 50, CONFIG.min_face, CONFIG.factor)
    together = propose(mtcnn.proposer, PaddedFrames.of(frames), scales, 0.55, torch.float64)
    for frame in range(3):
        alone = propose(mtcnn.proposer, PaddedFrames.of(frames[frame : frame + 1]), scales, 0.55, torch.float64)
        mine = together[together.image_index == frame]
        assert len(alone.boxes) > 5 and torch.equal(mine.boxes, alone.boxes)
        torch.testing.assert_close(mine.score, alone.score)


def test_black_lies_outside_and_gray_is_all_colours():
    images = PaddedFrames.of(torch.full((1, 1, 8, 8), 255, dtype=torch.uint8))
    shown = images.patches(torch.tensor([0]), torch.tensor([[-2, 0, 4, 4]]), (4, 4), torch.float32)
    assert shown.shape == (1, 3, 4, 4)
    black, white = -127.5 / 128, 127.5 / 128
    assert shown[0, 2, 0].tolist() == [black, black, white, white]


def test_probabilities_stay_in_range():
    answers = torch.tensor([[0.0, 0.0], [200.0, -200.0], [-200.0, 200.0], [1.0, 2.0]])
    torch.testing.assert_close(face_probability(answers), torch.tensor([0.5, 0.0, 1.0, 1 / (1 + 1 / torch.e)]))


def make_proposals(boxes: list[list[float]], regressions: list[list[float]] | None = None) -> Proposals:
    count = len(boxes)
    regressions = regressions or [[0.0] * 4] * count
    score = torch.arange(count, 0, -1) / (count + 1)
    return Proposals(torch.tensor(boxes), score, torch.tensor(regressions), torch.zeros(count, dtype=torch.int64))


def test_regression_moves_each_side_of_the_rounded_box():
    found = make_proposals([[10.4, 19.6, 39.5, 50.5]], [[0.1, -0.2, 0.25, 0.5]]).regressed()
    # 10, 20, 40, 50: x1 = 10 + 4, y1 = 20 - 10, x2 = 50 + 10, y2 = 70 + 25
    torch.testing.assert_close(found.boxes, torch.tensor([[14.0, 10.0, 46.0, 85.0]]))


def test_regression_after_growing():
    found = make_proposals([[10.0, 20.0, 39.0, 49.0]], [[0.1, -0.2, 0.25, 0.5]]).regressed(grown=1)
    torch.testing.assert_close(found.boxes, torch.tensor([[14.0, 10.0, 46.0, 85.0]]))


def test_squares_go_towards_zero():
    boxes = [[10.0, 20.0, 7.0, 10.0], [-10.0, -20.0, 10.9, 7.0], [3.2, 4.8, 6.5, 6.5]]
    expected = [[8.0, 20.0, 10.0, 10.0], [-10.0, -21.0, 10.0, 10.0], [3.0, 4.0, 6.0, 6.0]]
    assert make_proposals(boxes).squared().boxes.tolist() == expected  # -20 - 1.95 is cut to -21


def test_nms_keeps_frames_apart():
    found = replace(make_proposals([[0.0, 0.0, 10.0, 10.0]] * 4), image_index=torch.tensor([1, 0, 1, 0]))
    assert found.after_nms(0.5).image_index.tolist() == [0, 1]
    assert found.after_nms(0.5).score.tolist() == [found.score[1].item(), found.score[0].item()]
    assert len(found.after_nms(0.5, group=torch.arange(4)).score) == 4


def test_the_smaller_box_decides():
    found = make_proposals([[0.0, 0.0, 20.0, 20.0], [5.0, 5.0, 8.0, 8.0]])
    assert len(found.after_nms(0.7).score) == 2
    assert len(found.after_nms(0.7, of_smaller=True).score) == 1
