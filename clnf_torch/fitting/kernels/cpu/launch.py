"""The compiled loops on tensors: how they become arrays, and how threads share the faces."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from clnf_torch.compilation.compiler import Arrays, f32
from clnf_torch.compilation.threads import arrays, in_threads
from clnf_torch.fitting.config import FitConfig, value_at
from clnf_torch.fitting.kernels.cpu import crops, search
from clnf_torch.models.pdm import PDM, ShapeParams

if TYPE_CHECKING:
    from clnf_torch.fitting.responses import ResponseField


def search_responses(
    pdm: PDM, start: ShapeParams, field: "ResponseField", config: FitConfig, kernel_step: float | None
) -> tuple[Tensor, ShapeParams, Tensor]:
    """`search_responses` of `nu_rlms`."""
    params, rigid = _copied(start), torch.empty_like(start.scale)
    found = field.base.new_empty(field.base.shape)
    maps = arrays(field.responses, field.base, field.to_reference, field.to_image, field.weight)
    prior = config.prior_precision(pdm.variances).expand(len(found), -1)
    widths = tuple(map(f32, (value_at(config.sigma, 0), kernel_step or 0.0, config.tolerance)))
    rows = arrays(*params), maps, arrays(prior, rigid, found)

    def some(params: Arrays, maps: Arrays, others: Arrays) -> None:
        prior, rigid, found = others
        search.search_responses(_model_arrays(pdm), params, maps, prior, config.iterations, widths, rigid, found)

    in_threads(some, rows, len(found))
    return rigid, ShapeParams(*params), found


def cut_areas(
    padded: Tensor, image_index: Tensor, landmarks: Tensor, to_image: Tensor, width: int, on_32nds: bool
) -> Tensor:
    """`ImageBatch.cut_areas`."""
    areas = landmarks.new_empty(*landmarks.shape[:2], width, width)
    (images,) = arrays(padded)

    def some(faces: Arrays) -> None:
        index, landmarks, to_image, areas = faces
        crops.cut_areas(images, index, landmarks, to_image, on_32nds, areas)

    in_threads(some, (arrays(image_index, landmarks, to_image, areas),), len(areas))
    return areas


def search_landmarks(pdm: PDM, start: ShapeParams, landmarks: Tensor, weight: Tensor) -> ShapeParams:
    """The steps of `params_from_landmarks`, from the upright start on."""
    params, (precision,) = _copied(start), arrays(1 / pdm.variances)

    def some(params: Arrays, others: Arrays) -> None:
        search.search_landmarks(_model_arrays(pdm), params, *others, precision)

    in_threads(some, (arrays(*params), arrays(landmarks.mT, weight)), len(landmarks))
    return ShapeParams(*params)


def _model_arrays(pdm: PDM) -> Arrays:
    """Mean points (3, N), modes (M, 3, N) and greatest coefficients (M,) of a shape model."""
    return arrays(pdm.mean.mT, pdm.modes.mT, pdm.local_limit)


def _copied(params: ShapeParams) -> tuple[Tensor, ...]:
    """Scale, rotation, translation and coefficients in memory of their own."""
    values = (params.scale, params.rotation, params.translation, params.local)
    return tuple(value.detach().clone(memory_format=torch.contiguous_format) for value in values)
