"""Several starting rotations per face, so that turned heads are found too; the most likely one is kept."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from clnf_torch.fitting.areas import Pictures
from clnf_torch.fitting.fitter import FaceOptions, FitState, LandmarkFitter
from clnf_torch.fitting.initialise import params_from_box
from clnf_torch.models.landmark_model import EarlyTermination

FRONTAL = ((0.0, 0.0, 0.0),)
MULTI_VIEW = (
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
)  # Euler angles in radians, in the order OpenFace tries them
FINALISTS = 3  # hypotheses that go on when none was good enough after the first scale


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The fit of each face's best hypothesis."""

    state: FitState  # (B,) rows
    hypothesis: Tensor  # (B,) int64: its place in the list of rotations
    success: Tensor  # (B,) bool


@dataclass(frozen=True)
class Candidates:
    """Pairs of a face and a hypothesis, one per row of a batch."""

    face: Tensor  # (C,) int64
    hypothesis: Tensor  # (C,) int64

    @classmethod
    def cross(cls, faces: Tensor, hypotheses: Tensor) -> "Candidates":
        """Every face with every hypothesis, face by face."""
        return cls(faces.repeat_interleave(hypotheses.shape[0]), hypotheses.repeat(faces.shape[0]))

    def __getitem__(self, rows: Tensor) -> "Candidates":
        """The candidates of these rows."""
        return Candidates(self.face[rows], self.hypothesis[rows])

    def table(self, values: Tensor, shape: tuple[int, int], missing: float) -> Tensor:
        """Values (C,) laid out by face and hypothesis (B, K), and `missing` where there is no such candidate."""
        return values.new_full(shape, missing).index_put((self.face, self.hypothesis), values)


class HypothesisSearch:
    """Fits faces from several rotations of the head and keeps the most likely result.

    Hypotheses are more rows of the batch.

    Args:
        fitter: Fits the rows.
        rotations: Euler angles of the hypotheses, radians, in the order of preference.

    Source:
        OpenFace ``DetectLandmarksInImageMultiHypBasic`` and ``DetectLandmarksInImageMultiHypEarlyTerm``.
    """

    def __init__(self, fitter: LandmarkFitter, rotations: tuple[tuple[float, float, float], ...]) -> None:
        self.fitter, self.rotations = fitter, rotations

    def fit(self, pictures: Pictures, boxes: Tensor, options: FaceOptions) -> Choice:
        """The best fit of each face.

        With early-termination numbers only the first scale is fitted for every hypothesis, and one that is good enough
        goes on alone.

        Args:
            pictures: The pictures of the faces.
            boxes: Extent of the landmarks (x, y, width, height), pixels, shape (B, 4).
            options: What is known about each face.
        """
        rules, rest = self.fitter.model.early_termination, self.fitter.after_first_scale()
        if len(self.rotations) > 1 and rules is not None and rest is not None:
            return self._fit_with_early_termination(pictures, boxes, options, rules, rest)
        candidates = Candidates.cross(_count(boxes.shape[0], boxes), _count(len(self.rotations), boxes))
        states = self._fit_from_boxes(self.fitter, pictures, boxes, options, candidates)
        return self._most_likely(states, candidates, boxes.shape[0])

    def _fit_with_early_termination(
        self, pictures: Pictures, boxes: Tensor, options: FaceOptions, rules: EarlyTermination, rest: LandmarkFitter
    ) -> Choice:
        """The first scale for every face's first rotation, then for the others where needed; then the other scales.

        OpenFace tries one rotation after the other. Here the second wave tries all the others together, to the same
        result.
        """
        faces, hypotheses, first = (
            _count(boxes.shape[0], boxes),
            _count(len(self.rotations), boxes),
            self.fitter.first_scale(),
        )
        candidates = Candidates.cross(faces, hypotheses[:1])
        states = self._fit_from_boxes(first, pictures, boxes, options, candidates)
        unsure = faces[~_good_enough(states, rules)]  # this and the choice of the finalists are reads to the host
        others = Candidates.cross(unsure, hypotheses[1:])
        states = FitState.concatenate(states, self._fit_from_boxes(first, pictures, boxes, options, others))
        candidates = Candidates(
            torch.cat((candidates.face, others.face)), torch.cat((candidates.hypothesis, others.hypothesis))
        )

        kept, ended, place = self._finalists(states, candidates, rules, boxes.shape[0])
        kept = kept.nonzero().squeeze(-1)
        states, candidates, ended, place = states[kept], candidates[kept], ended[kept], place[kept]
        if self.fitter.numerics.quirks:
            # OpenFace: shapes are zeroed when the next hypothesis begins; only the last one tried goes on with its own.
            forgotten = ~ended & (candidates.hypothesis < len(hypotheses) - 1)
            params = states.params
            local = torch.where(forgotten[:, None], 0, params.local)
            states = replace(states, params=replace(params, local=local))
        states = rest.fit(pictures.rows(candidates.face), states, options.rows(candidates.face))
        choice = self._most_likely(states, candidates, boxes.shape[0])
        if not self.fitter.numerics.quirks:
            return choice
        # OpenFace: success is that of the candidate continued last, the lowest in rank, not the winner's.
        last = candidates.table(place, (len(faces), len(hypotheses)), -1).argmax(-1)
        going = candidates.table(states.going, (len(faces), len(hypotheses)), False)
        return replace(choice, success=going[faces, last])

    def _fit_from_boxes(
        self, fitter: LandmarkFitter, pictures: Pictures, boxes: Tensor, options: FaceOptions, candidates: Candidates
    ) -> FitState:
        """Fit candidates, each from its face's box and its hypothesis's rotation; a state of C rows."""
        angles = torch.tensor(self.rotations, dtype=boxes.dtype, device=boxes.device)
        pdm = fitter.model.pdm
        start = params_from_box(pdm, boxes[candidates.face], angles[candidates.hypothesis])
        state = FitState.at(start, pdm.num_landmarks)
        return fitter.fit(pictures.rows(candidates.face), state, options.rows(candidates.face))

    def _finalists(
        self, states: FitState, candidates: Candidates, rules: EarlyTermination, faces: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Which candidates go on, which are of a face whose search ended early, and their places by score; each (C,).

        Of a face whose search ended, the first good candidate goes on; of the others the three best.
        """
        shape = (faces, len(self.rotations))
        lowest = torch.finfo(states.likelihood.dtype).min
        score = candidates.table(_score(states, rules).clamp(min=lowest), shape, -torch.inf)
        good = candidates.table(_good_enough(states, rules), shape, False)
        place = score.argsort(dim=-1, descending=True, stable=True).argsort(-1)
        first = good & (good.int().cumsum(-1) == 1)
        ended = good.any(-1, keepdim=True).expand(shape)
        at = candidates.face, candidates.hypothesis
        return torch.where(ended, first, place < FINALISTS)[at], ended[at], place[at]

    def _most_likely(self, states: FitState, candidates: Candidates, faces: int) -> Choice:
        """The most likely candidate of each face; the first one where none has a likelihood."""
        shape = (faces, len(self.rotations))
        lowest = torch.finfo(states.likelihood.dtype).min
        likelihood = candidates.table(states.likelihood.nan_to_num(lowest).clamp(min=lowest), shape, -torch.inf)
        row = candidates.table(torch.arange(len(candidates.face), device=candidates.face.device), shape, -1)
        best = likelihood.argmax(-1)
        chosen = states[row.gather(-1, best[:, None]).squeeze(-1)]
        return Choice(state=chosen, hypothesis=best, success=chosen.going)


def _count(number: int, like: Tensor) -> Tensor:
    """0, 1, ... number - 1 on the device of `like`."""
    return torch.arange(number, device=like.device)


def _score(states: FitState, rules: EarlyTermination) -> Tensor:
    """The first scale's likelihoods made comparable between views, shape (C,)."""
    score = states.likelihood * rules.weights[states.view] + rules.biases[states.view]
    return torch.where(states.likelihood.isfinite(), score, -torch.inf)  # whatever the sign of the weight


def _good_enough(states: FitState, rules: EarlyTermination) -> Tensor:
    """Candidates (C,) that end the search."""
    return _score(states, rules) > rules.cutoffs[states.view]
