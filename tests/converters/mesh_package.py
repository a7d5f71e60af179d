"""A package with a face mesh as MediaPipe's is: a network of random weights, and more layers behind it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch

from clnf_torch.converters.mediapipe_package.face_mesh import FILE, SIDE
from clnf_torch.converters.mediapipe_package.networks import layers_in_order
from clnf_torch.models.patch_experts.mesh import MeshNetwork
from tests.converters.tflite_files import Layer, write_tflite


def random_network(landmarks: int = 68, seed: int = 11) -> MeshNetwork:
    """A network whose weights float16 holds exactly."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MeshNetwork(landmarks).half().float().requires_grad_(False)


def mesh_layers(network: MeshNetwork) -> list[Layer]:
    """The network's trunk in TensorFlow's order of axes, for pictures in colour, and one layer more."""
    layers: list[Layer] = []
    for name, layer in layers_in_order(network, torch.zeros(1, SIDE, SIDE)):
        if name.partition(".")[0] not in network.trunk_layers:
            continue
        weight = layer.weight.half()
        if weight.ndim == 1:
            layers.append(("prelu", weight[None, None].numpy(), None))
            continue
        if not layers:
            # Three channels that add up to the network's own
            weight = torch.cat((weight / 4, weight / 2, weight / 4), 1)
        axes, kind = ((1, 2, 3, 0), "depthwise") if layer.groups > 1 else ((0, 2, 3, 1), "conv")
        layers.append((kind, weight.permute(axes).contiguous().numpy(), layer.bias.half().numpy()))
    return [*layers, layers[-1]]


def write_wheel(path: Path, network: MeshNetwork) -> Path:
    """The wheel of a package that has nothing but this network."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"mediapipe/{FILE}", write_tflite(mesh_layers(network), sparse=False))
    return path
