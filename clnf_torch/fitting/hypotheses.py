"""Several starting rotations per face (hypotheses), so that turned heads are found too; the most likely fit is kept."""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from clnf_torch.compilation.conditions import transformed
from clnf_torch.compilation.kept import Kept
from clnf_torch.fitting.fitter import FitState, LandmarkFitter
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.fitting.initialise import params_in_boxes, turned_extent
from clnf_torch.geometry.constants import constant
from clnf_torch.geometry.host import is_readable
from clnf_torch.geometry.records import join_rows
from clnf_torch.models.pdm import PDM

# Euler angles in radians, in the order of preference
Rotations = tuple[tuple[float, float, float], ...]

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
# Of the mean shape, by rotations; see `_mean_extent`
_kept_extents: Kept[dict[Rotations, tuple[Tensor, Tensor]]] = Kept(lambda pdm: {}, lambda pdm: (pdm.mean,))
# Hypotheses that go on to the other scales when none was good enough after the first
FINALISTS = 3


def search_hypotheses(
    fitter: LandmarkFitter, rotations: Rotations, images: ImageBatch, boxes: Tensor, known: FitState
) -> tuple[FitState, FitState]:
    """Fit faces from several rotations of the head and keep the most likely fits.

    Hypotheses are more rows of the batch: C candidates, each a face with a hypothesis. A model with early-termination
    numbers fits only the first scale of all of them.

    Args:
        fitter: Fits the rows.
        rotations: The K hypotheses.
        images: The images of the faces.
        boxes: Extent of the landmarks: x, y, width, height, pixels, shape (B, 4).
        known: What is known about each face beforehand, B rows; its parameters are not used.

    Returns:
        The fits that are kept, B rows; and those that decide on success, B rows: the same ones, but see
        `_verdict_of_last`.

    Source:
        OpenFace ``DetectLandmarksInImageMultiHypBasic``, ``DetectLandmarksInImageMultiHypEarlyTerm``.
    """
    rules, rest = fitter.model.early_termination, fitter.after_first_scale()
    known, shape = fitter.with_prior(known), (len(boxes), len(rotations))
    faces, hypotheses = (torch.arange(count, device=boxes.device) for count in shape)
    if len(rotations) == 1:
        kept = fitter.fit(images, start_in_boxes(fitter.model.pdm, boxes, rotations, torch.zeros_like(faces), known))
        return kept, kept
    if rules is None or rest is None:
        face, hypothesis = cross(faces, hypotheses)
        state = start_in_boxes(fitter.model.pdm, boxes[face], rotations, hypothesis, known[face])
        kept = most_likely(fitter.fit(images.rows(face), state), face, shape)
        return kept, kept
    face, state = _fit_first_scale(fitter.first_scale(), rules, rotations, images, boxes, known)
    final = _finalists(state, face, rules, shape)
    face, state = face[final.rows], state[final.rows]
    if fitter.numerics.quirks:
        state = _forget_shapes(state, final.ended, last=shape[1] - 1)
    state = rest.fit(images.rows(face), state)
    kept = most_likely(state, face, shape, final.counted)
    return kept, _verdict_of_last(state, face, final, shape) if fitter.numerics.quirks else kept


def cross(faces: Tensor, hypotheses: Tensor) -> tuple[Tensor, Tensor]:
    """Every face (F,) with every hypothesis (H,), face by face: face and hypothesis of F * H candidates."""
    return faces.repeat_interleave(len(hypotheses)), hypotheses.repeat(len(faces))


def start_in_boxes(
    pdm: PDM, boxes: Tensor, rotations: Rotations, hypothesis: Tensor, known: FitState | None = None
) -> FitState:
    """Where fits of candidates begin: each in the box (C, 4) of its face, rotated as its hypothesis (C,) says."""
    angles = constant(rotations, boxes)
    local = boxes.new_zeros(len(boxes), pdm.num_modes)
    corners = (corner[hypothesis] for corner in _mean_extent(pdm, rotations, angles))
    params = params_in_boxes(boxes, angles[hypothesis], local, *corners)
    known = FitState.at(params, pdm.num_landmarks) if known is None else known
    return replace(known, params=params, active=params.finite(), hypothesis=hypothesis)


def _mean_extent(pdm: PDM, rotations: Rotations, angles: Tensor) -> tuple[Tensor, Tensor]:
    """Corners (K, 2) of the mean shape in each rotation (K, 3), mm; kept for later calls where nothing is recorded."""
    if torch.is_grad_enabled() or transformed() or not is_readable(angles) or angles.dtype != pdm.mean.dtype:
        return turned_extent(pdm, angles, angles.new_zeros(len(angles), pdm.num_modes))
    kept = _kept_extents(pdm)
    if rotations not in kept:
        kept[rotations] = turned_extent(pdm, angles, angles.new_zeros(len(angles), pdm.num_modes))
    return kept[rotations]


def _fit_first_scale(
    first: LandmarkFitter,
    rules: Tensor,
    rotations: Rotations,
    images: ImageBatch,
    boxes: Tensor,
    known: FitState,
) -> tuple[Tensor, FitState]:
    """The first rotation of every face; then the others of those faces for which it was not good enough.

    OpenFace tries one rotation after the other. Here the others of a face are tried together, to the same result; where
    the host cannot read whose search has ended, the others of every face.

    Returns:
        The face of each candidate, int64, shape (C,), and the fits, C rows.
    """
    pdm = first.model.pdm
    faces, hypotheses = (torch.arange(count, device=boxes.device) for count in (len(boxes), len(rotations)))
    face, hypothesis = cross(faces, hypotheses[:1] if is_readable(boxes) else hypotheses)
    state = start_in_boxes(pdm, boxes[face], rotations, hypothesis, known[face])
    state = first.fit(images.rows(face), state)
    if not is_readable(boxes):
        return face, state
    unsure = faces[~_good_enough(state, rules)]
    if len(unsure) == 0:
        return face, state
    others, hypothesis = cross(unsure, hypotheses[1:])
    more = start_in_boxes(pdm, boxes[others], rotations, hypothesis, known[others])
    more = first.fit(images.rows(others), more)
    return torch.cat((face, others)), join_rows(state, more)


def _score(state: FitState, rules: Tensor) -> Tensor:
    """The first scale's likelihoods made comparable between views, shape (C,)."""
    weight, bias, _ = rules[:, state.view]
    score = state.likelihood * weight + bias
    # Whatever the sign of the weight
    return torch.where(state.likelihood.isfinite(), score, -torch.inf)


def _good_enough(state: FitState, rules: Tensor) -> Tensor:
    """Candidates (C,) that end the search of their face."""
    return _score(state, rules) > rules[2, state.view]


class _Finalists(NamedTuple):
    """Candidates that go on to the other scales.

    Attributes:
        rows: Which, int64, shape (C,).
        counted: Whether each may be kept; the others only fill up a face's three, bool, shape (C,).
        ended: Whether each has ended its face's search, bool, shape (C,).
        rank: Of each among the candidates of its face by score, 0 being the best, int64, shape (C,).
    """

    rows: Tensor
    counted: Tensor
    ended: Tensor
    rank: Tensor


def _finalists(state: FitState, face: Tensor, rules: Tensor, shape: tuple[int, int]) -> _Finalists:
    """Of a face whose search ended, the first candidate that is good enough; of the others the three best."""
    at = face, state.hypothesis
    lowest = torch.finfo(state.likelihood.dtype).min
    score = _table(_score(state, rules).clamp(min=lowest), at, shape, -torch.inf)
    good = _table(_good_enough(state, rules), at, shape, False)
    rank = score.argsort(dim=-1, descending=True, stable=True).argsort(-1)
    first = good & (good.int().cumsum(-1) == 1)
    ended = good.any(-1, keepdim=True).expand(shape)
    chosen = torch.where(ended, first, rank < FINALISTS)
    if is_readable(face):
        rows = chosen[at].nonzero().squeeze(-1)
    else:
        # Every candidate is there, face by face
        most = chosen.int().argsort(dim=-1, descending=True, stable=True)[:, :FINALISTS]
        rows = (most + shape[1] * torch.arange(shape[0], device=face.device)[:, None]).flatten()
    return _Finalists(rows, chosen[at][rows], ended[at][rows], rank[at][rows])


def most_likely(state: FitState, face: Tensor, shape: tuple[int, int], counted: Tensor | None = None) -> FitState:
    """The most likely candidate of each face; the first one where none has a likelihood.

    Args:
        state: The candidates, C rows; at least one for each face.
        face: The face of each, int64, shape (C,).
        shape: Number of faces and of hypotheses (B, K).
        counted: Candidates that may be chosen, bool, shape (C,); None: all.
    """
    lowest, at = torch.finfo(state.likelihood.dtype).min, (face, state.hypothesis)
    likelihood = state.likelihood.nan_to_num(lowest).clamp(min=lowest)
    if counted is not None:
        likelihood = torch.where(counted, likelihood, -torch.inf)
    likelihood = _table(likelihood, at, shape, -torch.inf)
    return _chosen(state, face, likelihood.argmax(-1, keepdim=True), shape)


def _forget_shapes(state: FitState, ended: Tensor, last: int) -> FitState:
    """OpenFace: shapes are zeroed when the next hypothesis begins; only the last one tried goes on with its own."""
    forgotten = ~ended & (state.hypothesis < last)
    local = torch.where(forgotten[:, None], 0, state.params.local)
    return replace(state, params=replace(state.params, local=local))


def _verdict_of_last(state: FitState, face: Tensor, final: _Finalists, shape: tuple[int, int]) -> FitState:
    """OpenFace: success is that of the candidate continued last, the lowest in rank, not the winner's."""
    last = _table(torch.where(final.counted, final.rank, -1), (face, state.hypothesis), shape, -1).argmax(
        -1, keepdim=True
    )
    return _chosen(state, face, last, shape)


def _chosen(state: FitState, face: Tensor, hypothesis: Tensor, shape: tuple[int, int]) -> FitState:
    """Of each face the candidate of one hypothesis (B, 1)."""
    rows = _table(torch.arange(len(face), device=face.device), (face, state.hypothesis), shape, -1)
    return state[rows.gather(-1, hypothesis).squeeze(-1)]


def _table(values: Tensor, at: tuple[Tensor, Tensor], shape: tuple[int, int], missing: float) -> Tensor:
    """Values (C,) laid out by face and hypothesis (B, K), and `missing` where there is no such candidate."""
    return values.new_full(shape, missing).index_put(at, values)
