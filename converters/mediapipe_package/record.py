"""From the package, installed or as a wheel, to the ``face_detector`` of a bundle."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clnf_torch.converters.mediapipe_package.calibration import TO_LANDMARKS
from clnf_torch.converters.mediapipe_package.networks import NOTICE, layers_in_order, read_weights
from clnf_torch.detection.blazeface import KIND
from clnf_torch.detection.blazeface_networks import NETWORKS

LICENCE = (
    f"Weights of BlazeFace from the PyPI package mediapipe 0.10.14, converted; their numbers are unchanged.\n\n{NOTICE}"
)
FILES = {"short_range": "face_detection_short_range.tflite", "full_range": "face_detection_full_range_sparse.tflite"}


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
        name: {
            "weights": _weights(Path(source), name),
            "to_landmarks": torch.tensor(TO_LANDMARKS[name], dtype=torch.float32, device="cpu"),
        }
        for name in NETWORKS
    }
    return {"kind": KIND, "networks": networks, "config": {}, "licence": LICENCE}


def _weights(source: Path, name: str) -> dict[str, Tensor]:
    """The weights of one network, by the names of its modules."""
    with torch.device("meta"):
        network = NETWORKS[name]()
        layers = layers_in_order(
            network, torch.zeros(1, 3, network.side, network.side, dtype=torch.float32, device="meta")
        )
    return read_weights(source, f"modules/face_detection/{FILES[name]}", name, layers)
