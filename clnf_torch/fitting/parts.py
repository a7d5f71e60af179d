"""Finer models of regions of the face: fitted where the whole face was found, and folded back into it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.fitting.config import part_preset
from clnf_torch.fitting.fitter import FitState, LandmarkFitter
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.geometry.host import is_readable
from clnf_torch.geometry.records import Rows
from clnf_torch.models.landmark_model import LandmarkModel, Part
from clnf_torch.models.numerics import EXACT, Numerics
from clnf_torch.models.pdm import ShapeParams


@dataclass(frozen=True, kw_only=True)
class PartFit(Rows):
    """One part of B faces.

    Attributes:
        landmarks: Pixels, shape (B, K, 2).
        params: Pose and shape of the part.
        landmark_likelihoods: Shape (B, K), -1e8 where the part was not refined.
        likelihood: Shape (B,), minus infinity where the part was not refined.
        refined: Fitted to the image; otherwise read off the whole face, bool, shape (B,).
    """

    landmarks: Tensor
    params: ShapeParams
    landmark_likelihoods: Tensor
    likelihood: Tensor
    refined: Tensor


def fit_parts(
    model: LandmarkModel, numerics: Numerics, images: ImageBatch, params: ShapeParams, active: Tensor
) -> tuple[ShapeParams, dict[str, PartFit]]:
    """Fit the parts of faces, and fold back those that are meant to.

    Args:
        model: The model of the whole face.
        numerics: OpenFace's approximations or the exact forms.
        images: The images of the faces.
        params: The fitted faces, finite in every row.
        active: Faces whose fit did not fail, bool, shape (B,); the others keep their parameters.

    Returns:
        The whole faces after their parts were folded back, and the parts by name.

    Source:
        OpenFace ``CLNF::DetectLandmarks``, its hierarchical part.
    """
    landmarks = model.pdm.landmarks(params)
    parts = {
        part.name: _fit_part(part, numerics, images, landmarks, active & (params.scale > _least_scale(part)))
        for part in model.parts
    }
    folding, folded = [part for part in model.parts if part.folds_back], landmarks
    if not folding:
        return params, parts
    # In the file's order: later parts overwrite earlier ones
    for part in folding:
        folded = folded.index_copy(1, part.in_parent, parts[part.name].landmarks[:, part.in_part])
    again = torch.stack([parts[part.name].refined for part in folding]).any(0)
    # OpenFace: the face's own fit is discarded, the new one is not clamped, and landmarks at x = 0 are left out.
    return params_from_landmarks(model.pdm, folded, folded[..., 0] != 0).where(again, params), parts


def check_parts(model: LandmarkModel) -> None:
    """Refuses parts of more scales than their settings, which are chosen by their names, have windows for.

    Raises:
        ValueError: There is one.
    """
    for part in model.parts:
        try:
            LandmarkFitter(part.model, part_preset(part.name, part.model.family), EXACT)
        except ValueError as error:
            raise ValueError(f"the part {part.name!r} cannot be fitted: {error}") from error


def _fit_part(part: Part, numerics: Numerics, images: ImageBatch, landmarks: Tensor, refine: Tensor) -> PartFit:
    """One part of every face, refined in the rows of `refine` (B,)."""
    pdm = part.model.pdm
    shared = landmarks[:, part.in_parent]
    known = torch.zeros(len(landmarks), pdm.num_landmarks, dtype=torch.bool, device=landmarks.device)
    # OpenFace: x = 0 means missing
    known = known.index_copy(1, part.in_part, shared[..., 0] != 0)
    given = landmarks.new_zeros(len(landmarks), pdm.num_landmarks, 2).index_copy(1, part.in_part, shared)
    start = params_from_landmarks(pdm, given, known)
    fitter = LandmarkFitter(part.model, part_preset(part.name, part.model.family), numerics)
    none = FitState.at(start, pdm.num_landmarks)
    nobody = is_readable(refine) and not bool(refine.any())
    state = none if nobody else fitter.fit(images, none)
    params = state.params.where(refine, start)
    return PartFit(
        landmarks=pdm.landmarks(params),
        params=params,
        landmark_likelihoods=torch.where(refine[:, None], state.landmark_likelihoods, none.landmark_likelihoods),
        likelihood=torch.where(refine, state.likelihood, none.likelihood),
        refined=refine,
    )


def _least_scale(part: Part) -> float:
    """Pixels per millimetre of the whole face above which the part is refined."""
    return part.model.family.refine_above * part.model.patch_scales[0]
