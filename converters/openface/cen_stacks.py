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

from clnf_torch.converters.openface.binary import FLOAT64, BinaryMatrix
from clnf_torch.converters.openface.cen import ACTIVATIONS, CenFile, Expert, Layer
from clnf_torch.converters.openface.errors import ConversionError, Place
from clnf_torch.converters.openface.views import MAX_PADDING, fit_into
from clnf_torch.files.archive import LazyTensor
from clnf_torch.models.patch_experts.cen import CENExperts
from clnf_torch.models.patch_experts.mlp_stack import MLPStack

Values = NDArray[Any]
ReadLayer = Callable[[Layer, int], Values]
"""Reads numbers of a layer, given the layer and its index, in the bundle's order."""


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


def lazy_layer(stack: list[Expert], k: int, read: ReadLayer, shape: tuple[int, ...], dtype: torch.dtype) -> LazyTensor:
    """Numbers of layer ``k`` of all experts of a stack, zero-padded to ``shape``."""
    shape = (len(stack), *shape)
    return LazyTensor(shape, dtype, partial(_fill, stack, k, read, shape, dtype))


def _fill(stack: list[Expert], k: int, read: ReadLayer, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Reads the experts of a stack one by one into a padded tensor.

    With numpy, on one thread: torch's threads cost more than they give on pieces this small.
    """
    padded = torch.zeros(shape, dtype=dtype, device="cpu")
    for expert, row in zip(stack, padded.numpy(), strict=True):
        layer = expert.layers[k]
        values = fit_into(dtype, read(layer, k), layer.weight.place)
        inputs, outputs = layer.weight.cols - (k == 0), layer.weight.rows
        target = row[:inputs, :outputs] if row.ndim == 2 else row[:outputs]
        # Splitting pixels into rows and columns makes a view, not a copy
        target.reshape(values.shape)[...] = values
    return padded


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Mirror:
    """Where an empty expert finds its mirrored partner: landmark ``landmarks[i]`` (N,) of view ``views[v]`` (V,)."""

    landmarks: NDArray[np.int64]
    views: NDArray[np.int64]


def convert_cen(files: list[CenFile], half: bool) -> list[dict[str, Any]]:
    """The scales' experts as records of the bundle.

    Args:
        files: What the files hold, coarse to fine.
        half: Whether to store the experts' weights as float16.

    Returns:
        A record for each file; its weights are lazy.

    Raises:
        ConversionError: A visible landmark has no expert, not even a mirrored one.
    """
    # OpenFace: the mirror tables of the last file read serve all scales
    mirror = Mirror(landmarks=files[-1].mirror_inds, views=files[-1].mirror_views)
    return [_record(file, mirror, half) for file in files]


def _record(cen: CenFile, mirror: Mirror, half: bool) -> dict[str, Any]:
    """One scale's experts as a record of the bundle."""
    assigned, flipped = _assign(cen, mirror)
    stacks = _stack(cen, assigned)
    number = {id(expert): k for k, expert in enumerate(expert for stack in stacks for expert in stack)}
    # Index -1 stays -1
    renumber = np.array([number[id(expert)] for expert in cen.experts] + [-1])
    record = CENExperts.record(
        scale=cen.scale,
        support=cen.support,
        view_centers=torch.from_numpy(np.deg2rad(cen.view_centers)),
        visible=torch.from_numpy(cen.visible),
        confidence=torch.from_numpy(cen.confidence),
        expert=torch.from_numpy(renumber[assigned]),
        flipped=torch.from_numpy(flipped),
        stacks=[_stack_record(stack, cen.support, half) for stack in stacks],
    )
    return {
        **record,
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


def _assign(cen: CenFile, mirror: Mirror) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The expert (index into ``cen.experts``) of each landmark in each view, and whether it is used mirrored."""
    views = mirror.views.copy()
    # OpenFace: the frontal view mirrors itself, whatever the table says
    views[0] = 0
    partner = cen.own[views[:, None], mirror.landmarks[None, :]]
    flipped = cen.visible & (cen.own < 0)
    assigned = np.where(flipped, partner, cen.own)
    assigned[~cen.visible] = -1
    missing = np.argwhere(cen.visible & (assigned < 0))
    if len(missing):
        view, landmark = map(int, missing[0])
        place = Place(file=cen.path, view=view, landmark=landmark)
        expected = f"an expert, its own or that of landmark {mirror.landmarks[landmark]} in view {views[view]}"
        raise ConversionError(place, expected=expected, found="none, though the landmark is visible")
    return assigned, flipped


def _stack(cen: CenFile, assigned: NDArray[np.int64]) -> list[list[Expert]]:
    """Groups experts of the same activations; within a group by view, then shared ones first, then by landmark."""

    def order(index: int) -> tuple[int, int, int]:
        expert = cen.experts[index]
        return expert.view, -int((assigned[expert.view] == index).sum()), expert.landmark

    experts = [cen.experts[index] for index in sorted(range(len(cen.experts)), key=order)]
    groups = _group(experts, lambda expert: tuple(layer.activation for layer in expert.layers))
    # Too unlike widths are stacked by width: small files must not ask for much memory
    stacks = ([group] if _padding(group) <= MAX_PADDING else _group(group, _sizes) for group in groups)
    return [stack for some in stacks for stack in some]


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
    layers = range(len(outputs))
    return MLPStack.record(
        [ACTIVATIONS[layer.activation] for layer in stack[0].layers],
        [lazy_layer(stack, k, weight, (inputs[k], outputs[k]), dtype) for k in layers],
        [lazy_layer(stack, k, bias if k else first_bias, (outputs[k],), dtype) for k in layers],
    )


def _file_record(stack: list[Expert], half: bool) -> dict[str, Any]:
    """What the runtime does not need but the way back to the file does; float16 weights have no exact way back."""
    widths = _widths(stack)
    rows = [[layer.bias.cols == layer.weight.rows != 1 for layer in expert.layers] for expert in stack]
    record: dict[str, Any] = {"widths": torch.from_numpy(widths), "bias_rows": torch.tensor(rows, device="cpu")}
    if half:
        return record
    codes = [[[layer.bias.code, layer.weight.code] for layer in expert.layers] for expert in stack]
    first = (int(widths[:, 0].max()),)
    record["types"] = torch.tensor(codes, device="cpu")
    record["bias"] = lazy_layer(stack, 0, bias, first, torch.float32)
    record["constant"] = lazy_layer(stack, 0, constant, first, torch.float32)
    record["doubles"] = [
        {"bias": lazy_doubles([expert.layers[k].bias for expert in stack]),
         "weight": lazy_doubles([expert.layers[k].weight for expert in stack])}
        for k in range(widths.shape[1])
    ]  # fmt: skip
    return record


def _widths(stack: list[Expert]) -> NDArray[np.int64]:
    """Outputs of each expert's layers, (E, L)."""
    return np.array([_sizes(expert) for expert in stack])
