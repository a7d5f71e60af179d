"""From the package, installed or as a wheel, to the ``face_detector`` of a bundle."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clnf_torch.converters.mediapipe_package.calibration import TO_LANDMARKS
from clnf_torch.converters.mediapipe_package.convolutions import read_convolutions
from clnf_torch.converters.openface.errors import ConversionError
from clnf_torch.converters.package_files import read_package_file
from clnf_torch.detection.blazeface import KIND
from clnf_torch.detection.blazeface_networks import NETWORKS
from clnf_torch.models.archive import LARGEST

LICENCE = """\
Weights of BlazeFace from the PyPI package mediapipe 0.10.14, converted; their numbers are unchanged.

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
FILES = {"short_range": "face_detection_short_range.tflite", "full_range": "face_detection_full_range_sparse.tflite"}
# Bytes; the package's own have less than 700,000
MOST = 1 << 22
REMEDY = "give the wheel of mediapipe 0.10.14, or the folder that it installs"


def blazeface_record(source: str | Path) -> dict[str, Any]:
    """Reads the package's two face detectors; nothing of the package is run or imported, nor what it depends on.

    Args:
        source: The wheel (``mediapipe-0.10.14-....whl``) or an installed package's folder ``mediapipe``.

    Returns:
        The ``face_detector`` of a bundle, float16 as in the package: both networks, the maps from their keypoints to
        boxes of 68 landmarks, and the notice of their licence.

    Raises:
        ConversionError: A file is missing, damaged, or not the network that it should be; or the extra ``mediapipe`` of
            this package is not installed.
    """
    networks = {
        name: {"weights": _weights(Path(source), name), "to_landmarks": torch.tensor(TO_LANDMARKS[name])}
        for name in NETWORKS
    }
    return {"kind": KIND, "networks": networks, "config": {}, "licence": LICENCE}


def _weights(source: Path, name: str) -> dict[str, Tensor]:
    """The weights of one network, by the names of its modules."""
    inside = f"modules/face_detection/{FILES[name]}"
    content = read_package_file(source, "mediapipe", inside, MOST, REMEDY)
    try:
        convolutions = read_convolutions(content)
        expected = _in_order(name)
        if len(convolutions) != len(expected):
            raise ValueError(f"{len(convolutions)} convolutions, expected {len(expected)}")
        weights: dict[str, Tensor] = {}
        for (prefix, layer), (kind, weight, bias) in zip(expected, convolutions, strict=True):
            # A depthwise filter's channels are its last axis; a convolution's are inputs
            weight = weight.transpose(3, 0, 1, 2) if kind == "depthwise" else weight.transpose(0, 3, 1, 2)
            if weight.shape != layer.weight.shape or bias.shape != (layer.out_channels,):
                raise ValueError(f"weights {weight.shape} of {prefix}, expected {tuple(layer.weight.shape)}")
            weights |= {f"{prefix}.weight": _tensor(weight), f"{prefix}.bias": _tensor(bias)}
    except ImportError as error:
        remedy = "install it: pip install 'clnf-torch[mediapipe]'"
        raise ConversionError(source, expected="the package tflite", found="none", remedy=remedy) from error
    except ValueError as error:
        file, found = source / FILES[name], f"something else ({error})"
        raise ConversionError(file, expected=f"the network {name}", found=found, remedy=REMEDY) from error
    return weights


def _in_order(name: str) -> list[tuple[str, nn.Conv2d]]:
    """The names of a network's convolutions and the layers, in the order in which they are computed, as in the file."""
    with torch.device("meta"):
        network = NETWORKS[name]()
        found: list[tuple[str, nn.Conv2d]] = []
        for prefix, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d):
                layer.register_forward_pre_hook(lambda layer, _, prefix=prefix: found.append((prefix, layer)))
        network(torch.zeros(1, 3, network.side, network.side))
    return found


def _tensor(values: np.ndarray[Any, Any]) -> Tensor:
    """A compact copy of finite numbers."""
    if not np.isfinite(values).all() or np.abs(values.astype(np.float64)).max() > LARGEST:
        raise ValueError("weights that are not finite")
    return torch.from_numpy(np.array(values, order="C"))
