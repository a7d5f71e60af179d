"""The landmark validator (``validator_cnn*.txt``, binary in spite of its name).

For each orientation of the head it has a piecewise affine warp to a small picture, the mean and deviation of such
pictures, and a network that looks at them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clnf_torch.converters.openface.errors import ConversionError
from clnf_torch.converters.openface.lookalikes import refuse_lookalikes
from clnf_torch.converters.openface.matrix import FLOAT32_MAX, FLOAT32_MIN, FLOAT64, TYPE_NAMES, BinaryReader
from clnf_torch.converters.openface.network import VALIDATOR, read_network
from clnf_torch.converters.openface.text import require_file
from clnf_torch.converters.openface.warp_table import read_warp_table

SIZE = (60, 60)  # height and width of the pictures that OpenFace's networks look at
CNN = 3
OLDER_TYPES = "OpenFace 2.2 refuses the older types too; use validator_cnn.txt or validator_cnn_68.txt"
WHAT = "a landmark validator"


def convert_validator(path: Path, points: int, size: tuple[int, int] = SIZE) -> dict[str, Any]:
    """Reads a landmark validator.

    Args:
        path: The file.
        points: Number of landmarks N of the PDM.
        size: Height H and width W of its pictures.

    Returns:
        ``kind`` "cnn", ``size`` [H, W], ``orientations`` (V, 3) float64 in radians, and ``views``, one record for each
        orientation: ``triangles``, ``alpha``, ``beta``, ``origin``, ``pixels`` and ``triangle`` of the warp (see
        ``read_warp_table``), ``mean`` and ``deviation`` of its P pixels, float32, and the network's ``layers``.

    Raises:
        ConversionError: The file is anything but a complete validator of type 3 for N landmarks.

    Source:
        OpenFace ``DetectionValidator::Read``.
    """
    require_file(path, WHAT, "complete the model directory")
    with open(path, "rb") as stream:
        reader = BinaryReader(stream, path)
        refuse_lookalikes(reader.peek(64), path, reader.size, WHAT)
        orientations = _read_orientations(reader)
        views = []
        for reader.view in range(len(orientations)):
            views.append(_read_view(reader, points, size))
        reader.view = None
        reader.expect_end("the last view")
    radians = torch.from_numpy(np.radians(orientations))
    return {"kind": "cnn", "size": list(size), "orientations": radians, "views": views}


def _read_orientations(reader: BinaryReader) -> NDArray[np.float64]:
    """The type and the orientations of the head in degrees, (V, 3)."""
    place = reader.place
    kind = reader.take("i", "the type of validator (int32)")
    if kind != CNN:
        remedy = OLDER_TYPES if 0 <= kind < CNN else "name a validator file of OpenFace"
        raise ConversionError(place, expected=f"a validator of type {CNN} (CNN)", found=f"type {kind}", remedy=remedy)
    place = reader.place
    views = reader.take("i", "the number of orientations (int32)")
    if views < 1 or 36 * views > reader.remaining:  # bytes of a matrix of three angles
        found = f"{views} with {reader.remaining} bytes left"
        raise ConversionError(place, expected="a number of orientations that the file can hold", found=found)
    orientations = []
    for reader.view in range(views):
        place = reader.place
        angles, _ = reader.vector("an orientation", FLOAT64, 3)
        if abs(angles).max() > 360:
            expected = "an orientation of at most 360 degrees"
            raise ConversionError(place, expected=expected, found=f"{abs(angles).max():g}")
        orientations.append(angles)
    reader.view = None
    return np.stack(orientations)


def _read_view(reader: BinaryReader, points: int, size: tuple[int, int]) -> dict[str, Any]:
    """What belongs to one orientation, its pixels in row-major order."""
    mean = _read_pixels(reader, "the mean picture", -FLOAT32_MAX)
    deviation = _read_pixels(reader, "the standard deviations", FLOAT32_MIN, len(mean))
    place = reader.place
    layers, shape = read_network(reader, VALIDATOR, (1, *size))
    if len(shape) != 1:
        found = " x ".join(map(str, shape))
        raise ConversionError(place, expected="a network that ends in a list of scores", found=f"maps of {found}")
    table, order = read_warp_table(reader, points, size, len(mean))
    pictures = {"mean": torch.from_numpy(mean[order]), "deviation": torch.from_numpy(deviation[order])}
    return {**table, **pictures, "layers": layers}


def _read_pixels(reader: BinaryReader, what: str, least: float, count: int | None = None) -> NDArray[np.float32]:
    """A number for each pixel in the file's order, (P,)."""
    place = reader.place
    values, _ = reader.vector(what, FLOAT64, count)
    if values.min() < least or values.max() > FLOAT32_MAX:
        expected = f"{what} from {least:g} to {FLOAT32_MAX:g}, as {TYPE_NAMES[5]}"
        raise ConversionError(place, expected=expected, found=f"{values.min():g} to {values.max():g}")
    return values.astype(np.float32)
