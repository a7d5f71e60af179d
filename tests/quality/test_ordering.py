"""Order along and across outlines, on drawings of four points."""

from __future__ import annotations

import torch

from clnf_torch.quality.ordering import directions, lengths, misfit, wrong_way

SQUARE = torch.tensor([[[0.0, 0.0], [4.0, 0.0], [0.0, 3.0], [4.0, 3.0]]])  # upper left, upper right, lower left, ...
DOWN = torch.tensor([[0.0, 1.0]])


def test_points_in_order_are_on_the_right_side():
    assert wrong_way(SQUARE, ((0, 2), (1, 3)), DOWN).tolist() == [-3.0]


def test_the_farthest_on_the_wrong_side_counts():
    bow_tie = SQUARE.clone()
    bow_tie[0, 3, 1] = -1.0  # the lower right corner above the upper one: the outline crosses itself
    assert wrong_way(bow_tie, ((0, 2), (1, 3)), DOWN).tolist() == [1.0]


def test_each_pair_may_have_its_own_direction():
    pairs = ((0, 1), (0, 2), (0, 3))
    own = directions(SQUARE, pairs)
    torch.testing.assert_close(own, torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]]]))
    assert wrong_way(SQUARE, pairs, own).tolist() == [-3.0]
    assert wrong_way(-SQUARE, pairs, own).tolist() == [5.0]


def test_lengths_and_their_misfit():
    assert lengths(SQUARE, ((0, 1), (0, 3))).tolist() == [[4.0, 5.0]]
    found = misfit(torch.tensor([4.0, 2.0, 0.2]), torch.tensor([2.0, 4.0, 0.1]))
    torch.testing.assert_close(found, torch.tensor([2.0, 2.0, 1.0]).log())
