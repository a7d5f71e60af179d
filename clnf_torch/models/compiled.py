"""When patch experts respond as compiled loops; the torch forms, where these functions are called, define how."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from clnf_torch.compilation.conditions import load_kernels, plain_numbers


def kernels() -> Any:
    """The kernels for the CPU; None where there are none: see `load_kernels`."""
    return load_kernels("clnf_torch.models.kernels.cpu.launch")


def usable(areas: Tensor, weights: Iterable[Tensor]) -> bool:
    """Whether the responses to areas can be compiled loops': on the CPU, with weights of no more than float32.

    Not where products are rounded to bfloat16, which the loops do not do.
    """
    if not areas.is_cpu or torch.is_autocast_enabled("cpu") or not plain_numbers(areas):
        return False
    fixed = all(
        weight.is_cpu
        and weight.dtype in (torch.float32, torch.float16)
        and not (torch.is_grad_enabled() and weight.requires_grad)
        for weight in weights
    )
    return fixed and kernels() is not None


def respond_with_mlps(
    areas: Tensor,
    first: int,
    landmarks: Tensor,
    flipped: Tensor,
    layers: tuple[Sequence[Tensor], Sequence[Tensor]],
    activations: Sequence[str],
    checkerboard: bool,
    responses: Tensor,
) -> None:
    """Fills in responses of CEN experts, see `clnf_torch.models.kernels.cpu.launch`."""
    kernels().respond_with_mlps(areas, first, landmarks, flipped, layers, activations, checkerboard, responses)


def respond_with_ccnf(
    areas: Tensor, landmarks: Tensor, weights: Tensor, numbers: Sequence[Tensor], sigmas: Tensor, responses: Tensor
) -> None:
    """Fills in responses of CCNF experts, see `clnf_torch.models.kernels.cpu.launch`."""
    kernels().respond_with_ccnf(areas, landmarks, weights, numbers, sigmas, responses)


def respond_with_svr(
    areas: Tensor,
    landmarks: Tensor,
    weights: Tensor,
    numbers: Sequence[Tensor],
    modalities: Sequence[str],
    responses: Tensor,
) -> None:
    """Fills in responses of SVR experts, see `clnf_torch.models.kernels.cpu.launch`."""
    kernels().respond_with_svr(areas, landmarks, weights, numbers, modalities, responses)


def fills_vectors(widths: Iterable[int]) -> bool:
    """Whether layers of such widths can be products of the compiled loops."""
    return min(widths) >= kernels().LANES


def heatmaps(network: nn.Module, levels: int, least_deviation: float, gray: Tensor, maps: Tensor) -> None:
    """Fills in the heatmaps of a network, see `clnf_torch.models.kernels.cpu.launch`."""
    kernels().heatmaps(network, levels, least_deviation, gray, maps)


def cut_windows(maps: Tensor, middle: Tensor, parts: Tensor) -> None:
    """Fills in parts of heatmaps, see `clnf_torch.models.kernels.cpu.launch`."""
    kernels().cut_windows(maps, middle, parts)
