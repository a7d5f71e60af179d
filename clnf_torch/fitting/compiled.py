"""When a stage of the fit runs as compiled kernels: numba's loops on the CPU, Triton's programs on CUDA.

The torch forms, where these functions are called, define what is computed.
"""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from clnf_torch.compilation.conditions import load_kernels, plain_numbers, why_not_loaded
from clnf_torch.fitting.config import FitConfig
from clnf_torch.models.numerics import Numerics
from clnf_torch.models.patch_experts.base import Experts
from clnf_torch.models.pdm import PDM

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
def kernels(device: torch.device | str) -> Any:
    """The kernels for a device; None where there are none that work there: see `load_kernels`.

    Each card is tried by itself: its neighbours may be of another kind, or in other hands.
    """
    device = torch.device(device)
    own = load_kernels(_module(device.type)) if device.type in DEVICE_TYPES else None
    return own if own is None or device.type == "cpu" or own.works(device) else None


def obstacle(device_type: str) -> str:
    """Why there are no kernels for "cpu" or "cuda" that work, in one line; empty where there are."""
    if device_type == "cuda" and not torch.cuda.is_available():
        return "there is no device"
    if reason := why_not_loaded(_module(device_type)):
        return reason
    found: str = load_kernels(_module("cuda")).obstacle(torch.device("cuda")) if device_type == "cuda" else ""
    return found


def _module(device_type: str) -> str:
    """The module of a kind of device's kernels."""
    return f"clnf_torch.fitting.kernels.{device_type}.launch"


def usable(*tensors: Tensor) -> bool:
    """Whether searches of these tensors can run as compiled kernels."""
    return plain_numbers(*tensors) and kernels(tensors[0].device) is not None


def fit_scales(
    pdm: PDM,
    scales: Sequence[Scale],
    numerics: Numerics,
    images: "ImageBatch",
    state: "FitState",
    smallest: tuple[float, float],
) -> tuple["FitState", list[tuple["ResponseField", Tensor]]]:
    """`LandmarkFitter.fit` with compiled loops around the patch experts, on the CPU.

    Returns:
        The state after the last scale; and of every scale the response maps, and the faces that were searched for in
        them, bool, (B,).
    """
    loops = load_kernels("clnf_torch.fitting.kernels.cpu.fit")
    fitted: tuple[FitState, list[tuple[ResponseField, Tensor]]] = loops.fit_scales(
        pdm, scales, numerics, images, state, smallest
    )
    return fitted
