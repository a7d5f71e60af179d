"""The search over rotation hypotheses of CE-CLM: the first scale for all, the other scales for the promising ones."""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from clnf_torch.fitting.candidates import Candidates, Choice, Rotations, SearchInput
from clnf_torch.fitting.fitter import FitState, LandmarkFitter
from clnf_torch.models.landmark_model import EarlyTermination

FINALISTS = 3  # hypotheses that go on when none was good enough after the first scale


class Finalists(NamedTuple):
    """The candidates that go on to the other scales."""

    states: FitState  # (C,) rows
    candidates: Candidates  # (C,) rows
    ended: Tensor  # (C,) bool: good enough to have ended its face's search
    place: Tensor  # (C,) int64: place by score among the candidates of its face, 0 being the best


class EarlyTerminationSearch:
    """Fits faces from several rotations of the head, most of them at the first scale alone.

    Args:
        first: Fits the first scale.
        rest: Fits the other scales.
        rules: When a hypothesis is good enough.

    Source:
        OpenFace ``DetectLandmarksInImageMultiHypEarlyTerm``.
    """

    def __init__(self, first: LandmarkFitter, rest: LandmarkFitter, rules: EarlyTermination) -> None:
        self.first, self.rest, self.rules = first, rest, rules

    def fit(self, rotations: Rotations, given: SearchInput) -> Choice:
        """The best fit of each face; arguments as for `search_hypotheses`."""
        shape = (len(given.faces), len(rotations))
        states, candidates = self._fit_first_scale(rotations, given)
        finalists = self._finalists(states, candidates, shape)
        if self.rest.numerics.quirks:
            finalists = _forget_shapes(finalists, shape)
        states = given.fit(self.rest, finalists.states, finalists.candidates)
        choice = Choice.most_likely(states, finalists.candidates, shape)
        return _judge_last(choice, states, finalists, shape) if self.rest.numerics.quirks else choice

    def _fit_first_scale(self, rotations: Rotations, given: SearchInput) -> tuple[FitState, Candidates]:
        """The first rotation of every face; then the others of those faces for which it was not good enough.

        OpenFace tries one rotation after the other. Here the others of a face are tried together, to the same result.
        """
        hypotheses = torch.arange(len(rotations), device=given.boxes.device)
        candidates = Candidates.cross(given.faces, hypotheses[:1])
        states = given.fit(self.first, given.start(self.first, rotations, candidates), candidates)
        unsure = given.faces[~self._good_enough(states)]  # a read to the host
        if len(unsure) == 0:
            return states, candidates
        others = Candidates.cross(unsure, hypotheses[1:])
        more = given.fit(self.first, given.start(self.first, rotations, others), others)
        return FitState.concatenate(states, more), Candidates.concatenate(candidates, others)

    def _finalists(self, states: FitState, candidates: Candidates, shape: tuple[int, int]) -> Finalists:
        """Of a face whose search ended, the first candidate that is good enough; of the others the three best."""
        lowest = torch.finfo(states.likelihood.dtype).min
        score = candidates.table(self._score(states).clamp(min=lowest), shape, -torch.inf)
        good = candidates.table(self._good_enough(states), shape, False)
        place = score.argsort(dim=-1, descending=True, stable=True).argsort(-1)
        first = good & (good.int().cumsum(-1) == 1)
        ended = good.any(-1, keepdim=True).expand(shape)
        at = candidates.face, candidates.hypothesis
        rows = torch.where(ended, first, place < FINALISTS)[at].nonzero().squeeze(-1)  # a read to the host
        return Finalists(states[rows], candidates[rows], ended[at][rows], place[at][rows])

    def _score(self, states: FitState) -> Tensor:
        """The first scale's likelihoods made comparable between views, shape (C,)."""
        score = states.likelihood * self.rules.weights[states.view] + self.rules.biases[states.view]
        return torch.where(states.likelihood.isfinite(), score, -torch.inf)  # whatever the sign of the weight

    def _good_enough(self, states: FitState) -> Tensor:
        """Candidates (C,) that end the search of their face."""
        return self._score(states) > self.rules.cutoffs[states.view]


def _forget_shapes(finalists: Finalists, shape: tuple[int, int]) -> Finalists:
    """OpenFace: shapes are zeroed when the next hypothesis begins; only the last one tried goes on with its own."""
    forgotten = ~finalists.ended & (finalists.candidates.hypothesis < shape[1] - 1)
    params = finalists.states.params
    local = torch.where(forgotten[:, None], 0, params.local)
    return finalists._replace(states=replace(finalists.states, params=replace(params, local=local)))


def _judge_last(choice: Choice, states: FitState, finalists: Finalists, shape: tuple[int, int]) -> Choice:
    """OpenFace: success is that of the candidate continued last, the lowest in place, not the winner's."""
    candidates = finalists.candidates
    last = candidates.table(finalists.place, shape, -1).argmax(-1, keepdim=True)
    row = candidates.table(torch.arange(len(candidates.face), device=candidates.face.device), shape, -1)
    return replace(choice, judged_hypothesis=last.squeeze(-1), judged=states[row.gather(-1, last).squeeze(-1)])
