"""From the package, installed or as a wheel, to the ``face_detector`` of a bundle."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from clnf_torch.converters.mtcnn_package.architectures import ARCHITECTURES, Layer, array_shapes, network_layers
from clnf_torch.converters.mtcnn_package.arrays import read_arrays
from clnf_torch.converters.mtcnn_package.lz4 import decompress_frame
from clnf_torch.converters.openface.errors import ConversionError
from clnf_torch.detection import MTCNN

LICENCE = """\
MIT License

Copyright (c) 2019-2024 Iván de Paz Centeno

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


# Chosen on training faces. OpenFace's 60 pixels miss faces that are large enough for a fit; searching for smaller ones
# finds more things that are none, which the last threshold, 0.7 in OpenFace, keeps out: benchmarks/README.md.
SETTINGS = {"min_face": 40.0, "thresholds": (0.6, 0.7, 0.9)}
REMEDY = "give the wheel of mtcnn 1.0.0 from PyPI, or the folder mtcnn that it installs"


def face_detector_record(source: str | Path) -> dict[str, Any]:
    """Reads the package's three networks; nothing of the package is run or imported, nor what it depends on.

    Args:
        source: The wheel (``mtcnn-1.0.0-py3-none-any.whl``) or an installed package's folder ``mtcnn``.

    Returns:
        The ``face_detector`` of a bundle, float32: the networks, our settings, and the notice of their licence.

    Raises:
        ConversionError: A file is missing, damaged, or not the network that it should be.
    """
    networks = {name: _layers(Path(source), name) for name in ARCHITECTURES}
    return MTCNN.record(networks, config=dict(SETTINGS), licence=LICENCE)


def _layers(source: Path, name: str) -> list[Layer]:
    """The layers of one network."""
    network, inside = ARCHITECTURES[name], f"assets/weights/{name}.lz4"
    file, content = source / inside, _content(source, inside)
    try:
        arrays = read_arrays(decompress_frame(content))
    except ValueError as error:
        found = f"something else ({error})"
        raise ConversionError(file, expected="the arrays of a network", found=found, remedy=REMEDY) from error
    shapes, expected = [array.shape for array in arrays], array_shapes(network)
    if shapes != expected:
        raise ConversionError(file, expected=f"arrays of shapes {expected}", found=str(shapes), remedy=REMEDY)
    if not all(np.isfinite(array).all() for array in arrays):
        raise ConversionError(file, expected="finite numbers", found="others", remedy=REMEDY)
    return network_layers(network, arrays)


def _content(source: Path, inside: str) -> bytes:
    """A file of the package, from its folder or its wheel."""
    try:
        if source.is_dir():
            return (source / inside).read_bytes()
        with zipfile.ZipFile(source) as wheel:
            return wheel.read(f"mtcnn/{inside}")
    except (OSError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        expected = f"the package mtcnn with its file {inside}"
        raise ConversionError(source, expected=expected, found=f"none ({error})", remedy=REMEDY) from error
