"""Greedy association against the plain loop; scores by IoU, by place and appearance; suppression of duplicates."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.tracking.association import (
    associate,
    center_distances,
    iou_scores,
    reidentification_scores,
    suppress_duplicates,
)

NEVER = -torch.inf


def greedy(score: torch.Tensor) -> list[int]:
    """The greatest score is taken first, then the greatest of the rest; of equals the first."""
    score, match = score.clone(), [-1] * score.shape[1]
    while score.max() > NEVER:
        row, column = divmod(int(score.argmax()), score.shape[1])
        match[column] = row
        score[row], score[:, column] = NEVER, NEVER
    return match


def boxes(*corners: tuple[float, float]) -> torch.Tensor:
    return torch.tensor([[x, y, 10.0, 10.0] for x, y in corners])


@pytest.mark.parametrize("shape", [(1, 1), (4, 7), (7, 4), (9, 9)])
@pytest.mark.parametrize("levels", [3, 1000])
def test_as_the_plain_loop(rng, shape, levels):
    for _ in range(20):
        score = torch.randint(0, levels, shape, generator=rng).double()
        score = score.masked_fill(torch.rand(shape, generator=rng) < 0.4, NEVER)
        assert associate(score).tolist() == greedy(score)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_no_tracks_or_detections(shape):
    assert associate(torch.zeros(shape)).tolist() == [-1] * shape[1]


def test_what_is_not_a_number_is_no_pair():
    assert associate(torch.tensor([[torch.nan, 1.0], [NEVER, NEVER]])).tolist() == [-1, 0]


def test_iou_scores():
    allowed = torch.tensor([[True, True, True, False]])
    score = iou_scores(boxes((0, 0)), boxes((0, 0), (5, 0), (6, 0), (0, 0)), allowed, min_iou=0.3)
    torch.testing.assert_close(score, torch.tensor([[1.0, 1 / 3, NEVER, NEVER]]))


def test_distances_are_in_mean_widths():
    found = torch.tensor([[6.0, 8, 10, 10], [0, 0, 30, 10]])  # a width away; half a width, of widths 10 and 30
    torch.testing.assert_close(center_distances(boxes((0, 0)), found), torch.tensor([[1.0, 0.5]]))


def test_the_farther_away_the_more_similar():
    distance = torch.tensor([[0.0, 0.25, 0.25, 1.0, 1.0, 7.0]])
    similarity = torch.tensor([[-1.0, -0.1, -0.2, 0.7, 0.5, 0.8]])
    score = reidentification_scores(similarity, distance, torch.ones(1, 6, dtype=torch.bool), min_similarity=0.6)
    # what is asked for is -1, -0.2, -0.2, 0.6, 0.6 and 0.6
    torch.testing.assert_close(score, torch.tensor([[0.0, 0.1, 0.0, 0.1, NEVER, 0.2]]))
    assert (
        reidentification_scores(similarity, distance, torch.zeros(1, 6, dtype=torch.bool), min_similarity=0.6) == NEVER
    ).all()


def test_duplicates_are_suppressed_by_rank():
    corners = boxes((0, 0), (2, 0), (4, 0), (2, 0), (50, 0))
    rank, group = torch.tensor([5, 3, 1 << 61, 9, 2]), torch.tensor([0, 0, 0, 1, 0])
    # 1 suppresses 0 and 2; 3 is in another group; 4 is alone
    assert suppress_duplicates(corners, rank, group, 0.5).tolist() == [False, True, False, True, True]
    # 0 suppresses 1, so that nobody suppresses 2
    rank = torch.tensor([1, 3, 5, 9, 2])
    assert suppress_duplicates(corners, rank, group, 0.5).tolist() == [True, False, True, True, True]


def test_ranks_beyond_floating_point_are_told_apart():
    rank = torch.tensor([(1 << 60) + 1, 1 << 60])
    assert suppress_duplicates(boxes((0, 0), (0, 0)), rank, torch.zeros(2, dtype=torch.int64), 0.5).tolist() == [
        False,
        True,
    ]
