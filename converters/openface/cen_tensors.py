"""The tensors of a stack of CEN experts, read from the file when they are written."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from clnf_torch.converters.openface.cen_expert import Expert, Layer
from clnf_torch.converters.openface.errors import DOWNLOAD_AGAIN, ConversionError, Place
from clnf_torch.converters.openface.matrix import FLOAT64, BinaryMatrix
from clnf_torch.models.archive import LazyTensor

Part = Callable[[Layer, int], Tensor]
"""Reads a part of a layer, given the layer and its index, in the bundle's order."""


def weight(layer: Layer, k: int) -> Tensor:
    """Weights (in, out); those of the first layer (y, x, out), without the constant's column."""
    values = torch.from_numpy(layer.weight.read())
    if k > 0:
        return values.t()
    outputs, side = values.shape[0], round((values.shape[1] - 1) ** 0.5)
    # OpenFace: column 1 + x * S + y holds pixel (row y, column x)
    return values[:, 1:].reshape(outputs, side, side).permute(2, 1, 0)


def bias(layer: Layer, k: int) -> Tensor:
    """The file's biases (out,)."""
    return torch.from_numpy(layer.bias.read()).reshape(-1)


def constant(layer: Layer, k: int) -> Tensor:
    """The first layer's weights of the constant 1 (out,)."""
    return torch.from_numpy(layer.weight.read())[:, 0]


def first_bias(layer: Layer, k: int) -> Tensor:
    """The first layer's bias and its constant column (out,): OpenFace adds both."""
    return bias(layer, k).double() + constant(layer, k).double()


def lazy_part(stack: list[Expert], k: int, part: Part, shape: tuple[int, ...], dtype: torch.dtype) -> LazyTensor:
    """A part of layer ``k`` of all experts of a stack, zero-padded to ``shape``."""
    shape = (len(stack), *shape)
    return LazyTensor(shape, dtype, partial(_fill, stack, k, part, shape, dtype))


def _fill(stack: list[Expert], k: int, part: Part, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Reads the experts of a stack one by one into a padded tensor."""
    padded = torch.zeros(shape, dtype=dtype)
    for expert, row in zip(stack, padded, strict=True):
        layer = expert.layers[k]
        values = part(layer, k)
        _require_range(values, dtype, layer.weight.place)
        inputs, outputs = layer.weight.cols - (k == 0), layer.weight.rows
        target = row[:inputs, :outputs] if row.dim() == 2 else row[:outputs]
        target.view(values.shape).copy_(values)
    return padded


def _require_range(values: Tensor, dtype: torch.dtype, place: Place) -> None:
    """Refuses numbers that would become infinite in a narrower type."""
    low, high = (float(value) for value in torch.aminmax(values))
    if max(-low, high) > torch.finfo(dtype).max:
        name, found = str(dtype).removeprefix("torch."), f"{max(-low, high):g}"
        remedy = "convert without --half" if dtype == torch.float16 else DOWNLOAD_AGAIN
        raise ConversionError(place, expected=f"numbers that fit into {name}", found=found, remedy=remedy)


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
