"""Triangulations of the landmarks, one for each view (``tris_*.txt``)."""

from pathlib import Path

import torch
from torch import Tensor

from clnf_torch.converters.openface.errors import ConversionError
from clnf_torch.converters.openface.matrix import INT32
from clnf_torch.converters.openface.text import TextReader, shape_text


def convert_triangulations(path: Path, points: int) -> list[Tensor]:
    """Reads the triangulations.

    Args:
        path: The file.
        points: Number of landmarks N of the PDM.

    Returns:
        One (T, 3) int64 tensor of landmark numbers for each view.

    Raises:
        ConversionError: The file is incomplete, or a corner is no landmark.

    Source:
        OpenFace ``Read_CLNF``.
    """
    reader = TextReader.open(path, "triangulations")
    reader.skip_comments()
    count = reader.integer("the number of triangulations", 0)
    triangulations = [_triangles(reader, view, points) for view in range(count)]
    reader.expect_end(f"{count} triangulations")
    return triangulations


def _triangles(reader: TextReader, view: int, points: int) -> Tensor:
    """The triangles of one view, (T, 3) int64."""
    reader.skip_comments()
    start, triangles = reader.at, reader.matrix(f"triangulation {view}", codes=(INT32,))
    if triangles.shape[1] != 3:
        raise ConversionError(
            reader.place_of(start), expected="triangles of 3 corners", found=f"a {shape_text(triangles)} matrix"
        )
    if triangles.min() < 0 or triangles.max() >= points:
        found = f"{triangles.min():g} to {triangles.max():g}"
        raise ConversionError(reader.place_of(start), expected=f"corners from 0 to {points - 1}", found=found)
    return torch.from_numpy(triangles).to(torch.int64)
