"""When a stage of the fit runs as compiled kernels: numba's loops on the CPU, Triton's programs on CUDA.

The torch forms, where these functions are called, define what is computed.
"""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from clnf_torch.compilation.conditions import load_kernels, plain_numbers
from clnf_torch.fitting.config import FitConfig
from clnf_torch.models.numerics import Numerics
from clnf_torch.models.patch_experts.base import Experts
from clnf_torch.models.pdm import PDM, ShapeParams

if TYPE_CHECKING:
    from clnf_torch.fitting.fitter import FitState
    from clnf_torch.fitting.images import ImageBatch
    from clnf_torch.fitting.responses import ResponseField

DEVICE_TYPES = ("cpu", "cuda")


class Scale(NamedTuple):
    """One scale of a fit.

    Attributes:
        experts: The patch experts.
        window: Side of their response maps.
        config: The settings at this scale.
        is_last: Whether every face gets its likelihood here.
    """

    experts: Experts
    window: int
    config: FitConfig
    is_last: bool


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


def search_landmarks(pdm: PDM, landmarks: Tensor, known: Tensor | None, rotation: Tensor | None) -> ShapeParams:
    """`params_from_landmarks` as compiled kernels."""
    params: ShapeParams = kernels(landmarks.device.type).search_landmarks(pdm, landmarks, known, rotation)
    return params


def cut_areas(
    padded: Tensor, image_index: Tensor, landmarks: Tensor, to_image: Tensor, width: int, on_32nds: bool
) -> Tensor:
    """`ImageBatch.cut_areas` as compiled loops, on the CPU."""
    areas: Tensor = kernels("cpu").cut_areas(padded, image_index, landmarks, to_image, width, on_32nds)
    return areas


def crop(
    padded: Tensor, image_index: Tensor, landmarks: Tensor, to_image: Tensor, width: int, on_32nds: bool
) -> tuple[Tensor, Tensor]:
    """`ImageBatch.crop` of areas that are not smooth, as compiled loops, on the CPU."""
    found: tuple[Tensor, Tensor] = kernels("cpu").crop(padded, image_index, landmarks, to_image, width, on_32nds)
    return found


def read_warped(
    padded: Tensor,
    size: tuple[int, int],
    image_index: Tensor,
    landmarks: Tensor,
    corner: Tensor,
    table: Sequence[Tensor],
    on_32nds: bool,
) -> Tensor:
    """`ImageBatch.read_warped` as compiled loops, on the CPU."""
    loops = kernels("cpu")
    pixels: Tensor = loops.read_warped(padded, size, image_index, landmarks, corner, table, on_32nds)
    return pixels


def fit_scales(
    pdm: PDM,
    scales: Sequence[Scale],
    numerics: Numerics,
    images: "ImageBatch",
    state: "FitState",
    smallest: tuple[float, float],
) -> tuple["FitState", "ResponseField", Tensor]:
    """`LandmarkFitter.fit` with compiled loops around the patch experts, on the CPU.

    Returns:
        The state after the last scale, its response maps, and the faces that were searched for in them, bool, (B,).
    """
    loops = load_kernels("clnf_torch.fitting.kernels.cpu.fit")
    fitted: tuple[FitState, ResponseField, Tensor] = loops.fit_scales(pdm, scales, numerics, images, state, smallest)
    return fitted
