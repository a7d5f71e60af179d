"""The multi-scale fit: responses, a rigid and a non-rigid search per scale, coarse to fine, for every face at once."""

import sys
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from clnf_torch.compilation.conditions import recorded
from clnf_torch.fitting import compiled
from clnf_torch.fitting.config import FitConfig, value_at
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.fitting.mean_shift import UNSEEN, landmark_likelihoods, model_likelihood
from clnf_torch.fitting.nu_rlms import search_responses
from clnf_torch.fitting.responses import ResponseField, respond
from clnf_torch.geometry.records import Rows, join_rows
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.numerics import Numerics
from clnf_torch.models.patch_experts.base import Experts
from clnf_torch.models.pdm import ShapeParams

# Pixels per millimetre; OpenFace: smaller faces fail
SMALLEST = 0.25
# Faces, or hypotheses of faces, that are fitted together on any device: their areas and response maps take up to 4 MB
# each, and more of them are no faster on the CPU
FEW_ROWS = 32
# What a row takes on a card at most, maps and temporaries of the largest model that ships, and the share of its free
# memory that rows may take
CUDA_ROW_BYTES, CUDA_SHARE = 4 << 20, 0.5
# OpenFace: faces smaller than this get their likelihood at every scale, since they may fail at the next
SMALL = 0.30


@dataclass(frozen=True, kw_only=True)
class FitState(Rows):
    """How far the fits of B faces have come, and what was known about the faces beforehand.

    Attributes:
        params: Pose and shape.
        active: Neither too small nor unreadable so far, bool, shape (B,).
        view: View of the patch experts at the last fitted scale, int64, shape (B,).
        likelihood: Mean log-likelihood of the visible landmarks, shape (B,).
        landmark_likelihoods: Shape (B, N).
        visible: Landmarks that the last fitted scale saw, bool, shape (B, N).
        centroids: Of the response maps of the scales that the model's refinement asks for, as far as the fit has come,
            pixels, NaN where there is none, shape (B, K, N, 2); None before them, and where there is no refinement.
        spreads: Of the maps of the last one, pixels, shape (B, N); None before it, and without an error model.
        hypothesis: The rotation that the fit began with, by its place in the list of rotations, int64, shape (B,).
        landmark_weight: Known beforehand: multiplies the weights of the landmarks, shape (B, N).
        hidden: Known beforehand: landmarks that cannot be seen, though the view would show them, bool, shape (B, N).
        regularisation: Known beforehand: takes the place of the configured regularisation, shape (B,).
    """

    params: ShapeParams
    active: Tensor
    view: Tensor
    likelihood: Tensor
    landmark_likelihoods: Tensor
    visible: Tensor
    hypothesis: Tensor
    landmark_weight: Tensor | None = None
    hidden: Tensor | None = None
    regularisation: Tensor | None = None
    centroids: Tensor | None = None
    spreads: Tensor | None = None

    @classmethod
    def at(cls, params: ShapeParams, num_landmarks: int, **known: Tensor | None) -> "FitState":
        """Before the first scale. Rows whose parameters are not finite have failed already."""
        shape = (len(params), num_landmarks)
        zeros = torch.zeros(len(params), dtype=torch.int64, device=params.scale.device)
        return cls(
            params=params,
            active=params.finite(),
            view=zeros,
            likelihood=params.scale.new_full((len(params),), -torch.inf),
            landmark_likelihoods=params.scale.new_full(shape, UNSEEN),
            visible=torch.zeros(shape, dtype=torch.bool, device=params.scale.device),
            hypothesis=zeros,
            **known,
        )


class LandmarkFitter:
    """Fits a landmark model to images.

    Args:
        model: The model.
        config: Windows, iterations, kernel width, prior; adapted to the model's family already.
        numerics: OpenFace's approximations or the exact forms.

    Raises:
        ValueError: There are fewer window sizes than the model has scales, or all of the model's are 0.
    """

    def __init__(self, model: LandmarkModel, config: FitConfig, numerics: Numerics) -> None:
        windows = config.window_sizes[: model.num_scales]
        if len(windows) < model.num_scales or not any(windows):
            raise ValueError(
                f"window_sizes {config.window_sizes} do not suit a model of {model.num_scales} scales; "
                "give one window per scale, at least one of them not 0"
            )
        self.model, self.config, self.numerics = model, config, numerics
        self._scales = [index for index, window in enumerate(windows) if window]
        self._patch_scales = model.patch_scales

    def first_scale(self) -> "LandmarkFitter":
        """The same fitter for the first fitted scale alone."""
        return self._only(self._scales[:1])

    def after_first_scale(self) -> "LandmarkFitter | None":
        """The same fitter for the scales after it; None where there are none."""
        return self._only(self._scales[1:]) if len(self._scales) > 1 else None

    def fit(self, images: ImageBatch, state: FitState) -> FitState:
        """Fit scale after scale.

        Args:
            images: The images of the faces.
            state: Where to start.

        Returns:
            The state after the last scale. Rows that failed keep the parameters they had then.

        Source:
            OpenFace ``CLNF::Fit``.
        """
        state, device = self.with_prior(state), state.params.scale.device
        # To ask a card takes as long as some operations on it
        if len(state) > FEW_ROWS and len(state) > (together := _rows_together(device)):
            blocks = torch.arange(len(state), device=device).split(together)
            return join_rows(*(self._fit_together(images.rows(rows), state[rows]) for rows in blocks))
        return self._fit_together(images, state)

    def with_prior(self, state: FitState) -> FitState:
        """The state with the prior of each face that the settings hold, if any, so that rows take theirs along."""
        given = self.config.regularisation
        if state.regularisation is not None or not isinstance(given, Tensor):
            return state
        return replace(state, regularisation=given.to(state.likelihood).expand(len(state)))

    def _fit_together(self, images: ImageBatch, state: FitState) -> FitState:
        """As `fit`, all rows at once."""
        if self._has_loops_for(images, state):
            return self._fit_in_loops(images, state)
        for index in self._scales:
            state = self._fit_scale(images, state, index)
        return state

    def _has_loops_for(self, images: ImageBatch, state: FitState) -> bool:
        """Whether compiled loops can fit the faces: on the CPU, in float32, without gradients."""
        pdm, given = self.model.pdm, state.landmark_weight
        numbers = (*vars(state.params).values(), state.likelihood, *(() if given is None else (given,)))
        plain = state.likelihood.is_cpu and not images.recorded and not self._is_learned(state)
        return plain and compiled.usable(*numbers, pdm.mean, pdm.modes, pdm.variances)

    def _is_learned(self, state: FitState) -> bool:
        """Whether gradients are recorded for what loops take as given: the patch experts, and the regularisation."""
        if not torch.is_grad_enabled():
            return False
        priors = () if state.regularisation is None else (state.regularisation,)
        return recorded(*priors, *self.model.experts.parameters())

    def _fit_in_loops(self, images: ImageBatch, state: FitState) -> FitState:
        """As `fit`, with compiled loops around the patch experts."""
        experts, windows, given = self.model.experts_at, self.config.window_sizes, state.regularisation
        scales = [
            compiled.Scale(experts(index), windows[index], self._config_at(index, given), self._is_last(index))
            for index in self._scales
        ]
        fitted, found = compiled.fit_scales(self.model.pdm, scales, self.numerics, images, state, (SMALLEST, SMALL))
        for index, (field, searched) in zip(self._scales, found, strict=True):
            fitted = self._with_maps_read(fitted, index, field, searched)
        return fitted

    def _fit_scale(self, images: ImageBatch, state: FitState, index: int) -> FitState:
        """Responses at the current parameters, then the rigid and the non-rigid search on them."""
        experts, pdm, step = self.model.experts_at(index), self.model.pdm, self.numerics.kernel_step
        config = self._config_at(index, state.regularisation)
        start = state.params.where(state.active, _stand_in(state.params))
        view = experts.nearest_view(start.rotation)
        visible = experts.visible[view] if state.hidden is None else experts.visible[view] & ~state.hidden
        weight = _landmark_weights(experts, view, visible, config.weight_factor, state.landmark_weight)
        if self.config.any_size:
            weight = weight * (experts.scale / start.scale.detach()).square()[:, None]
        window = self.config.window_sizes[index]
        field, readable = respond(experts, pdm, images, start, view, weight, window, self.numerics)
        rigid_scale, params, positions = search_responses(pdm, start, field, config, step)

        active = state.active & readable
        likelihoods = landmark_likelihoods(field.responses, positions, visible, value_at(config.sigma, index))
        scored = active if self._is_last(index) else active & (rigid_scale < SMALL)
        fitted = replace(
            state,
            params=params.where(active, state.params),
            active=active & ~(params.scale < SMALLEST),
            view=torch.where(active, view, state.view),
            likelihood=torch.where(scored, model_likelihood(likelihoods, visible), state.likelihood),
            landmark_likelihoods=torch.where(scored[:, None], likelihoods, state.landmark_likelihoods),
            visible=torch.where(active[:, None], visible, state.visible),
        )
        return self._with_maps_read(fitted, index, field, active)

    def _with_maps_read(self, state: FitState, index: int, field: ResponseField, active: Tensor) -> FitState:
        """The state after a scale, with what refinement and error model ask of its maps.

        NaN in rows that failed, and for hidden landmarks.
        """
        refinement, left = self.model.refinement, self.model.num_scales - 1 - index
        scales = 0 if refinement is None else refinement.scales
        refined, judged = left < scales, self.model.error_model is not None and not left
        if not (refined or judged):
            return state
        known, centroids, spreads = active[:, None] & (field.weight > 0), state.centroids, state.spreads
        if refined:
            centroids = _with_centroids(centroids, field.centroids(known)[:, None], scales - 1 - left)
        if judged:
            spreads = torch.where(known, field.spreads(), torch.nan)
        return replace(state, centroids=centroids, spreads=spreads)

    def _config_at(self, index: int, given: Tensor | None) -> FitConfig:
        """The settings at a scale, with the faces' own regularisation (B,) where it is given."""
        config = self.config if given is None else replace(self.config, regularisation=given)
        return config.at_scale(index, self._patch_scales)

    def _is_last(self, index: int) -> bool:
        """Whether this is the last scale, or the next one is skipped (OpenFace: even where a later one is not)."""
        windows = self.config.window_sizes
        return index + 1 >= self.model.num_scales or windows[index + 1] == 0

    def _only(self, scales: list[int]) -> "LandmarkFitter":
        """The same fitter with the windows of all other scales set to 0."""
        windows = tuple(window if index in scales else 0 for index, window in enumerate(self.config.window_sizes))
        return LandmarkFitter(self.model, replace(self.config, window_sizes=windows), self.numerics)


def _rows_together(device: torch.device) -> int:
    """How many rows a device fits together, as far as more than `FEW_ROWS` are to be fitted."""
    if device.type == "cpu":
        return FEW_ROWS
    if device.type != "cuda":
        return sys.maxsize
    return max(FEW_ROWS, int(CUDA_SHARE * _free_memory(device)) // CUDA_ROW_BYTES)


def _free_memory(device: torch.device) -> int:
    """Bytes of a card that nobody uses; all of them within a capture, which asks drivers for nothing."""
    if torch.cuda.is_current_stream_capturing():
        return int(torch.cuda.get_device_properties(device).total_memory)
    free, _ = torch.cuda.mem_get_info(device)
    # Torch keeps what it once had of a card, and uses it again
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def _stand_in(params: ShapeParams) -> ShapeParams:
    """Parameters that any image can be read at, in place of those of rows that have failed."""
    pose = (torch.ones_like(params.scale), torch.zeros_like(params.rotation), torch.zeros_like(params.translation))
    return ShapeParams(*pose, torch.zeros_like(params.local))


def _with_centroids(before: Tensor | None, found: Tensor, place: int) -> Tensor:
    """Centroids of scales (B, place, N, 2) and, after them, those (B, 1, N, 2) of one more; NaN for scales between."""
    if not place:
        return found
    before = found[:, :0] if before is None else before[:, :place]
    missing = [torch.full_like(found, torch.nan)] * (place - before.shape[1])
    return torch.cat((before, *missing, found), 1)


def _landmark_weights(experts: Experts, view: Tensor, visible: Tensor, factor: float, given: Tensor | None) -> Tensor:
    """Weight of each landmark (B, N): 1, or the factor times its confidence; times what was given; 0 where unseen."""
    weight = visible.to(experts.confidence.dtype)
    if factor != 0:
        weight = weight * factor * experts.confidence[view]
    return weight if given is None else weight * given
