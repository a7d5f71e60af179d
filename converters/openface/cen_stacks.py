"""CEN experts as the bundle stores them: stacked by architecture, zero-padded, each mirrored expert once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clnf_torch.converters.openface.cen import CenFile
from clnf_torch.converters.openface.cen_expert import ACTIVATIONS, Expert
from clnf_torch.converters.openface.cen_tensors import bias, constant, first_bias, lazy_doubles, lazy_part, weight
from clnf_torch.converters.openface.errors import ConversionError, Place

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
