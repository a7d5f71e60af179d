"""When a stage of the fit runs as compiled kernels: numba's loops on the CPU, Triton's programs on CUDA.

The torch forms, where these functions are called, define what is computed.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from clnf_torch.compilation.conditions import load_kernels, plain_numbers
from clnf_torch.fitting.config import FitConfig
from clnf_torch.models.pdm import PDM, ShapeParams

if TYPE_CHECKING:
    from clnf_torch.fitting.responses import ResponseField

DEVICE_TYPES = ("cpu", "cuda")


@cache
def kernels(device_type: str) -> Any:
    """The kernels for "cpu" or "cuda"; None where there are none that work: see `load_kernels`."""
    own = load_kernels(f"clnf_torch.fitting.kernels.{device_type}.launch") if device_type in DEVICE_TYPES else None
    return own if own is None or device_type == "cpu" or own.works(torch.device(device_type)) else None


def usable(*tensors: Tensor) -> bool:
    """Whether searches of these tensors can run as compiled kernels."""
    return plain_numbers(*tensors) and kernels(tensors[0].device.type) is not None


def search_responses(
    pdm: PDM, start: ShapeParams, field: "ResponseField", config: FitConfig, kernel_step: float | None
) -> tuple[Tensor, ShapeParams, Tensor]:
    """`search_responses` of `nu_rlms` as compiled kernels."""
    own = kernels(start.scale.device.type)
    found: tuple[Tensor, ShapeParams, Tensor] = own.search_responses(pdm, start, field, config, kernel_step)
    return found


def search_landmarks(pdm: PDM, start: ShapeParams, landmarks: Tensor, weight: Tensor) -> ShapeParams:
    """The steps of `params_from_landmarks` as compiled kernels, from the upright start on."""
    params: ShapeParams = kernels(landmarks.device.type).search_landmarks(pdm, start, landmarks, weight)
    return params


def cut_areas(
    padded: Tensor, image_index: Tensor, landmarks: Tensor, to_image: Tensor, width: int, on_32nds: bool
) -> Tensor:
    """`ImageBatch.cut_areas` as compiled loops, on the CPU."""
    areas: Tensor = kernels("cpu").cut_areas(padded, image_index, landmarks, to_image, width, on_32nds)
    return areas
