"""The tensors of a stack of CEN experts, read from the file when they are written."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clnf_torch.converters.openface.cen_expert import Expert, Layer
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
        target.reshape(values.shape)[...] = values  # splitting pixels into rows and columns makes a view, not a copy
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
