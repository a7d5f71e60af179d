"""`clnf_torch.geometry.boxes`: rounding, overlap by hand, suppression against OpenFace's loop."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clnf_torch.geometry import boxes as boxes_module
from clnf_torch.geometry.boxes import box_around, box_iou, nms, whole_boxes
from tests.factories import seeded


def many_boxes(count: int, groups: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Crowded boxes with few different scores, and their groups."""
    rng = seeded(3)
    corner = 60 * torch.rand(count, 2, generator=rng)
    size = 10 + 30 * torch.rand(count, 2, generator=rng)
    score = torch.randint(0, max(2, count // 3), (count,), generator=rng) / count
    return torch.cat((corner, size), -1), score, torch.randint(0, groups, (count,), generator=rng)


def one_by_one(boxes: Tensor, score: Tensor, threshold: float, of_smaller: bool) -> list[int]:
    """OpenFace's loop: a multimap by score, whose last entry is taken, and what overlaps it removed."""
    waiting = sorted(range(len(boxes)), key=lambda k: (score[k].item(), k))
    whole = [[round(value) for value in box] for box in boxes.tolist()]  # halves to even
    kept = []
    while waiting:
        best = waiting.pop()
        kept.append(best)
        waiting = [k for k in waiting if not too_close(whole[best], whole[k], threshold, of_smaller)]
    return kept


def too_close(one: list[int], other: list[int], threshold: float, of_smaller: bool) -> bool:
    (x, y, w, h), (x2, y2, w2, h2) = one, other
    common = max(0, min(x + w, x2 + w2) - max(x, x2)) * max(0, min(y + h, y2 + h2) - max(y, y2))
    whole = min(w * h, w2 * h2) if of_smaller else w * h + w2 * h2 - common
    return whole != 0 and common / whole > threshold


@pytest.mark.parametrize("of_smaller", [False, True])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("pairs", [1 << 20, 500], ids=["at once", "in blocks"])
def test_as_openface_one_by_one(monkeypatch, of_smaller, threshold, pairs):
    monkeypatch.setattr(boxes_module, "CPU_PAIRS", pairs)
    boxes, score, group = many_boxes(150)
    expected = []
    for g in range(3):
        rows = (group == g).nonzero()[:, 0]
        expected += [rows[k].item() for k in one_by_one(boxes[rows], score[rows], threshold, of_smaller)]
    assert len(expected) < 150
    assert nms(boxes, score, group, threshold, of_smaller).tolist() == expected


def test_the_later_of_equal_scores_is_the_better():
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [1.0, 0.0, 10.0, 10.0], [40.0, 0.0, 10.0, 10.0]])
    assert nms(boxes, torch.ones(3), torch.zeros(3, dtype=torch.int64), 0.5).tolist() == [2, 1]


def test_a_beaten_box_beats_no_other():
    """0 beats 1, so 1 does not beat 2, although both overlap."""
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [3.0, 0.0, 10.0, 10.0], [6.0, 0.0, 10.0, 10.0]])
    group = torch.zeros(3, dtype=torch.int64)
    assert nms(boxes, torch.tensor([0.9, 0.8, 0.7]), group, 0.5).tolist() == [0, 2]


def test_boxes_without_area_stay():
    """OpenFace: nothing divided by nothing is not above a threshold."""
    boxes, group = torch.zeros(3, 4), torch.zeros(3, dtype=torch.int64)
    assert nms(boxes, torch.rand(3), group, 0.1).numel() == 3


def test_blocks_grow_with_the_pairs_of_the_groups_and_not_with_all_boxes(monkeypatch):
    """Once each group's blocks were cut as if every box could overlap every other."""
    monkeypatch.setattr(boxes_module, "CPU_PAIRS", 1000)
    compared, iou = [], boxes_module.box_iou

    def counted(one, other, of_smaller):
        compared.append(len(one))
        return iou(one, other, of_smaller)

    monkeypatch.setattr(boxes_module, "box_iou", counted)
    boxes, score, _ = many_boxes(30 * 64)
    nms(boxes, score, torch.arange(64).repeat_interleave(30), 0.5)
    assert sum(compared) == 64 * 30 * 29 // 2
    assert len(compared) == 28 and max(compared) < 1000 + 30


def test_no_boxes(device):
    none = torch.zeros(0, device=device)
    assert nms(none.reshape(0, 4), none, none.long(), 0.5).shape == (0,)


def test_suppression_follows_the_device(device):
    boxes, score, group = (values.to(device) for values in many_boxes(40))
    kept = nms(boxes, score, group, 0.5)
    assert kept.device.type == device.type
    assert kept.tolist() == nms(boxes.cpu(), score.cpu(), group.cpu(), 0.5).tolist()


@pytest.mark.parametrize(
    ("other", "of_both", "of_smaller"),
    [
        ([0, 0, 10, 10], 1.0, 1.0),
        ([5, 0, 10, 10], 1 / 3, 0.5),
        ([2, 2, 5, 4], 0.2, 1.0),
        ([10, 0, 10, 10], 0.0, 0.0),
        ([30, 30, 10, 10], 0.0, 0.0),
    ],
)
def test_overlap(dtype, other, of_both, of_smaller):
    one, other = torch.tensor([0, 0, 10, 10]), torch.tensor(other)
    for a, b in ((one, other), (other, one), (one.to(dtype), other.to(dtype))):
        assert box_iou(a, b).item() == pytest.approx(of_both)
        assert box_iou(a, b, of_smaller=True).item() == pytest.approx(of_smaller)


def test_overlap_of_all_with_all_and_its_gradient():
    boxes = many_boxes(5)[0].double().requires_grad_()
    assert box_iou(boxes[:, None], boxes[None]).shape == (5, 5)
    near = torch.tensor([[0.0, 0.0, 10.0, 8.0], [3.0, 1.0, 9.0, 9.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda b: box_iou(b[0], b[1]), (near,))


def test_halves_go_to_even_and_what_is_no_number_to_zero():
    boxes = torch.tensor([[0.5, 1.5, 2.5, -0.5], [float("nan"), float("inf"), -1e30, 7.6]])
    assert whole_boxes(boxes).tolist() == [[0, 2, 2, 0], [0, 2**29, -(2**29), 8]]


def test_boxes_around_points():
    points = torch.tensor([[[3.0, 8.0], [1.0, 2.0], [2.0, 9.0]]])
    assert box_around(points).tolist() == [[1, 2, 2, 7]]
