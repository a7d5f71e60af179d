"""One expert on one patch of gray values, twice: as OpenFace's file says, and as the bundle says."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from clnf_torch.converters.openface.cen import CenFile

ACTIVATE = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "relu": lambda x: x * (x > 0),
    "linear": lambda x: x,
}
BY_NUMBER = list(ACTIVATE)


def from_file(cen: CenFile, view: int, landmark: int, patch: np.ndarray) -> float:
    """The response of the file's own words: empty experts are borrowed, the patch and not the weights is mirrored."""
    index = cen.own[view, landmark]
    if index < 0:
        index = cen.own[cen.mirror_views[view] if view else 0, cen.mirror_inds[landmark]]
        patch = patch[:, ::-1]
    values = np.concatenate([[1.0], patch.T.reshape(-1)])  # a constant, then the pixels column by column
    for layer in cen.experts[index].layers:
        weight, bias = layer.weight.read().astype(float), layer.bias.read().astype(float).reshape(-1)
        values = ACTIVATE[BY_NUMBER[layer.activation]](weight @ values + bias)
    return values.item()


def from_bundle(record: dict[str, Any], view: int, landmark: int, patch: np.ndarray) -> float:
    """The response of the bundle's record of a scale."""
    number = int(record["expert"][view, landmark])
    values = (patch[:, ::-1] if record["flipped"][view, landmark] else patch).reshape(-1)
    for stack in record["stacks"]:
        count = len(stack["biases"][0])
        if number < count:
            layers = zip(stack["activations"], stack["weights"], stack["biases"], strict=True)
            for name, weights, biases in layers:
                weight, bias = (part[number].double().numpy() for part in (weights, biases))
                values = ACTIVATE[name](values @ weight + bias)
            return values.item()
        number -= count
    raise AssertionError("the expert's number is beyond the last stack")


def visible_slots(record: dict[str, Any]) -> list[tuple[int, int]]:
    """View and landmark of everything that is seen."""
    return [(int(view), int(landmark)) for view, landmark in torch.nonzero(record["visible"])]
