"""The Triton programs on tensors: which networks they hold, how large their blocks are, and what they start with."""

from collections.abc import Sequence
from typing import Any

import torch
import triton
from torch import Tensor

from clnf_torch.compilation import cards
from clnf_torch.compilation.cards import LEAST_SIDE, on_device_of, whole
from clnf_torch.models.kernels.cuda import mlps

__all__ = ["holds", "respond_with_mlps", "works"]

# Layers of networks, and outputs of a second one, of which a program holds all
DEPTHS, WIDEST_SECOND = (2, 3, 4), 256
# Cells, and outputs of a first or third layer, that a program holds at once, and bytes of shared memory that they take:
# every card since 2020 has as much, a T4 has 64 KiB
CELLS_AT_ONCE, OUTPUTS_AT_ONCE, SHARED = 64, 32, 96 * 1024
# Of a program. With TF32 and bfloat16 nothing that its threads hold has to go to memory (176 to 186 registers each)
WARPS = 8
# What Triton calls the precisions
ROUNDING = {"float32": "ieee", "tf32": "tf32", "bf16": "bf16"}
# Those for which there are tensor cores. Products that are not rounded are cuBLAS's: here two kilobytes of each thread
# would go to memory and back
ON_TENSOR_CORES = ("tf32", "bf16")


def works(device: torch.device) -> bool:
    """Whether programs start on a card, with what all of them need; elsewhere torch's operations round as they can."""
    return cards.works(device) and cards.has_tensor_cores(device, SHARED)


def holds(weights: Sequence[Tensor], precision: str) -> bool:
    """Whether networks with such weights, (E, in, out) a layer, are to go through a program."""
    if precision not in ON_TENSOR_CORES or len(weights) not in DEPTHS:
        return False
    return len(weights) == 2 or weights[1].shape[2] <= WIDEST_SECOND


def respond_with_mlps(
    areas: Tensor,
    landmarks: Tensor,
    experts: Tensor,
    flipped: Tensor,
    first: int,
    layers: tuple[Sequence[Tensor], Sequence[Tensor]],
    activations: Sequence[str],
    support: int,
    checkerboard: bool,
    precision: str,
    answers: Tensor,
) -> None:
    """Fills in the answers (T, N, F, cells) of the networks of a stack, in one launch.

    Args:
        areas: Gray levels, shape (T, F, N, A, A).
        landmarks: Those that the stack serves in some view, shape (U,).
        experts: The network that serves each of them in each tile, counted from `first`, shape (T, U); those of other
            stacks are passed over.
        flipped: Whether it is shown the area mirrored, shape (T, U).
        first: Number of the stack's first network.
        layers: Weights and biases of each layer.
        activations: Of each layer, by name.
        support: Side of the patches.
        checkerboard: As for `cut_patches`, which says the order of the cells.
        precision: "float32", "tf32" or "bf16": what factors of products are rounded to.
        answers: In contiguous memory; those of other landmarks stay as they are.
    """
    weights, biases = layers
    tiles, faces, count, size, _ = areas.shape
    cells, window = answers.shape[3], size - support + 1
    programs = (tiles * len(landmarks), triton.cdiv(faces * cells, CELLS_AT_ONCE))
    lacking = 4 - len(weights)
    numbers = [tensor for layer in zip(weights, biases, strict=True) for tensor in whole(*layer)]
    with on_device_of(areas):
        mlps.respond[programs](
            areas, faces, count, size, *areas.stride(),
            *whole(landmarks), len(landmarks), *whole(experts, flipped.to(torch.uint8)), first, len(weights[0]),
            *numbers, *numbers[-2:] * lacking, answers,
            **_sizes(support, window, checkerboard), **_layers(weights, activations),
            PRECISION=ROUNDING[precision], num_warps=WARPS, num_stages=1, enable_fp_fusion=True,
        )  # fmt: skip


def _sizes(support: int, window: int, checkerboard: bool) -> dict[str, Any]:
    """Of patches and blocks."""
    cells = window * window // 2 if checkerboard else window * window
    pixels = max(LEAST_SIDE, triton.next_power_of_2(support * support))
    maps = {"SUPPORT": support, "WINDOW": window, "CELLS": cells, "CHECKERBOARD": checkerboard}
    return {**maps, "M": CELLS_AT_ONCE, "PIXELS": pixels, "SOME": OUTPUTS_AT_ONCE}


def _layers(weights: Sequence[Tensor], activations: Sequence[str]) -> dict[str, Any]:
    """Of the networks."""
    widths = [weight.shape[2] for weight in weights] + [1, 1]
    kinds = [*activations, "linear", "linear"]
    found: dict[str, Any] = {f"WIDTH{k + 1}": widths[k] for k in range(3)}
    found |= {f"KIND{k + 1}": kinds[k] for k in range(4)}
    return {**found, "DEPTH": len(weights), "WHOLE": max(LEAST_SIDE, triton.next_power_of_2(widths[1]))}
