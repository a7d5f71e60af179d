"""The weights of networks of the PyPI package ``mediapipe``, by the names of our modules."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clnf_torch.converters.mediapipe_package.layers import read_layers
from clnf_torch.converters.openface.errors import ConversionError
from clnf_torch.converters.package_files import read_package_file
from clnf_torch.files.archive import LARGEST

# Bytes of a file; the package's own have less than 1,300,000
MOST = 1 << 22
REMEDY = "give the wheel of mediapipe 0.10.14, or the folder that it installs"

NOTICE = """\
Copyright 2020 The MediaPipe Authors.

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
"""
"""The terms of the package's weights, which go with whatever is made of them."""

Layers = Sequence[tuple[str, nn.Module]]
"""Layers of a network and their names, in the order in which they are computed."""


def layers_in_order(network: nn.Module, images: Tensor) -> list[tuple[str, nn.Module]]:
    """The layers of a network that have weights; it is shown images on the meta device."""
    found: list[tuple[str, nn.Module]] = []
    for prefix, layer in network.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.PReLU)):
            layer.register_forward_pre_hook(lambda layer, _, prefix=prefix: found.append((prefix, layer)))
    network(images)
    return found


def read_weights(source: Path, inside: str, name: str, expected: Layers, more: bool = False) -> dict[str, Tensor]:
    """The weights of a network, in the package's number type.

    Args:
        source: The wheel, or the installed package's folder.
        inside: The file in the package.
        name: What the network is called in a message.
        expected: The network's layers.
        more: The file may have other layers behind them, which are left.

    Raises:
        ConversionError: The file is missing, damaged, or not that network; or the extra ``mediapipe`` of this package
            is not installed.
    """
    content = read_package_file(source, "mediapipe", inside, MOST, REMEDY)
    try:
        layers = read_layers(content)
        if len(layers) < len(expected) or (len(layers) > len(expected) and not more):
            raise ValueError(f"{len(layers)} layers with weights, expected {len(expected)}")
        weights: dict[str, Tensor] = {}
        for (prefix, layer), (kind, values) in zip(expected, layers, strict=False):
            arrays = _as_torch(kind, values)
            named = dict(zip(("weight", "bias"), arrays, strict=False))
            shapes = {name: tuple(value.shape) for name, value in layer.state_dict().items()}
            if {name: value.shape for name, value in named.items()} != shapes:
                raise ValueError(f"{kind} of shape {arrays[0].shape} for {prefix}, expected {shapes['weight']}")
            weights |= {f"{prefix}.{name}": _tensor(value) for name, value in named.items()}
    except ImportError as error:
        remedy = "install it: pip install 'clnf-torch[mediapipe]'"
        raise ConversionError(source, expected="the package tflite", found="none", remedy=remedy) from error
    except ValueError as error:
        file, found = source / Path(inside).name, f"something else ({error})"
        raise ConversionError(file, expected=f"the network {name}", found=found, remedy=REMEDY) from error
    return weights


def _as_torch(kind: str, values: list[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    """Arrays of a layer with their axes as torch has them."""
    first, *others = values
    if kind == "prelu":
        return [first.reshape(-1)]
    # A depthwise filter's channels are its last axis; a convolution's are inputs
    return [first.transpose(3, 0, 1, 2) if kind == "depthwise" else first.transpose(0, 3, 1, 2), *others]


def _tensor(values: np.ndarray[Any, Any]) -> Tensor:
    """A compact copy of finite numbers."""
    if not np.isfinite(values).all() or np.abs(values.astype(np.float64)).max() > LARGEST:
        raise ValueError("weights that are not finite")
    return torch.from_numpy(np.array(values, order="C"))
