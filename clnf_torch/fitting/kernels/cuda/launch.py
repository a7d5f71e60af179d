"""The Triton programs on tensors: the sizes of their blocks, and what they are started with."""

from typing import TYPE_CHECKING, Any

import torch
import triton
from torch import Tensor

from clnf_torch.compilation.cards import LEAST_SIDE, obstacle, on_device_of, whole, works
from clnf_torch.fitting.config import FitConfig, value_at
from clnf_torch.fitting.initialise import upright_start
from clnf_torch.fitting.kernels.cuda import landmark_search, search
from clnf_torch.models.pdm import PDM, ShapeParams

__all__ = ["obstacle", "search_landmarks", "search_responses", "works"]

if TYPE_CHECKING:
    from clnf_torch.fitting.responses import ResponseField

# Numbers of response maps that a program holds at once: 8 or 16 for each of its threads
CELLS_AT_ONCE = 2048
# Normal equations of more columns do not fit into the registers of 128 threads
MOST_COLUMNS_OF_4_WARPS = 32


def search_responses(
    pdm: PDM, start: ShapeParams, field: "ResponseField", config: FitConfig, kernel_step: float | None
) -> tuple[Tensor, ShapeParams, Tensor]:
    """`search_responses` of `nu_rlms`, in one launch."""
    faces, window = field.responses.shape[0], field.responses.shape[-1]
    rigid, params = torch.empty_like(start.scale), _empty_like(start)
    found = field.base.new_empty(field.base.shape)
    prior: Any = config.regularisation
    own = isinstance(prior, Tensor)
    prior = prior.to(field.base).expand(faces).contiguous() if own else float(value_at(prior, 0))
    # Whole numbers would be compiled as such
    widths = map(float, (value_at(config.sigma, 0), kernel_step or 0.0, config.tolerance))
    with on_device_of(field.base):
        search.search_responses[(faces,)](
            *_model(pdm), *whole(start.scale, start.rotation, start.translation, start.local),
            field.responses, *whole(field.base, field.to_reference, field.to_image, field.weight),
            window, *field.responses.stride(),
            prior, config.iterations, *widths,
            rigid, params.scale, params.rotation, params.translation, params.local, found,
            OWN_PRIOR=own, **_map_sizes(window), **_sizes(pdm),
        )  # fmt: skip
    return rigid, params, found


def search_landmarks(pdm: PDM, landmarks: Tensor, known: Tensor | None, rotation: Tensor | None) -> ShapeParams:
    """`params_from_landmarks`, all steps in one launch."""
    start, landmarks, weight = upright_start(pdm, landmarks, known, rotation)
    params = _empty_like(start)
    with on_device_of(landmarks):
        landmark_search.search_landmarks[(len(landmarks),)](
            *_model(pdm), *whole(start.scale, start.rotation, start.translation, start.local, landmarks, weight),
            params.scale, params.rotation, params.translation, params.local, **_sizes(pdm),
        )  # fmt: skip
    return params


def _model(pdm: PDM) -> tuple[Any, ...]:
    """A shape model as programs take it."""
    return *whole(pdm.mean, pdm.modes, pdm.variances), pdm.num_landmarks, pdm.num_modes


def _sizes(pdm: PDM) -> dict[str, Any]:
    """Columns of the Jacobian and landmarks that a program holds at once, and its warps."""
    columns = max(LEAST_SIDE, triton.next_power_of_2(6 + pdm.num_modes))
    warps = 8 if columns > MOST_COLUMNS_OF_4_WARPS else 4
    # Products and sums are fused; asked for by name, since Triton warns where it has to guess
    return {"P": columns, "C": LEAST_SIDE, "num_warps": warps, "enable_fp_fusion": True}


def _map_sizes(window: int) -> dict[str, int]:
    """Columns and rows of response maps that a program holds at once."""
    columns = triton.next_power_of_2(window)
    return {"R": columns, "V": max(1, min(columns, CELLS_AT_ONCE // (LEAST_SIDE * columns)))}


def _empty_like(params: ShapeParams) -> ShapeParams:
    """Parameters of as many faces in contiguous memory, whatever they are."""
    values = (params.scale, params.rotation, params.translation, params.local)
    return ShapeParams(*(torch.empty_like(value, memory_format=torch.contiguous_format) for value in values))
