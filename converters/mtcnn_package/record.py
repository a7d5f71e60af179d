"""From the package, installed or as a wheel, to the ``face_detector`` of a bundle."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from clnf_torch.converters.mtcnn_package.architectures import ARCHITECTURES, Layer, array_shapes, network_layers
from clnf_torch.converters.mtcnn_package.arrays import read_arrays
from clnf_torch.converters.mtcnn_package.lz4 import decompress_frame
from clnf_torch.converters.openface.errors import ConversionError
from clnf_torch.converters.package_files import read_package_file
from clnf_torch.detection import MTCNN
from clnf_torch.files.archive import LARGEST

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
# Bytes of a network's file besides its numbers; the package's own have under 5,000
DESCRIPTIONS = 1 << 16
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
    expected = array_shapes(network)
    most = 4 * sum(map(math.prod, expected)) + DESCRIPTIONS
    file, content = source / inside, read_package_file(source, "mtcnn", inside, most, REMEDY)
    try:
        arrays = read_arrays(decompress_frame(content, most))
    except ValueError as error:
        found = f"something else ({error})"
        raise ConversionError(file, expected="the arrays of a network", found=found, remedy=REMEDY) from error
    shapes = [array.shape for array in arrays]
    if shapes != expected:
        pairs = enumerate(zip(shapes, expected, strict=False))
        wrong = next((n for n, (own, other) in pairs if own != other), len(shapes))
        found = f"{shapes[wrong]}" if wrong < len(shapes) else f"{len(shapes)} arrays"
        wanted = f"{len(expected)} arrays, number {wrong} of shape {expected[min(wrong, len(expected) - 1)]}"
        raise ConversionError(file, expected=wanted, found=found, remedy=REMEDY)
    if not all(np.isfinite(array).all() and np.abs(array).max() <= LARGEST for array in arrays):
        raise ConversionError(file, expected="finite numbers", found="others", remedy=REMEDY)
    return network_layers(network, arrays)
