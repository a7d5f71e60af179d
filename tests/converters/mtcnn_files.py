"""Small MTCNN files for tests: valid ones, kept in named pieces so that a test can damage one of them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from tests.converters.openface_files import Pieces, matrix

NETWORKS = ("PNet", "RNet", "ONet")


def network_pieces(name: str, seed: int = 0) -> Pieces:
    """A network with the input and the answers of OpenFace's, and layers of every kind."""
    rng = np.random.default_rng(seed)
    if name == "PNet":
        layers = [_convolution(rng, 3, 2), _prelu(rng, 2), _pool(2), _convolution(rng, 2, 3), _convolution(rng, 3, 4)]
        layers += [_connected(rng, 4, 6)]
    else:
        maps, answers = {"RNet": (11, 6), "ONet": (23, 16)}[name]
        layers = [_convolution(rng, 3, 2), _prelu(rng, 2), _pool(3), _connected(rng, 2 * maps * maps, 5)]
        layers += [_prelu(rng, 5), {"sigmoid": struct.pack("<i", 4)}, _connected(rng, 5, answers)]
    pieces = {"depth": struct.pack("<i", len(layers))}
    for k, layer in enumerate(layers):
        pieces |= {f"{part} {k}": content for part, content in layer.items()}
    return pieces


def write_mtcnn(folder: Path) -> Path:
    """A face detector beside a model in a folder.

    Returns:
        Its ``MTCNN_detector.txt``.
    """
    (folder / "mtcnn_detector").mkdir(parents=True)
    for seed, name in enumerate(NETWORKS):
        (folder / "mtcnn_detector" / f"{name}.dat").write_bytes(b"".join(network_pieces(name, seed).values()))
    path = folder / "mtcnn_detector" / "MTCNN_detector.txt"
    path.write_bytes(b"PNet PNet.dat\r\nRNet RNet.dat\r\nONet ONet.dat")  # CR, no last newline
    return path


def _convolution(rng: np.random.Generator, inputs: int, outputs: int) -> Pieces:
    pieces = {"convolution": struct.pack("<3i", 0, inputs, outputs), "kernel biases": _floats(rng, outputs).tobytes()}
    return pieces | {f"kernel {k} of": matrix(_floats(rng, 3, 3)) for k in range(inputs * outputs)}


def _prelu(rng: np.random.Generator, channels: int) -> Pieces:
    return {"prelu": struct.pack("<i", 3), "slopes": matrix(_floats(rng, channels, 1))}


def _pool(side: int) -> Pieces:
    return {"pool": struct.pack("<i", 1), "windows": struct.pack("<4i", side, side, 2, 2)}


def _connected(rng: np.random.Generator, inputs: int, outputs: int) -> Pieces:
    pieces = {"connected": struct.pack("<i", 2), "biases": matrix(_floats(rng, outputs, 1))}
    return pieces | {"weights": matrix(_floats(rng, inputs, outputs))}


def _floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype("<f4")
