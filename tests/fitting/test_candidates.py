"""`clnf_torch.fitting.hypotheses`: faces and hypotheses as rows, and the choice among them."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from clnf_torch.fitting.fitter import FitState
from clnf_torch.fitting.hypotheses import Candidates, HypothesisResult
from clnf_torch.geometry.records import join_rows
from tests.factories import N, make_params


def test_faces_and_hypotheses_are_crossed_face_by_face():
    crossed = Candidates.cross(torch.tensor([0, 2]), torch.tensor([1, 3]))
    assert crossed.face.tolist() == [0, 0, 2, 2] and crossed.hypothesis.tolist() == [1, 3, 1, 3]
    both = join_rows(crossed, crossed[torch.tensor([2])])
    assert both.face.tolist() == [0, 0, 2, 2, 2] and both.hypothesis.tolist() == [1, 3, 1, 3, 1]


def test_values_are_laid_out_by_face_and_hypothesis():
    candidates = Candidates.cross(torch.tensor([0, 2]), torch.tensor([1, 3]))
    table = candidates.table(torch.tensor([1.0, 2.0, 3.0, 4.0]), (3, 4), -1)
    assert table.tolist() == [[-1, 1, -1, 2], [-1, -1, -1, -1], [-1, 3, -1, 4]]


def chosen(likelihoods: list[list[float]]) -> list[int]:
    """The hypotheses chosen for faces with these likelihoods."""
    values = torch.tensor(likelihoods, dtype=torch.float64)
    state = FitState.at(make_params(values.numel()), N)
    candidates = Candidates.cross(torch.arange(values.shape[0]), torch.arange(values.shape[1]))
    choice = HypothesisResult.most_likely(replace(state, likelihood=values.flatten()), candidates, tuple(values.shape))
    rows = torch.arange(len(values)) * values.shape[1] + choice.hypothesis
    torch.testing.assert_close(choice.state.params.globals, state.params.globals[rows])
    return choice.hypothesis.tolist()


def test_the_most_likely_is_chosen_and_the_first_of_equals():
    assert chosen([[-3.0, -1.0, -2.0], [-1.0, -1.0, -1.0]]) == [1, 0]


def test_candidates_without_a_likelihood_lose():
    assert chosen([[math.nan, -9.0], [-math.inf, -9.0], [math.nan, -math.inf], [-math.inf, math.nan]]) == [1, 1, 0, 0]
