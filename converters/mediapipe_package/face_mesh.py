"""From the package's face mesh to a `MeshNetwork` that is to be trained: one that knows faces, but no landmarks yet."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from clnf_torch.converters.mediapipe_package.networks import NOTICE, layers_in_order, read_weights
from clnf_torch.models.patch_experts.mesh import MeshNetwork

FILE = "modules/face_landmark/face_landmark.tflite"
SOURCE = "the trunk of MediaPipe's face mesh, of the PyPI package mediapipe 0.10.14"
LICENCE = f"Its network began as {SOURCE}; its numbers were changed by training.\n\n{NOTICE}"
# Channels of its images
COLOURS = 3
# Of the image that the layers are looked up with
SIDE = 192


def untrained_network(source: str | Path, landmarks: int, widths: Sequence[int] = (), seed: int = 0) -> MeshNetwork:
    """A network whose trunk is MediaPipe's, float32; nothing of the package is run or imported.

    Args:
        source: The wheel (``mediapipe-0.10.14-....whl``) or an installed package's folder ``mediapipe``.
        landmarks: Number N of its maps.
        widths: Channels on its way back; see `MeshNetwork`.
        seed: Of the weights of the layers that are new.

    Raises:
        ConversionError: The file is missing, damaged, or not the network that it should be; or the extra ``mediapipe``
            of this package is not installed.
    """
    with torch.device("meta"):
        layers = layers_in_order(MeshNetwork(landmarks), torch.zeros(1, SIDE, SIDE, dtype=torch.float32, device="meta"))
        trunk = [(name, layer) for name, layer in layers if name.partition(".")[0] in MeshNetwork.trunk_layers]
        name, stem = trunk[0]
        assert isinstance(stem, nn.Conv2d)
        # MediaPipe's sees colours
        trunk[0] = name, nn.Conv2d(COLOURS, stem.out_channels, stem.kernel_size[0])
    read = read_weights(Path(source), FILE, "face mesh", trunk, more=True)
    weights = {name: value.float() for name, value in read.items()}
    weights["stem.weight"] = weights["stem.weight"].sum(1, keepdim=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = MeshNetwork(landmarks, widths, normalised=True)
    network.load_state_dict(weights, strict=False)
    return network
