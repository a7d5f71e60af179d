"""Pairs of a face and a rotation hypothesis: the rows of a search, and the choice among them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.fitting.areas import Pictures
from clnf_torch.fitting.fitter import FaceOptions, FitState, LandmarkFitter
from clnf_torch.fitting.initialise import params_from_box

Rotations = tuple[tuple[float, float, float], ...]  # Euler angles in radians, in the order of preference


@dataclass(frozen=True)
class Candidates:
    """Pairs of a face and a hypothesis, one per row of a batch."""

    face: Tensor  # (C,) int64
    hypothesis: Tensor  # (C,) int64

    @classmethod
    def cross(cls, faces: Tensor, hypotheses: Tensor) -> "Candidates":
        """Every face with every hypothesis, face by face."""
        return cls(faces.repeat_interleave(hypotheses.shape[0]), hypotheses.repeat(faces.shape[0]))

    @classmethod
    def concatenate(cls, first: "Candidates", second: "Candidates") -> "Candidates":
        """The rows of two, one after the other."""
        return cls(torch.cat((first.face, second.face)), torch.cat((first.hypothesis, second.hypothesis)))

    def __getitem__(self, rows: Tensor) -> "Candidates":
        """The candidates of these rows."""
        return Candidates(self.face[rows], self.hypothesis[rows])

    def table(self, values: Tensor, shape: tuple[int, int], missing: float) -> Tensor:
        """Values (C,) laid out by face and hypothesis (B, K), and `missing` where there is no such candidate."""
        return values.new_full(shape, missing).index_put((self.face, self.hypothesis), values)


@dataclass(frozen=True, kw_only=True)
class SearchInput:
    """What a search looks at: the pictures of B faces, their boxes, and what else is known."""

    pictures: Pictures
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
        return fitter.fit(self.pictures.rows(candidates.face), state, self.options.rows(candidates.face))


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The fit of each face's best hypothesis."""

    state: FitState  # (B,) rows
    hypothesis: Tensor  # (B,) int64: its place in the list of rotations
    judged_hypothesis: Tensor  # (B,) int64: the candidate that decides on success
    judged: FitState  # (B,) rows: the candidates that decide on success. The best ones; OpenFace: those continued last

    @property
    def success(self) -> Tensor:
        """Faces whose fit succeeded, bool, shape (B,)."""
        return self.judged.going

    @classmethod
    def most_likely(cls, states: FitState, candidates: Candidates, shape: tuple[int, int]) -> "Choice":
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
        return cls(state=chosen, hypothesis=best, judged_hypothesis=best, judged=chosen)
