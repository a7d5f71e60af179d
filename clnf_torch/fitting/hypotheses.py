"""Several starting rotations per face, so that turned heads are found too; the most likely one is kept."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from clnf_torch.fitting.fitter import FaceOptions, FitState, LandmarkFitter
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.fitting.initialise import params_from_box
from clnf_torch.geometry.records import Rows, join_rows, take_rows
from clnf_torch.models.landmark_model import EarlyTermination

# Euler angles in radians, in the order of preference
Rotations = tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Candidates(Rows):
    """Pairs of a face and a hypothesis, one per row of a batch."""

    face: Tensor  # (C,) int64
    hypothesis: Tensor  # (C,) int64

    @classmethod
    def cross(cls, faces: Tensor, hypotheses: Tensor) -> "Candidates":
        """Every face with every hypothesis, face by face."""
        return cls(faces.repeat_interleave(hypotheses.shape[0]), hypotheses.repeat(faces.shape[0]))

    def table(self, values: Tensor, shape: tuple[int, int], missing: float) -> Tensor:
        """Values (C,) laid out by face and hypothesis (B, K), and `missing` where there is no such candidate."""
        return values.new_full(shape, missing).index_put((self.face, self.hypothesis), values)


@dataclass(frozen=True, kw_only=True)
class SearchInput:
    """What a search looks at: the images of B faces, their boxes, and what else is known."""

    images: ImageBatch
    boxes: Tensor  # (B, 4) extent of the landmarks: x, y, width, height, pixels
    options: FaceOptions

    @property
    def faces(self) -> Tensor:
        """The numbers of the faces, int64, shape (B,)."""
        return torch.arange(self.boxes.shape[0], device=self.boxes.device)

    def start(self, fitter: LandmarkFitter, rotations: Rotations, candidates: Candidates) -> FitState:
        """Where a fit of the candidates begins: each in its face's box, turned as its hypothesis says."""
        angles = torch.tensor(rotations, dtype=self.boxes.dtype, device=self.boxes.device)
        params = params_from_box(fitter.model.pdm, self.boxes[candidates.face], angles[candidates.hypothesis])
        return FitState.at(params, fitter.model.pdm.num_landmarks)

    def fit(self, fitter: LandmarkFitter, state: FitState, candidates: Candidates) -> FitState:
        """Fit candidates from a state of as many rows."""
        return fitter.fit(self.images.rows(candidates.face), state, take_rows(self.options, candidates.face))


@dataclass(frozen=True, kw_only=True)
class HypothesisResult:
    """The fit of each face's best hypothesis."""

    state: FitState  # (B,) rows
    hypothesis: Tensor  # (B,) int64: its place in the list of rotations
    verdict: "HypothesisResult | None" = None  # the candidates that decide on success; None: the best ones themselves

    @property
    def success(self) -> Tensor:
        """Faces whose fit succeeded, bool, shape (B,)."""
        return (self.verdict or self).state.active

    @classmethod
    def most_likely(cls, states: FitState, candidates: Candidates, shape: tuple[int, int]) -> "HypothesisResult":
        """The most likely candidate of each face; the first one where none has a likelihood.

        Args:
            states: One row per candidate.
            candidates: Who they are; at least one for each face.
            shape: Number of faces and of hypotheses (B, K).
        """
        lowest = torch.finfo(states.likelihood.dtype).min
        likelihood = candidates.table(states.likelihood.nan_to_num(lowest).clamp(min=lowest), shape, -torch.inf)
        row = candidates.table(torch.arange(len(candidates.face), device=candidates.face.device), shape, -1)
        best = likelihood.argmax(-1)
        chosen = states[row.gather(-1, best[:, None]).squeeze(-1)]
        return cls(state=chosen, hypothesis=best)


# Hypotheses that go on when none was good enough after the first scale
FINALISTS = 3


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

    def fit(self, rotations: Rotations, given: SearchInput) -> HypothesisResult:
        """The best fit of each face; arguments as for `search_hypotheses`."""
        shape = (len(given.faces), len(rotations))
        states, candidates = self._fit_first_scale(rotations, given)
        finalists = self._finalists(states, candidates, shape)
        if self.rest.numerics.quirks:
            finalists = _forget_shapes(finalists, shape)
        states = given.fit(self.rest, finalists.states, finalists.candidates)
        choice = HypothesisResult.most_likely(states, finalists.candidates, shape)
        return _with_verdict_of_last(choice, states, finalists, shape) if self.rest.numerics.quirks else choice

    def _fit_first_scale(self, rotations: Rotations, given: SearchInput) -> tuple[FitState, Candidates]:
        """The first rotation of every face; then the others of those faces for which it was not good enough.

        OpenFace tries one rotation after the other. Here the others of a face are tried together, to the same result.
        """
        hypotheses = torch.arange(len(rotations), device=given.boxes.device)
        candidates = Candidates.cross(given.faces, hypotheses[:1])
        states = given.fit(self.first, given.start(self.first, rotations, candidates), candidates)
        # A read to the host
        unsure = given.faces[~self._good_enough(states)]
        if len(unsure) == 0:
            return states, candidates
        others = Candidates.cross(unsure, hypotheses[1:])
        more = given.fit(self.first, given.start(self.first, rotations, others), others)
        return join_rows(states, more), join_rows(candidates, others)

    def _finalists(self, states: FitState, candidates: Candidates, shape: tuple[int, int]) -> Finalists:
        """Of a face whose search ended, the first candidate that is good enough; of the others the three best."""
        lowest = torch.finfo(states.likelihood.dtype).min
        score = candidates.table(self._score(states).clamp(min=lowest), shape, -torch.inf)
        good = candidates.table(self._good_enough(states), shape, False)
        place = score.argsort(dim=-1, descending=True, stable=True).argsort(-1)
        first = good & (good.int().cumsum(-1) == 1)
        ended = good.any(-1, keepdim=True).expand(shape)
        at = candidates.face, candidates.hypothesis
        # A read to the host
        rows = torch.where(ended, first, place < FINALISTS)[at].nonzero().squeeze(-1)
        return Finalists(states[rows], candidates[rows], ended[at][rows], place[at][rows])

    def _score(self, states: FitState) -> Tensor:
        """The first scale's likelihoods made comparable between views, shape (C,)."""
        score = states.likelihood * self.rules.weights[states.view] + self.rules.biases[states.view]
        # Whatever the sign of the weight
        return torch.where(states.likelihood.isfinite(), score, -torch.inf)

    def _good_enough(self, states: FitState) -> Tensor:
        """Candidates (C,) that end the search of their face."""
        return self._score(states) > self.rules.cutoffs[states.view]


def _forget_shapes(finalists: Finalists, shape: tuple[int, int]) -> Finalists:
    """OpenFace: shapes are zeroed when the next hypothesis begins; only the last one tried goes on with its own."""
    forgotten = ~finalists.ended & (finalists.candidates.hypothesis < shape[1] - 1)
    params = finalists.states.params
    local = torch.where(forgotten[:, None], 0, params.local)
    return finalists._replace(states=replace(finalists.states, params=replace(params, local=local)))


def _with_verdict_of_last(
    choice: HypothesisResult, states: FitState, finalists: Finalists, shape: tuple[int, int]
) -> HypothesisResult:
    """OpenFace: success is that of the candidate continued last, the lowest in place, not the winner's."""
    candidates = finalists.candidates
    last = candidates.table(finalists.place, shape, -1).argmax(-1, keepdim=True)
    row = candidates.table(torch.arange(len(candidates.face), device=candidates.face.device), shape, -1)
    verdict = HypothesisResult(state=states[row.gather(-1, last).squeeze(-1)], hypothesis=last.squeeze(-1))
    return replace(choice, verdict=verdict)


FRONTAL: Rotations = ((0.0, 0.0, 0.0),)
# In the order that OpenFace tries them
MULTI_VIEW: Rotations = (
    (0.0, 0.0, 0.0),
    (0.0, -0.5236, 0.0),
    (0.0, 0.5236, 0.0),
    (0.0, -0.96, 0.0),
    (0.0, 0.96, 0.0),
    (0.0, 0.0, 0.5236),
    (0.0, 0.0, -0.5236),
    (0.0, -1.57, 0.0),
    (0.0, 1.57, 0.0),
    (0.0, -1.22, 0.698),
    (0.0, 1.22, -0.698),
)


def search_hypotheses(fitter: LandmarkFitter, rotations: Rotations, given: SearchInput) -> HypothesisResult:
    """Fit faces from several rotations of the head and keep the most likely result.

    Hypotheses are more rows of the batch. A model with early-termination numbers fits only the first scale of all of
    them; see `EarlyTerminationSearch`.

    Args:
        fitter: Fits the rows.
        rotations: The hypotheses.
        given: Images and boxes.

    Source:
        OpenFace ``DetectLandmarksInImageMultiHypBasic``.
    """
    rules, rest = fitter.model.early_termination, fitter.after_first_scale()
    if len(rotations) > 1 and rules is not None and rest is not None:
        return EarlyTerminationSearch(fitter.first_scale(), rest, rules).fit(rotations, given)
    hypotheses = torch.arange(len(rotations), device=given.boxes.device)
    candidates = Candidates.cross(given.faces, hypotheses)
    states = given.fit(fitter, given.start(fitter, rotations, candidates), candidates)
    return HypothesisResult.most_likely(states, candidates, (len(given.faces), len(rotations)))
