"""CEN experts as the bundle stores them: stacked by architecture, zero-padded, each mirrored expert once."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clnf_torch.converters.openface.cen import ACTIVATIONS, CenFile, Expert, Layer
from clnf_torch.converters.openface.errors import ConversionError, Place
from clnf_torch.converters.openface.matrix import FLOAT64
from clnf_torch.models.archive import LazyTensor


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
    renumber = np.array([number[id(expert)] for expert in cen.experts] + [-1])  # index -1 stays -1
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
            "view_centers": torch.from_numpy(cen.view_centers),  # degrees, as in the file
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
    views[0] = 0  # OpenFace: the frontal view mirrors itself, whatever the table says
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

    stacks: dict[tuple[int, ...], list[Expert]] = {}
    for index in sorted(range(len(cen.experts)), key=order):
        expert = cen.experts[index]
        stacks.setdefault(tuple(layer.activation for layer in expert.layers), []).append(expert)
    return list(stacks.values())


def _stack_record(stack: list[Expert], support: int, half: bool) -> dict[str, Any]:
    """The weights of a stack as the runtime uses them, layer by layer."""
    widths = _widths(stack)
    outputs = widths.max(0).tolist()
    inputs = [support**2, *outputs[:-1]]
    dtype = torch.float16 if half else torch.float32
    record: dict[str, Any] = {"activations": [ACTIVATIONS[layer.activation] for layer in stack[0].layers]}
    record["weights"] = [_lazy(stack, k, _weight, (inputs[k], outputs[k]), dtype) for k in range(len(outputs))]
    record["biases"] = [_lazy(stack, k, _bias if k else _first_bias, (outputs[k],), dtype) for k in range(len(outputs))]
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
    record["bias"] = _lazy(stack, 0, _bias, first, torch.float32)
    record["constant"] = _lazy(stack, 0, _constant, first, torch.float32)
    record["doubles"] = [
        {"bias": _doubles([expert.layers[k].bias for expert in stack]),
         "weight": _doubles([expert.layers[k].weight for expert in stack])}
        for k in range(widths.shape[1])
    ]  # fmt: skip
    return record


def _widths(stack: list[Expert]) -> NDArray[np.int64]:
    """Outputs of each expert's layers, (E, L)."""
    return np.array([[layer.weight.rows for layer in expert.layers] for expert in stack])


Part = Callable[[Layer, int], Tensor]
"""Reads a part of a layer, given the layer and its index, in the bundle's order."""


def _weight(layer: Layer, k: int) -> Tensor:
    """Weights (in, out); the first layer's pixels row by row, without the constant's column."""
    weight = torch.from_numpy(layer.weight.read())
    if k > 0:
        return weight.t()
    outputs, side = weight.shape[0], round((weight.shape[1] - 1) ** 0.5)
    # OpenFace: column 1 + x * S + y holds pixel (row y, column x)
    return weight[:, 1:].reshape(outputs, side, side).permute(2, 1, 0).reshape(side * side, outputs)


def _bias(layer: Layer, k: int) -> Tensor:
    """The file's biases (out,)."""
    return torch.from_numpy(layer.bias.read()).reshape(-1)


def _constant(layer: Layer, k: int) -> Tensor:
    """The first layer's weights of the constant 1 (out,)."""
    return torch.from_numpy(layer.weight.read())[:, 0]


def _first_bias(layer: Layer, k: int) -> Tensor:
    """The first layer's bias and its constant column (out,): OpenFace adds both."""
    return _bias(layer, k).double() + _constant(layer, k).double()


def _lazy(stack: list[Expert], k: int, part: Part, shape: tuple[int, ...], dtype: torch.dtype) -> LazyTensor:
    """A part of layer ``k`` of all experts of a stack, zero-padded to ``shape``."""
    shape = (len(stack), *shape)
    return LazyTensor(shape, dtype, partial(_fill, stack, k, part, shape, dtype))


def _fill(stack: list[Expert], k: int, part: Part, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Reads the experts of a stack one by one into a padded tensor."""
    padded = torch.zeros(shape, dtype=dtype)
    for expert, row in zip(stack, padded, strict=True):
        values = part(expert.layers[k], k)
        target = row[tuple(slice(size) for size in values.shape)]
        target.copy_(values)
        if not target.isfinite().all():
            largest = f"{values.abs().max().item():g}"
            place, name = expert.layers[k].weight.place, str(dtype).removeprefix("torch.")
            remedy = "convert without --half" if dtype == torch.float16 else "the file is damaged; download it again"
            raise ConversionError(place, expected=f"numbers that fit into {name}", found=largest, remedy=remedy)
    return padded


def _doubles(matrices: list[Any]) -> LazyTensor:
    """The float64 matrices among these, end to end in the file's order: float32 would not hold them exactly."""
    doubles = [matrix for matrix in matrices if matrix.code == FLOAT64]
    size = sum(matrix.rows * matrix.cols for matrix in doubles)
    return LazyTensor((size,), torch.float64, partial(_join, doubles))


def _join(matrices: list[Any]) -> Tensor:
    joined = np.empty(sum(matrix.rows * matrix.cols for matrix in matrices))
    at = 0
    for matrix in matrices:
        values = matrix.read().reshape(-1)
        joined[at : at + len(values)] = values
        at += len(values)
    return torch.from_numpy(joined)
