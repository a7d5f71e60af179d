"""CEN experts as the bundle stores them: stacked by architecture, zero-padded, each mirrored expert once."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clnf_torch.converters.openface.cen import ACTIVATIONS, CenFile, Expert, Layer
from clnf_torch.converters.openface.errors import DOWNLOAD_AGAIN, ConversionError, Place
from clnf_torch.converters.openface.matrix import FLOAT64, BinaryMatrix
from clnf_torch.models.archive import LazyTensor

Values = NDArray[Any]
Part = Callable[[Layer, int], Values]
"""Reads a part of a layer, given the layer and its index, in the bundle's order."""


def weight(layer: Layer, k: int) -> Values:
    """Weights (in, out); those of the first layer (y, x, out), without the constant's column."""
    values = layer.weight.read()
    if k > 0:
        return values.T
    outputs, side = values.shape[0], math.isqrt(values.shape[1] - 1)
    # OpenFace: column 1 + x * S + y holds pixel (row y, column x)
    return values[:, 1:].reshape(outputs, side, side).transpose(2, 1, 0)


def bias(layer: Layer, k: int) -> Values:
    """The file's biases (out,)."""
    return layer.bias.read().reshape(-1)


def constant(layer: Layer, k: int) -> Values:
    """The first layer's weights of the constant 1 (out,)."""
    return layer.weight.read()[:, 0]


def first_bias(layer: Layer, k: int) -> Values:
    """The first layer's bias and its constant column (out,): OpenFace adds both."""
    return bias(layer, k).astype(np.float64) + constant(layer, k)


def lazy_part(stack: list[Expert], k: int, part: Part, shape: tuple[int, ...], dtype: torch.dtype) -> LazyTensor:
    """A part of layer ``k`` of all experts of a stack, zero-padded to ``shape``."""
    shape = (len(stack), *shape)
    return LazyTensor(shape, dtype, partial(_fill, stack, k, part, shape, dtype))


def _fill(stack: list[Expert], k: int, part: Part, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Reads the experts of a stack one by one into a padded tensor.

    With numpy, on one thread: torch's threads cost more than they give on pieces this small.
    """
    padded = torch.zeros(shape, dtype=dtype)
    for expert, row in zip(stack, padded.numpy(), strict=True):
        layer = expert.layers[k]
        values = part(layer, k)
        _require_range(values, dtype, layer.weight.place)
        inputs, outputs = layer.weight.cols - (k == 0), layer.weight.rows
        target = row[:inputs, :outputs] if row.ndim == 2 else row[:outputs]
        # Splitting pixels into rows and columns makes a view, not a copy
        target.reshape(values.shape)[...] = values
    return padded


def _require_range(values: Values, dtype: torch.dtype, place: Place) -> None:
    """Refuses numbers that would become infinite in a narrower type."""
    largest = max(-float(values.min()), float(values.max()))
    if largest > torch.finfo(dtype).max:
        remedy = "convert without --half" if dtype == torch.float16 else DOWNLOAD_AGAIN
        expected = f"numbers that fit into {str(dtype).removeprefix('torch.')}"
        raise ConversionError(place, expected=expected, found=f"{largest:g}", remedy=remedy)


def lazy_doubles(matrices: list[BinaryMatrix]) -> LazyTensor:
    """The float64 matrices among these, end to end in the file's order: float32 would not hold them exactly."""
    doubles = [matrix for matrix in matrices if matrix.code == FLOAT64]
    size = sum(matrix.rows * matrix.cols for matrix in doubles)
    return LazyTensor((size,), torch.float64, partial(_join, doubles))


def _join(matrices: list[BinaryMatrix]) -> Tensor:
    """The elements of matrices, end to end."""
    joined = np.empty(sum(matrix.rows * matrix.cols for matrix in matrices))
    at = 0
    for matrix in matrices:
        values = matrix.read().reshape(-1)
        joined[at : at + len(values)] = values
        at += len(values)
    return torch.from_numpy(joined)


MAX_PADDING = 2.0
"""Experts of alike activations but too unlike widths are stacked by width: small files must not ask for much memory."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mirror:
    """Where an empty expert finds its twin: landmark ``landmarks[i]`` (N,) of view ``views[v]`` (V,)."""

    landmarks: NDArray[np.int64]
    views: NDArray[np.int64]


def convert_cen(cen: CenFile, mirror: Mirror, half: bool) -> dict[str, Any]:
    """One scale's experts as a record of the bundle.

    Args:
        cen: What the file holds.
        mirror: The mirror tables that are in force.
        half: Whether to store the experts' weights as float16.

    Returns:
        The record; its weights are lazy.

    Raises:
        ConversionError: A visible landmark has no expert, not even a mirrored one.
    """
    served, flipped = _serve(cen, mirror)
    stacks = _stack(cen, served)
    number = {id(expert): k for k, expert in enumerate(expert for stack in stacks for expert in stack)}
    # Index -1 stays -1
    renumber = np.array([number[id(expert)] for expert in cen.experts] + [-1])
    return {
        "family": "cen",
        "scale": cen.scale,
        "support": cen.support,
        "view_centers": torch.from_numpy(np.deg2rad(cen.view_centers)),
        "visible": torch.from_numpy(cen.visible),
        "confidence": torch.from_numpy(cen.confidence),
        "expert": torch.from_numpy(renumber[served]),
        "flipped": torch.from_numpy(flipped),
        "stacks": [_stack_record(stack, cen.support, half) for stack in stacks],
        "openface": {
            "file": cen.path.name,
            "shapes": cen.shapes,
            # Degrees, as in the file
            "view_centers": torch.from_numpy(cen.view_centers),
            "mirror_inds": torch.from_numpy(cen.mirror_inds),
            "mirror_views": torch.from_numpy(cen.mirror_views),
            "sizes": torch.from_numpy(cen.sizes),
            "own": torch.from_numpy(renumber[cen.own]),
            "stacks": [_file_record(stack, half) for stack in stacks],
        },
    }


def _serve(cen: CenFile, mirror: Mirror) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The expert (index into ``cen.experts``) that serves each landmark in each view, and whether it is mirrored."""
    views = mirror.views.copy()
    # OpenFace: the frontal view mirrors itself, whatever the table says
    views[0] = 0
    twin = cen.own[views[:, None], mirror.landmarks[None, :]]
    flipped = cen.visible & (cen.own < 0)
    served = np.where(flipped, twin, cen.own)
    served[~cen.visible] = -1
    lacking = np.argwhere(cen.visible & (served < 0))
    if len(lacking):
        view, landmark = map(int, lacking[0])
        place = Place(file=cen.path, view=view, landmark=landmark)
        expected = f"an expert, its own or that of landmark {mirror.landmarks[landmark]} in view {views[view]}"
        raise ConversionError(place, expected=expected, found="none, though the landmark is visible")
    return served, flipped


def _stack(cen: CenFile, served: NDArray[np.int64]) -> list[list[Expert]]:
    """Groups experts of the same activations; within a group by view, then shared ones first, then by landmark."""

    def order(index: int) -> tuple[int, int, int]:
        expert = cen.experts[index]
        return expert.view, -int((served[expert.view] == index).sum()), expert.landmark

    experts = [cen.experts[index] for index in sorted(range(len(cen.experts)), key=order)]
    alike = _group(experts, lambda expert: tuple(layer.activation for layer in expert.layers))
    return [
        stack for group in alike for stack in ([group] if _padding(group) <= MAX_PADDING else _group(group, _sizes))
    ]


def _group(experts: list[Expert], key: Callable[[Expert], tuple[int, ...]]) -> list[list[Expert]]:
    """Experts of the same key together, in order of first appearance."""
    groups: dict[tuple[int, ...], list[Expert]] = {}
    for expert in experts:
        groups.setdefault(key(expert), []).append(expert)
    return list(groups.values())


def _sizes(expert: Expert) -> tuple[int, ...]:
    """The number of outputs of each layer."""
    return tuple(layer.weight.rows for layer in expert.layers)


def _padding(stack: list[Expert]) -> float:
    """How many times larger a stack's weights are when all experts are padded to the widest."""
    own = sum(layer.weight.rows * layer.weight.cols for expert in stack for layer in expert.layers)
    outputs = _widths(stack).max(0).tolist()
    inputs = [stack[0].layers[0].weight.cols, *outputs[:-1]]
    return len(stack) * sum(i * o for i, o in zip(inputs, outputs, strict=True)) / own


def _stack_record(stack: list[Expert], support: int, half: bool) -> dict[str, Any]:
    """The weights of a stack as the runtime uses them, layer by layer."""
    outputs = _widths(stack).max(0).tolist()
    inputs = [support**2, *outputs[:-1]]
    dtype = torch.float16 if half else torch.float32
    record: dict[str, Any] = {"activations": [ACTIVATIONS[layer.activation] for layer in stack[0].layers]}
    record["weights"] = [lazy_part(stack, k, weight, (inputs[k], outputs[k]), dtype) for k in range(len(outputs))]
    record["biases"] = [
        lazy_part(stack, k, bias if k else first_bias, (outputs[k],), dtype) for k in range(len(outputs))
    ]
    return record


def _file_record(stack: list[Expert], half: bool) -> dict[str, Any]:
    """What the runtime does not need but the way back to the file does; float16 weights have no exact way back."""
    widths = _widths(stack)
    rows = [[layer.bias.cols == layer.weight.rows != 1 for layer in expert.layers] for expert in stack]
    record: dict[str, Any] = {"widths": torch.from_numpy(widths), "bias_rows": torch.tensor(rows)}
    if half:
        return record
    codes = [[[layer.bias.code, layer.weight.code] for layer in expert.layers] for expert in stack]
    first = (int(widths[:, 0].max()),)
    record["types"] = torch.tensor(codes)
    record["bias"] = lazy_part(stack, 0, bias, first, torch.float32)
    record["constant"] = lazy_part(stack, 0, constant, first, torch.float32)
    record["doubles"] = [
        {"bias": lazy_doubles([expert.layers[k].bias for expert in stack]),
         "weight": lazy_doubles([expert.layers[k].weight for expert in stack])}
        for k in range(widths.shape[1])
    ]  # fmt: skip
    return record


def _widths(stack: list[Expert]) -> NDArray[np.int64]:
    """Outputs of each expert's layers, (E, L)."""
    return np.array([_sizes(expert) for expert in stack])
