"""When a stage of the fit runs as compiled kernels: numba's loops on the CPU, Triton's programs on CUDA.

The torch forms, where these functions are called, define what is computed.
"""

import os
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from clnf_torch.fitting.config import FitConfig
from clnf_torch.models.pdm import PDM, ShapeParams

if TYPE_CHECKING:
    from clnf_torch.fitting.responses import ResponseField

# Set to 0 for the torch forms everywhere
SWITCH = "CLNF_TORCH_COMPILED"


@cache
def kernels(device_type: str) -> Any:
    """The kernels for "cpu" or "cuda"; None where what compiles them is not installed, or they are not wanted."""
    if os.environ.get(SWITCH) == "0" or device_type not in ("cpu",):
        return None
    try:
        return import_module(f"clnf_torch.fitting.kernels.{device_type}.launch")
    except ImportError:
        return None


def usable(*tensors: Tensor) -> bool:
    """Whether searches of these tensors can run as compiled kernels: plain numbers, float32, on one kind of device.

    Not while anything records, traces or transforms operations: gradients, `torch.compile`, `torch.func`.
    """
    transformed = torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is not None
    if transformed or forward_ad._current_level >= 0:
        return False
    recorded = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    kind = tensors[0].device.type
    plain = all(tensor.device.type == kind and tensor.dtype == torch.float32 for tensor in tensors)
    return plain and not recorded and kernels(kind) is not None


def search_responses(
    pdm: PDM,
    start: ShapeParams,
    field: "ResponseField",
    config: FitConfig,
    precision: Tensor,
    kernel_step: float | None,
) -> tuple[Tensor, ShapeParams, Tensor]:
    """`search_responses` of `nu_rlms` as compiled kernels; precision of the prior, shape (1 or B, M)."""
    own = kernels(start.scale.device.type)
    found: tuple[Tensor, ShapeParams, Tensor] = own.search_responses(pdm, start, field, config, precision, kernel_step)
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
