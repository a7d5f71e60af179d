"""Finer models of regions of the face: fitted where the whole face was found, and folded back into it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.fitting.config import part_preset
from clnf_torch.fitting.fitter import FitState, LandmarkFitter
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.fitting.initialise import params_from_landmarks, params_under_noise
from clnf_torch.geometry.host import is_readable
from clnf_torch.geometry.records import Rows
from clnf_torch.models.landmark_model import LandmarkModel, Part
from clnf_torch.models.numerics import EXACT, Numerics
from clnf_torch.models.pdm import ShapeParams

# Of a face's landmarks, millimetres, however large it is: the prior of a part's start counts pixels, and a shape that
# meets the lids of a large face to the pixel leaves the eye
LEAST_NOISE = 0.25


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
    landmarks, found = model.pdm.landmarks(params), {}
    for alike in _alike(model.parts):
        refine = active & (params.scale > _least_scale(alike[0]))
        found.update(_fit_alike(alike, numerics, images, landmarks, refine))
    parts = {part.name: found[part.name] for part in model.parts}
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


def _alike(parts: Sequence[Part]) -> list[list[Part]]:
    """The parts, together those that have one model and one preset: both eyes of a model that has one for both."""
    groups: list[list[Part]] = []
    for part in parts:
        group = next((group for group in groups if group[0].model is part.model and _same_preset(group[0], part)), None)
        if group is None:
            groups.append([part])
        else:
            group.append(part)
    return groups


def _same_preset(one: Part, other: Part) -> bool:
    """Whether two parts of one model are fitted in the same way."""
    return part_preset(one.name, one.model.family) == part_preset(other.name, other.model.family)


def _fit_alike(
    parts: Sequence[Part], numerics: Numerics, images: ImageBatch, landmarks: Tensor, refine: Tensor
) -> dict[str, PartFit]:
    """Parts of one model, of every face, refined in the rows of `refine` (B,): as rows of one fit."""
    model, count = parts[0].model, len(landmarks)
    given, known = _shared(parts[0], landmarks)
    if len(parts) > 1:
        given, known = map(torch.cat, zip(*(_shared(part, landmarks) for part in parts), strict=True))
        refine, images = refine.repeat(len(parts)), images.repeated(len(parts))
    preset = part_preset(parts[0].name, model.family)
    if preset.any_size:
        start = params_under_noise(model.pdm, given, LEAST_NOISE, known, largest_zoom=1)
    else:
        start = params_from_landmarks(model.pdm, given, known)
    fitter = LandmarkFitter(model, preset, numerics)
    none = FitState.at(start, model.pdm.num_landmarks)
    nobody = is_readable(refine) and not bool(refine.any())
    state = none if nobody else fitter.fit(images, none)
    params = state.params.where(refine, start)
    fits = PartFit(
        landmarks=model.pdm.landmarks(params),
        params=params,
        landmark_likelihoods=torch.where(refine[:, None], state.landmark_likelihoods, none.landmark_likelihoods),
        likelihood=torch.where(refine, state.likelihood, none.likelihood),
        refined=refine,
    )
    return {part.name: fits[number * count : (number + 1) * count] for number, part in enumerate(parts)}


def _shared(part: Part, landmarks: Tensor) -> tuple[Tensor, Tensor]:
    """What the landmarks of faces (B, N, 2) tell of those of a part, (B, K, 2), and of which they tell it, (B, K)."""
    shared, count = landmarks[:, part.in_parent], part.model.pdm.num_landmarks
    known = torch.zeros(len(landmarks), count, dtype=torch.bool, device=landmarks.device)
    # OpenFace: x = 0 means missing
    known = known.index_copy(1, part.in_part, shared[..., 0] != 0)
    return landmarks.new_zeros(len(landmarks), count, 2).index_copy(1, part.in_part, shared), known


def _least_scale(part: Part) -> float:
    """Pixels per millimetre of the whole face above which the part is refined."""
    return part.model.family.refine_above * part.model.patch_scales[0]
