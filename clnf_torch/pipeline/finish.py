"""What comes after the searches of a fit: its parts, whether it succeeded, and the record of its results."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from clnf_torch.detection.validator import is_face
from clnf_torch.fitting.fitter import FitState
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.fitting.parts import PartFit, fit_parts
from clnf_torch.geometry.constants import select_landmarks
from clnf_torch.geometry.host import is_readable
from clnf_torch.geometry.landmarks28 import CORNERS
from clnf_torch.geometry.similarity import similarity_between
from clnf_torch.measures.gaze import EYE_PARTS
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.pdm import ShapeParams
from clnf_torch.pipeline.result import FitResult

if TYPE_CHECKING:
    from clnf_torch.pipeline.detector import LandmarkDetector


def finish(detector: "LandmarkDetector", images: ImageBatch, state: FitState, parts: bool, validate: bool) -> FitResult:
    """The result of a fit that has ended, with its parts folded back, and validated."""
    valid = state.params.finite()
    params = state.params.where(valid, state.params.filled(1))
    fits: dict[str, PartFit] = {}
    if parts and detector.model.parts:
        params, fits = fit_parts(detector.model, detector.numerics, images, params, state.active & valid)
    shape = detector.model.pdm.landmarks(params)
    success = state.active & valid & _is_inside(shape, images.size)
    confidence = success.to(shape.dtype)
    if validate and detector.validator is not None:
        # OpenFace: a fit that failed is not validated and has confidence 0
        seen = detector.validator(images, params.rotation, shape, detector.numerics)
        confidence, success = torch.where(success, seen, 0), success & is_face(seen)
    landmarks = _refined(detector.model, params, shape, state.centroids)
    landmarks = torch.where(valid[:, None, None], landmarks, torch.nan)
    return FitResult(
        landmarks=landmarks,
        params=params.where(valid, state.params),
        likelihood=state.likelihood,
        landmark_likelihoods=state.landmark_likelihoods,
        landmark_errors=_expected_errors(detector.model, params, state),
        view=state.view,
        visible=state.visible,
        hypothesis=state.hypothesis,
        confidence=confidence,
        success=success,
        parts=fits,
        gaze=_gaze(detector, images, landmarks, fits),
    )


def _gaze(
    detector: "LandmarkDetector", images: ImageBatch, landmarks: Tensor, parts: Mapping[str, PartFit]
) -> Tensor | None:
    """Where the eyes (B, 2) of faces with landmarks (B, 68, 2) look, if the model tells: see `FitResult`."""
    network = detector.model.gaze_network
    if network is None or not all(name in parts for name in EYE_PARTS):
        return None
    middles = torch.stack([select_landmarks(parts[name].landmarks, CORNERS).mean(1) for name in EYE_PARTS], 1)
    requests = network.crop_requests(landmarks, middles)
    eyes, face = (images.crop(request, detector.numerics)[0] for request in requests)
    found: Tensor = network(eyes, face, requests[0].to_image)
    return found


def _refined(model: LandmarkModel, params: ShapeParams, shape: Tensor, centroids: Tensor | None) -> Tensor:
    """The landmarks (B, N, 2) of fitted shapes after the refinement of their model, if it has one."""
    if model.refinement is None or centroids is None:
        return shape
    to_image = similarity_between(model.pdm.reference_landmarks(params.local, 1.0), shape)
    return model.refinement(shape, centroids, to_image)


def _expected_errors(model: LandmarkModel, params: ShapeParams, state: FitState) -> Tensor | None:
    """Of the landmarks (B, N), pixels; NaN where they are not known, None where the model does not tell."""
    if model.error_model is None:
        return None
    if state.spreads is None:
        return torch.full_like(state.landmark_likelihoods, torch.nan)
    pixels = params.scale[:, None]
    errors: Tensor = model.error_model(state.spreads / pixels) * pixels
    return errors


def with_verdict(
    detector: "LandmarkDetector",
    result: FitResult,
    images: ImageBatch,
    verdict: FitState,
    parts: bool,
    validate: bool,
) -> FitResult:
    """The result with confidence and success of the candidates that decide on them, B rows."""
    if not validate or detector.validator is None:
        success = verdict.active & _is_inside(result.landmarks, images.size)
        return replace(result, confidence=success.to(result.confidence), success=success)
    others = verdict.hypothesis != result.hypothesis
    if is_readable(others):
        rows = others.nonzero().squeeze(-1)
        last = finish(detector, images.rows(rows), verdict[rows], parts, validate)
        confidence = result.confidence.index_copy(0, rows, last.confidence)
        success = result.success.index_copy(0, rows, last.success)
    else:
        last = finish(detector, images, verdict, parts, validate)
        confidence = torch.where(others, last.confidence, result.confidence)
        success = torch.where(others, last.success, result.success)
    return replace(result, confidence=confidence, success=success & _is_inside(result.landmarks, images.size))


def _is_inside(landmarks: Tensor, size: tuple[int, int]) -> Tensor:
    """Faces (B,) whose landmarks (B, N, 2) are finite, at least half of them in an image of a height and width."""
    x, y = landmarks.unbind(-1)
    inside = (x >= -0.5) & (x <= size[1] - 0.5) & (y >= -0.5) & (y <= size[0] - 0.5)
    return (x + y).isfinite().all(-1) & (2 * inside.sum(-1) >= inside.shape[-1])
